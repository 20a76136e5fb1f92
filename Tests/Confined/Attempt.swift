// One system call to try, with arguments that do no harm where it is let through.
import CAttempts
import CSeccomp
import Glibc
import Sandbox

struct Attempt {
    static let notConfined: Int32 = 200
    /// Where an argument shall be the pid of a process that has nothing to do with it.
    private static let bystander = -1_000_000

    let name: String
    private let call: String
    private var arguments: [Int]

    private init(_ name: String, _ call: String, _ arguments: [Int]) {
        self.name = name
        self.call = call
        self.arguments = arguments + [Int](repeating: 0, count: 6 - arguments.count)
    }

    /// Arguments that meet the conditions, and otherwise mean nothing: no descriptor, no address, no process.
    init(permitted: PermittedCall) {
        let harmless = ["exit_group": [0], "kill": [0x7FFF_FFFF], "poll": [0]]
        self.init(permitted.name, permitted.name, harmless[permitted.name] ?? [-1])
        for condition in permitted.conditions {
            let value: Int32 = switch condition.test {
            case .isOneOf(let values): values[0]
            case .lacks: 0
            case .has(let bits): bits
            }
            arguments[Int(condition.argument)] = Int(value)
        }
    }

    /// What a process that was taken over would try.
    static func forbidden(_ directory: String) -> [Attempt] {
        let fork = 0x0120_0011
        return [
            Attempt("open", "openat", [Int(AT_FDCWD), text("/etc/passwd"), Int(O_RDONLY)]),
            Attempt("create", "openat", [Int(AT_FDCWD), text(directory + "/made"), Int(O_WRONLY | O_CREAT), 0o600]),
            Attempt("unlink", "unlink", [text(directory + "/precious")]),
            Attempt("hand descriptors on", "sendmsg", [-1]),
            Attempt("internet", "socket", [Int(AF_INET), 1]),
            Attempt("netlink", "socket", [Int(AF_NETLINK), 3]),
            Attempt("socket", "socket", [Int(AF_UNIX), 1]),
            Attempt("bind", "bind", [-1]),
            Attempt("execve", "execve", [text("/bin/true"), 0, 0]),
            Attempt("fork", "clone", [fork]),
            Attempt("thread", "clone3", [0, 0]),
            Attempt("ptrace", "ptrace", [0]),
            Attempt("process_vm_readv", "process_vm_readv", [bystander]),
            Attempt("mmap PROT_EXEC", "mmap", [0, 4096, Int(PROT_READ | PROT_EXEC), Int(MAP_PRIVATE | MAP_ANONYMOUS), -1]),
            Attempt("mprotect PROT_EXEC", "mprotect", [0, 0, Int(PROT_READ | PROT_EXEC)]),
            Attempt("kill", "kill", [bystander, Int(SIGKILL)]),
            Attempt("print", "write", [Int(STDOUT_FILENO), 0, 0]),
            Attempt("ioctl TIOCSTI", "ioctl", [0, Int(TIOCSTI)]),
            Attempt("setuid", "setuid", [0]),
            Attempt("unshare", "unshare", [0]),
            Attempt("mount", "mount", [0]),
            Attempt("io_uring_setup", "io_uring_setup", [0]),
            Attempt("bpf", "bpf", [-1]),
            Attempt("keyctl", "keyctl", [-1]),
            Attempt("userfaultfd", "userfaultfd", [-1]),
            Attempt("perf_event_open", "perf_event_open", [0]),
        ]
    }

    /// 0, or an errno.
    func run(_ bystander: pid_t) -> Int {
        guard let number = Self.number(call) else { return Int(ENOSYS) }
        let result = attempt_call(number, arguments.map { $0 == Self.bystander ? Int(bystander) : $0 })
        return result >= 0 ? 0 : -result
    }

    static func number(_ call: String) -> Int? {
        let number = seccomp_syscall_resolve_name(call)
        return number == __NR_SCMP_ERROR ? nil : Int(number)
    }

    /// The address of a C string that stays.
    private static func text(_ text: String) -> Int { Int(bitPattern: strdup(text)) }
}
