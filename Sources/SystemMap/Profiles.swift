// What each process may do once it has acquired what it needs, and why: one line for each permission. (docs/sandbox.md)
//
// To permit something more, add a line with its reason to the role that needs it. Tests/SandboxTests makes every call that is
// permitted here, and many that are not; `paratpmctl sandbox show` prints it all.
import Glibc
import Sandbox

// MARK: - The guest's side

extension Profile {
    /// The guest's bytes are parsed here. Everything that it ever opens, it was given.
    package static var proxy: Profile {
        Profile(
            calls: life + polling + [
                .init("recvmsg", because: "data connections, services' channels and pages: from its door"),
                .init("accept4", .closeOnExecAccept, because: "data connections, from a listener that its door opened"),
                .init("getrandom", because: "nonces, salts, TPM2_GetRandom's own part"),
                .init("pread64", because: "the state file: read when the guest's TPM is made"),
                .init("pwrite64", because: "the state file: every change that lasts"),
                .init("fdatasync", because: "the state file: what is acknowledged is on the medium"),
                .init("fallocate", because: "the state file: its full size and the space for it, before its first record"),
            ],
            limits: limits(memory: 128, descriptors: 64))
    }

    /// The door: the hypervisor's bytes, never the guest's.
    /// - Parameter directories: where its sockets and its pid file are.
    package static func guest(removing directories: [String]) -> Profile {
        Profile(
            calls: life + polling + watching + calling + [
                .init("recvmsg", because: "descriptors: data connections from the hypervisor, proxies' channels and pages from the services"),
                .init("sendmsg", because: "those descriptors, to the proxy"),
                .init("accept4", .closeOnExecAccept, because: "control connections"),
                .init("socketpair", .unixSocket, because: "a new proxy's channel; where a proxy says that a client is gone"),
                .init("unlink", because: "its sockets and its pid file go with it"),
            ],
            files: directories.map { .init($0, .removeFile, because: "its sockets and its pid file go with it") },
            limits: limits(memory: 128, descriptors: 128))
    }

    /// A child of the door, of swtpm chardev alone: it carries commands from a device to the proxy, and responses back.
    package static var relay: Profile {
        Profile(
            calls: life + polling + [
                .init("read", because: "commands, from the device"),
                .init("write", .toDevice, because: "responses, to the device"),
            ],
            limits: limits(memory: 64, descriptors: 16))
    }

    /// A child of the door, forked before the door has read a secret or opened a file: it starts the proxy, again where that
    /// died, so that the door itself needs neither fork nor execve. Nobody but the door speaks to it.
    /// Filters and Landlock are inherited, so a proxy's start-up and a proxy's life are permitted here too.
    package static func spawner(proxy executable: String) -> Profile {
        var profile = Profile(
            calls: spawning + starting + proxy.calls,
            files: [
                .init(executable, [.execute, .read], because: "the one program that it starts"),
                .init("/proc", .read, because: "start-up of that program: the stack's bounds, in /proc/self/maps"),
            ],
            limits: limits(memory: 128, descriptors: 128))
        #if DEBUG
        profile.calls.append(.init("sendmsg", because: "debug builds alone: the tests' hostile proxy hands its descriptors out"))
        profile.calls += dynamicLoading
        profile.files += [
            .init("/", .read, because: "debug builds are linked dynamically: the proxy's libraries"),
            .init(dynamicLoader, .execute, because: "debug builds are linked dynamically: the loader"),
        ]
        #endif
        return profile
    }
}

// MARK: - The services

extension Profile {
    package static func pcr(_ instance: Instance) -> Profile {
        Profile(
            calls: life + watching + serving + readingRegistry + [
                .init("memfd_create", because: "a guest's page of vPCRs, which its proxy maps"),
                .init("ftruncate", because: "that page's size"),
                .init("fcntl", .addsSeals, because: "that page is sealed against others' writing"),
            ],
            files: [registry(instance), rules(instance)], limits: limits(memory: 256, descriptors: 4096))
    }

    package static func policy(_ instance: Instance) -> Profile {
        Profile(
            calls: life + watching + serving + readingRegistry + calling + [
                .init("memfd_create", because: "a guest's page of policy, which its proxy maps"),
                .init("ftruncate", because: "that page's size"),
                .init("fcntl", .addsSeals, because: "that page is sealed against others' writing"),
            ],
            files: [registry(instance), rules(instance)], limits: limits(memory: 256, descriptors: 4096))
    }

    /// How the device owner reaches its chip, now and when it comes back.
    package enum ChipAccess: Sendable, Equatable {
        /// A device node, such as /dev/tpm0.
        case node(String)
        /// A Unix socket: a simulator.
        case unix
        /// A simulator behind TCP, or any other TCTI.
        case network
    }

    package static func device(_ instance: Instance, chip: ChipAccess) -> Profile {
        var profile = Profile(
            calls: life + watching + serving + readingRegistry + keepingRecords,
            files: [
                registry(instance), rules(instance),
                .init(
                    instance.deviceDirectory, [.read, .readDirectory, .write, .makeFile, .removeFile, .makeDirectory],
                    because: "its own records, the host's and the guests': made, read, changed, and removed with the guest"),
            ],
            limits: limits(memory: 256, descriptors: 4096))
        switch chip {
        case .node(let path):
            profile.calls += chipNode
            profile.files.append(.init(path, [.read, .write], because: "the chip, opened again when it was lost"))
        case .unix: profile.calls += simulatorSocket(.unixSocket)
        case .network:
            profile.calls += chipNode + simulatorSocket(.simulatorSocket) + addressLookup
            profile.files.append(.init("/etc", .read, because: "how names become addresses"))
        }
        return profile
    }
}

// MARK: - What several roles share

extension Profile {
    /// What every process needs to live.
    private static let life: [PermittedCall] = [
        .init("brk", because: "memory"),
        .init("mmap", .notExecutable, because: "memory; the pages of the guest's vPCRs and policy"),
        .init("munmap", because: "memory"),
        .init("madvise", because: "memory given back"),
        .init("futex", because: "the Swift runtime's and the C library's one-time initializations"),
        .init("clock_gettime", because: "time, on machines whose clock needs a system call"),
        .init("recvfrom", because: "messages between processes; the guest's commands"),
        .init("sendto", because: "messages between processes, and answers"),
        .init("close", because: "connections end"),
        .init("write", .toStandardError, because: "the log"),
        .init("restart_syscall", because: "how the kernel resumes a wait, after SIGSTOP and SIGCONT"),
        .init("exit_group", because: "the end"),
    ]

    /// Of those that wait for a few at most. The services have epoll.
    private static let polling: [PermittedCall] = [
        .init("poll", because: "waiting for whoever speaks next"),
    ]

    /// Of those that hear signals and the service manager's watchdog in their loop.
    private static let watching: [PermittedCall] = [
        .init("read", because: "signals to stop, and the watchdog's timer, each a descriptor")
    ]

    /// The services' side of the connections between processes.
    private static let serving: [PermittedCall] = [
        .init("epoll_create1", because: "its loop: what it waits for"),
        .init("epoll_ctl", because: "its loop: connections come and go"),
        .init("epoll_wait", because: "its loop: whoever speaks next"),
        .init("listen", because: "its socket, bound before: whoever knocks finds it confined"),
        .init("accept4", .closeOnExecAccept, because: "connections of doors and administrators"),
        .init("getsockopt", .socketLevel, because: "who connects: SO_PEERCRED"),
        .init("geteuid", because: "whether who connects is its own user"),
        .init("socketpair", .unixSocket, because: "channels for proxies"),
        .init("sendmsg", because: "those channels, and pages, to doors; what the service manager shall keep"),
        .init("getrandom", because: "challenges for doors; nonces and salts"),
    ]

    /// The callers' side: doors and the policy checker, whose services may come back after a while.
    private static let calling: [PermittedCall] = [
        .init("socket", .unixSocket, because: "connecting anew to a service that came back"),
        .init("connect", because: "connecting anew to a service that came back"),
        .init("setsockopt", .receiveTimeout, because: "how long an answer is waited for"),
    ]

    private static let readingRegistry: [PermittedCall] = [
        .init("openat", .forReading, because: "the registrations of guests that introduce themselves"),
        .init("newfstatat", .ofDescriptor, because: "that a registration is a small regular file"),
        .init("fstat", because: "the same, in other versions of the C library"),
    ]

    private static func rules(_ instance: Instance) -> PermittedFiles {
        .init(instance.rulesDirectory, .read, because: "the compiled policy, read again when it changed")
    }

    private static func registry(_ instance: Instance) -> PermittedFiles {
        .init(instance.registryDirectory, .read, because: "the registrations of guests that introduce themselves")
    }

    /// Files.write and Files.remove
    private static let keepingRecords: [PermittedCall] = [
        .init("openat", because: "records, and their directories"),
        .init("write", because: "records; the chip, where it is a device node"),
        .init("fchmod", because: "records are for our eyes only"),
        .init("fsync", because: "records last"),
        .init("link", because: "a record gets its name when it is whole, and never another's"),
        .init("rename", because: "a record that changes: the host's, a guest's certificates and binding"),
        .init("unlink", because: "a record's first name; the record of a guest that is removed"),
        .init("mkdir", because: "the directories of those records"),
        .init("time", because: "the dates of certificates, on machines whose clock needs a system call"),
        .init("newfstatat", because: "whether that directory is there"),
    ]

    /// Descriptors and memory are what somebody who floods a process with bytes could use up.
    private static func limits(memory megabytes: UInt64, descriptors: UInt64) -> [ResourceLimit] {
        [
            .init(.core, 0, because: "secrets stay out of files"),
            .init(.data, megabytes << 20, because: "many times what it needs; no sender of bytes takes the host's memory"),
            .init(.descriptors, descriptors, because: "what its connections need"),
        ]
    }
}

// MARK: - The way to the chip

extension Profile {
    private static let chipNode: [PermittedCall] = [
        .init("poll", because: "the chip's responses, through its TCTI"),
        .init("clock_nanosleep", because: "pauses between tries to reach the chip"),
    ]

    private static func simulatorSocket(_ domain: ArgumentCondition) -> [PermittedCall] {
        [
            .init("socket", domain, because: "a simulated chip that came back"),
            .init("connect", because: "a simulated chip that came back"),
            .init("setsockopt", because: "TCP_NODELAY; how long the chip may take"),
            .init("clock_nanosleep", because: "pauses between tries to reach the chip"),
        ]
    }

    /// getaddrinfo(3), which TCTIs call even for numbers.
    private static let addressLookup: [PermittedCall] = [
        .init("bind", because: "the C library asks the kernel for its addresses"),
        .init("recvmsg", because: "the kernel's answer to that"),
        .init("getsockname", because: "the C library asks the kernel for its addresses"),
        .init("lseek", because: "the C library reads /etc/hosts"),
    ]
}

// MARK: - Starting a proxy

extension Profile {
    private static let spawning: [PermittedCall] = [
        .init("clone", .likeFork, because: "a proxy's process"),
        .init("execve", because: "the proxy's program; Landlock allows no other"),
        .init("wait4", because: "how a proxy ended"),
        .init("kill", .killing, because: "a proxy that does not end; Landlock allows no other process"),
        .init("getpid", because: "between fork and execve: whose child it is"),
        .init("getppid", because: "between fork and execve: whether the spawner still lives"),
        .init("set_robust_list", because: "fork, in the C library"),
        .init("rt_sigprocmask", because: "between fork and execve: no signal is blocked"),
        .init("rt_sigaction", because: "between fork and execve: signals do what they do by default; SIGPIPE is an error code"),
        .init("fcntl", because: "between fork and execve: the proxy's descriptors get out of each other's way"),
        .init("dup2", because: "between fork and execve: the proxy's descriptors get their numbers"),
        .init("prctl", .deathSignal, because: "between fork and execve: the proxy dies with the spawner"),
    ]

    /// Until a proxy enters its own profile.
    private static let starting: [PermittedCall] = [
        .init("arch_prctl", because: "start-up: thread-local storage"),
        .init("set_tid_address", because: "start-up"),
        .init("rseq", because: "start-up"),
        .init("prlimit64", because: "start-up: the stack's size; the proxy's limits"),
        .init("readlink", because: "start-up: where the program is; the state file's name, for the log"),
        .init("mprotect", .notExecutable, because: "start-up: relocated data become read-only"),
        .init("sched_getaffinity", because: "start-up: the Swift runtime looks around"),
        .init("sigaltstack", because: "start-up: the Swift runtime's report of a crash"),
        .init("gettid", because: "start-up: the Swift runtime's report of a crash"),
        .init("ioctl", .terminalQuestion, because: "start-up: the Swift runtime's report of a crash, in colour or not"),
        .init("newfstatat", because: "start-up: the Swift runtime looks for its reporter of crashes; the state file's kind and size"),
        .init("openat", .forReading, because: "start-up: the stack's bounds, in /proc/self/maps; Landlock allows nothing else"),
        .init("read", because: "start-up: the stack's bounds, in /proc/self/maps"),
        .init("fstat", because: "the same, in other versions of the C library"),
        .init("lseek", because: "the state file: a block device's size"),
        .init("close_range", because: "confinement: close-on-exec"),
        .init("prctl", .hardening, because: "confinement"),
        .init("landlock_create_ruleset", because: "confinement"),
        .init("landlock_restrict_self", because: "confinement"),
        .init("seccomp", because: "confinement"),
    ]

    #if DEBUG
    private static let dynamicLoading: [PermittedCall] = [
        .init("access", because: "debug builds are linked dynamically"),
        .init("mmap", because: "debug builds are linked dynamically: libraries are executable"),
        .init("mprotect", because: "debug builds are linked dynamically"),
    ]
    #if arch(arm64)
    private static let dynamicLoader = "/lib/ld-linux-aarch64.so.1"
    #else
    private static let dynamicLoader = "/lib64/ld-linux-x86-64.so.2"
    #endif
    #endif
}

// MARK: - Conditions

/// Constants of the kernel that Swift does not see.
private enum Kernel {
    static let fAddSeals: Int32 = 1033
    static let atEmptyPath: Int32 = 0x1000
    static let prSetDeathSignal: Int32 = 1
    static let prSetDumpable: Int32 = 4
    static let prSetNoNewPrivileges: Int32 = 38
    /// CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID
    static let cloneAsFork: Int32 = 0x0120_0000
}

extension ArgumentCondition {
    fileprivate static let notExecutable = Self(2, .lacks(PROT_EXEC), "never executable")
    fileprivate static let closeOnExecAccept = Self(3, .has(Int32(SOCK_CLOEXEC.rawValue)), "close-on-exec")
    fileprivate static let unixSocket = Self(0, .isOneOf([AF_UNIX]), "AF_UNIX only")
    /// With the C library's own question about addresses.
    fileprivate static let simulatorSocket = Self(0, .isOneOf([AF_UNIX, AF_INET, AF_INET6, AF_NETLINK]), "AF_UNIX, AF_INET, AF_INET6, AF_NETLINK")
    fileprivate static let toStandardError = Self(0, .isOneOf([STDERR_FILENO]), "standard error only")
    /// Where a relay has its device.
    fileprivate static let toDevice = Self(0, .isOneOf([3]), "the device only")
    fileprivate static let socketLevel = Self(1, .isOneOf([SOL_SOCKET]), "SOL_SOCKET only")
    fileprivate static let receiveTimeout = Self(2, .isOneOf([SO_RCVTIMEO]), "SO_RCVTIMEO only")
    fileprivate static let addsSeals = Self(1, .isOneOf([Kernel.fAddSeals]), "F_ADD_SEALS only")
    fileprivate static let forReading = Self(2, .lacks(O_WRONLY | O_RDWR | O_CREAT | O_TRUNC), "for reading")
    fileprivate static let ofDescriptor = Self(3, .has(Kernel.atEmptyPath), "of a descriptor")
    fileprivate static let likeFork = Self(0, .isOneOf([Kernel.cloneAsFork | SIGCHLD]), "as fork does")
    fileprivate static let killing = Self(1, .isOneOf([SIGKILL]), "SIGKILL only")
    fileprivate static let deathSignal = Self(0, .isOneOf([Kernel.prSetDeathSignal]), "PR_SET_PDEATHSIG")
    fileprivate static let hardening = Self(0, .isOneOf([Kernel.prSetDumpable, Kernel.prSetNoNewPrivileges]), "PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS")
    fileprivate static let terminalQuestion = Self(1, .isOneOf([TCGETS]), "TCGETS only")
}
