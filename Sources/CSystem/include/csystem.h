// C shims with no logic: what Swift cannot import (variadic calls, macros, struct ucred, atomics on shared memory).
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// The most descriptors that travel with one message.
#define CSYSTEM_MAX_FDS 4

/// A message, with descriptors as SCM_RIGHTS; MSG_NOSIGNAL added. Returns bytes sent or -1 (errno).
ssize_t csystem_send(int fd, const void *bytes, size_t count, const int *fds, int fd_count, int flags);

/// A message of a SOCK_SEQPACKET socket; the kernel closes the descriptors that come with it.
/// Returns bytes received or -1 (errno); a message longer than `count` is EMSGSIZE.
ssize_t csystem_receive_bytes(int fd, void *bytes, size_t count, int flags);

/// recvmsg that takes at most CSYSTEM_MAX_FDS descriptors (close-on-exec).
/// Returns bytes received or -1 (errno); a message or control area cut short by the kernel is EMSGSIZE, its descriptors closed.
ssize_t csystem_receive(int fd, void *bytes, size_t count, int *fds, int *fd_count, int flags);

/// The same, and who sent it (SCM_CREDENTIALS; 0 where the socket does not have SO_PASSCRED).
ssize_t csystem_receive_from(int fd, void *bytes, size_t count, int *fds, int *fd_count, int flags, pid_t *sender);

/// SO_PEERCRED
int csystem_peer(int fd, pid_t *pid, uid_t *uid, gid_t *gid);
/// SO_PEERGROUPS: the supplementary groups. Returns how many, or -1 (errno; ERANGE when there are more than `room`).
int csystem_peer_groups(int fd, gid_t *groups, int room);

/// accept4(SOCK_CLOEXEC | extra), memfd_create(MFD_CLOEXEC | MFD_ALLOW_SEALING), fcntl with an int argument, open
int csystem_accept(int fd, int extra_flags);
int csystem_memfd(const char *name);
/// Seals a memory file for ever against resizing and against writing, but for the mappings that exist.
int csystem_seal(int fd);
/// Against resizing alone.
int csystem_seal_size(int fd);
/// Whether it is sealed against both.
int csystem_is_sealed(int fd);
int csystem_fcntl(int fd, int command, int argument);
int csystem_open(const char *path, int flags, mode_t mode);
int csystem_openat(int dir, const char *path, int flags, mode_t mode);
/// fallocate(2) from the file's start, without glibc's own way where a file system has none: that makes calls of its own.
int csystem_fallocate(int fd, size_t size);

/// prctl(PR_SET_PDEATHSIG)
int csystem_die_with_parent(int signal);
/// Blocks the given signals and returns a descriptor that becomes readable for them; csystem_signal_read takes one (0: none).
int csystem_signalfd(const int *signals, int count);
int csystem_signal_read(int fd);
/// A descriptor that becomes readable every so many milliseconds; csystem_timer_read makes it wait again.
int csystem_timer(int milliseconds);
void csystem_timer_read(int fd);
/// epoll, of descriptors that can be read. csystem_epoll_wait fills `ready` with at most `room` of them, and returns how many or -1 (errno).
int csystem_epoll(void);
int csystem_epoll_add(int epoll, int fd);
int csystem_epoll_remove(int epoll, int fd);
int csystem_epoll_wait(int epoll, int *ready, int room, int milliseconds);
/// A new device /dev/tpmN whose commands come from the descriptor that is returned (VTPM_PROXY_IOC_NEW_DEV, TPM 2.0), or -1 (errno).
int csystem_vtpm_proxy(int vtpmx, uint32_t *number, uint32_t *major, uint32_t *minor);
/// prctl(PR_SET_NAME)
int csystem_set_name(const char *name);

/// Two copies of a record in shared memory, one of them whole at any time: number `sequence & 1`. The writer fills the other and
/// then publishes it; a writer that dies in between has changed nothing.
void csystem_copies_publish(volatile uint32_t *sequence);
/// What was read between these two, from the copy number `csystem_copies_begin & 1`, is whole if the second is not 0.
uint32_t csystem_copies_begin(const volatile uint32_t *sequence);
int csystem_copies_unchanged(const volatile uint32_t *sequence, uint32_t since);

/// SCHED_BATCH of <sched.h>, which only GNU sources see.
#define CSYSTEM_SCHED_BATCH 3

/// The most descriptors that a child starts with.
#define CSYSTEM_SPAWN_MAX 400

/// fork for a child that does only async-signal-safe things before exec: `targets[i]` is the number that `sources[i]` gets in
/// the child; all other descriptors are close-on-exec. An entry "LISTEN_PID=" of envp with room for ten digits gets the
/// child's pid. Returns pid or -1.
pid_t csystem_spawn(const char *path, char *const argv[], char *const envp[], const int *sources, const int *targets, int count,
                    int death_signal);

/// Gives back what was allocated for a while, of the heap and of the caller's stack: a process that starts up needs more than one that serves. On the
/// main thread alone.
void csystem_return_free_memory(void);
