#define _GNU_SOURCE
#include "csystem.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/vtpm_proxy.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t csystem_send(int fd, const void *bytes, size_t count, const int *fds, int fd_count, int flags) {
    ssize_t n;
    if (fd_count == 0) {
        do n = send(fd, bytes, count, flags | MSG_NOSIGNAL); while (n < 0 && errno == EINTR);
        return n;
    }
    if (fd_count < 0 || fd_count > CSYSTEM_MAX_FDS) { errno = EINVAL; return -1; }
    struct iovec iov = {(void *)bytes, count};
    union { struct cmsghdr align; char room[CMSG_SPACE(CSYSTEM_MAX_FDS * sizeof(int))]; } control = {0};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = CMSG_SPACE(fd_count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    do n = sendmsg(fd, &message, flags | MSG_NOSIGNAL); while (n < 0 && errno == EINTR);
    return n;
}

ssize_t csystem_receive_bytes(int fd, void *bytes, size_t count, int flags) {
    ssize_t n;
    do n = recv(fd, bytes, count, flags | MSG_TRUNC); while (n < 0 && errno == EINTR);
    if (n <= (ssize_t)count) return n;
    errno = EMSGSIZE;
    return -1;
}

ssize_t csystem_receive_from(int fd, void *bytes, size_t count, int *fds, int *fd_count, int flags, pid_t *sender) {
    struct iovec iov = {bytes, count};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(CSYSTEM_MAX_FDS * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    *fd_count = 0;
    *sender = 0;
    ssize_t n;
    do n = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC); while (n < 0 && errno == EINTR);
    if (n < 0) return n;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET) continue;
        if (header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len == CMSG_LEN(sizeof(struct ucred))) {
            struct ucred credentials;
            memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
            *sender = credentials.pid;
        }
        if (header->cmsg_type != SCM_RIGHTS) continue;
        int got = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < got; i++) {
            int received;
            memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof received);
            if (*fd_count < CSYSTEM_MAX_FDS) fds[(*fd_count)++] = received; else close(received);
        }
    }
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        while (*fd_count > 0) close(fds[--*fd_count]);
        errno = EMSGSIZE;
        return -1;
    }
    return n;
}

ssize_t csystem_receive(int fd, void *bytes, size_t count, int *fds, int *fd_count, int flags) {
    pid_t sender;
    return csystem_receive_from(fd, bytes, count, fds, fd_count, flags, &sender);
}

int csystem_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -1;
    *pid = peer.pid; *uid = peer.uid; *gid = peer.gid;
    return 0;
}

int csystem_peer_groups(int fd, gid_t *groups, int room) {
    socklen_t size = (socklen_t)(room * sizeof *groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) return -1;
    return (int)(size / sizeof *groups);
}

int csystem_accept(int fd, int extra_flags) {
    int n;
    do n = accept4(fd, NULL, NULL, SOCK_CLOEXEC | extra_flags); while (n < 0 && errno == EINTR);
    return n;
}

int csystem_memfd(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }
enum { size_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW, seals = size_seals | F_SEAL_FUTURE_WRITE };
int csystem_seal(int fd) { return fcntl(fd, F_ADD_SEALS, seals); }
int csystem_seal_size(int fd) { return fcntl(fd, F_ADD_SEALS, size_seals); }
int csystem_is_sealed(int fd) { int all = fcntl(fd, F_GET_SEALS); return all >= 0 && (all & seals) == seals; }
int csystem_fcntl(int fd, int command, int argument) { return fcntl(fd, command, argument); }
int csystem_open(const char *path, int flags, mode_t mode) { return open(path, flags | O_CLOEXEC, mode); }
int csystem_openat(int dir, const char *path, int flags, mode_t mode) { return openat(dir, path, flags | O_CLOEXEC, mode); }
int csystem_fallocate(int fd, size_t size) { return fallocate(fd, 0, 0, (off_t)size); }

int csystem_die_with_parent(int signal) { return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0); }
int csystem_set_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

int csystem_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}
int csystem_epoll(void) { return epoll_create1(EPOLL_CLOEXEC); }
int csystem_epoll_add(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}
int csystem_epoll_remove(int epoll, int fd) { return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); }
int csystem_epoll_wait(int epoll, int *ready, int room, int milliseconds) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, room < 64 ? room : 64, milliseconds);
    for (int i = 0; i < count; i++) ready[i] = events[i].data.fd;
    return count;
}
int csystem_signal_read(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : 0;
}

int csystem_vtpm_proxy(int vtpmx, uint32_t *number, uint32_t *major, uint32_t *minor) {
    struct vtpm_proxy_new_dev device = {.flags = VTPM_PROXY_FLAG_TPM2};
    if (ioctl(vtpmx, VTPM_PROXY_IOC_NEW_DEV, &device) < 0) return -1;
    *number = device.tpm_num;
    *major = device.major;
    *minor = device.minor;
    fcntl(device.fd, F_SETFD, FD_CLOEXEC);
    return device.fd;
}

int csystem_timer(int milliseconds) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct timespec interval = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    struct itimerspec times = {interval, interval};
    if (fd >= 0) timerfd_settime(fd, 0, &times, NULL);
    return fd;
}
void csystem_timer_read(int fd) {
    uint64_t expirations;
    (void)!read(fd, &expirations, sizeof expirations);
}

void csystem_copies_publish(volatile uint32_t *sequence) {
    atomic_thread_fence(memory_order_seq_cst);
    *sequence += 1;
    atomic_thread_fence(memory_order_seq_cst);
}
uint32_t csystem_copies_begin(const volatile uint32_t *sequence) {
    uint32_t now = *sequence;
    atomic_thread_fence(memory_order_seq_cst);
    return now;
}
int csystem_copies_unchanged(const volatile uint32_t *sequence, uint32_t since) {
    atomic_thread_fence(memory_order_seq_cst);
    return *sequence == since;
}

/// "LISTEN_PID=" and this process's number, in place.
static void name_listener(char *const envp[]) {
    static const char key[] = "LISTEN_PID=";
    for (; *envp; envp++) {
        if (strncmp(*envp, key, sizeof key - 1) || strlen(*envp) < sizeof key - 1 + 10) continue;
        char digits[10];
        int count = 0;
        for (pid_t rest = getpid(); count == 0 || rest > 0; rest /= 10) digits[count++] = '0' + rest % 10;
        char *end = *envp + sizeof key - 1;
        while (count > 0) *end++ = digits[--count];
        *end = 0;
    }
}

pid_t csystem_spawn(const char *path, char *const argv[], char *const envp[], const int *sources, const int *targets, int count,
                    int death_signal) {
    pid_t parent = getpid();
    pid_t child = fork();
    if (child != 0) return child;
    // Move the sources out of the way of the targets first, so that no dup2 overwrites one still needed.
    int moved[CSYSTEM_SPAWN_MAX], above = 64;
    if (count > CSYSTEM_SPAWN_MAX) _exit(127);
    for (int i = 0; i < count; i++)
        if (targets[i] >= above) above = targets[i] + 1;
    for (int i = 0; i < count; i++)
        if ((moved[i] = fcntl(sources[i], F_DUPFD_CLOEXEC, above)) < 0) _exit(127);
    for (int i = 0; i < count; i++)
        if (dup2(moved[i], targets[i]) < 0) _exit(127);
    name_listener(envp);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (death_signal && (prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) < 0 || getppid() != parent)) _exit(127);
    execve(path, argv, envp);
    _exit(127);
}

void csystem_return_free_memory(void) {
    malloc_trim(0);
    // SAFETY: on the main thread. Below the page under this frame there is nothing of its stack in use, and within its guard gap (1 MiB)
    // nothing else. What of it was never there is no matter.
    enum { page = 4096, deepest = 128 * 1024 };
    uintptr_t end = ((uintptr_t)__builtin_frame_address(0) - page) & ~(uintptr_t)(page - 1);
    madvise((void *)(end - deepest), deepest, MADV_DONTNEED);
}
