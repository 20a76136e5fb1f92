// What surrounds a daemon of swtpm's kind: another user, a log file, a pid file, a life in the background.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

enum Surroundings {
    private static func failure(_ doing: String, _ what: String) -> Failure {
        Failure(.cannotCreate, "cannot \(doing) \(what): \(describe(errno: errno))")
    }

    /// --runas: a name or a number.
    static func become(_ name: String) throws(Failure) {
        guard let user = UserDatabase.user(name) ?? UInt32(name).flatMap({ UserDatabase.user(id: $0) }) else {
            throw Failure(.usage, "User '\(name)' does not exist.")
        }
        guard user.uid != getuid() else { return }
        guard setgroups(0, nil) == 0, setgid(user.gid) == 0, setuid(user.uid) == 0 else { throw failure("become", name) }
    }

    /// The log goes where standard error goes.
    static func redirectLog(_ file: DoorOptions.LogFile) throws(Failure) {
        switch file.target {
        case .descriptor(let raw):
            guard dup2(raw, STDERR_FILENO) >= 0 else { throw failure("log to", "descriptor \(raw)") }
        case .path(let path):
            // swtpm: "-" suppresses the log.
            let flags = O_WRONLY | O_CREAT | O_APPEND | (file.truncates ? O_TRUNC : 0)
            let raw = csystem_open(path == "-" ? "/dev/null" : path, flags, 0o640)
            guard raw >= 0 else { throw failure("open the log", path) }
            let opened = Descriptor(owning: raw)
            guard dup2(opened.raw, STDERR_FILENO) >= 0 else { throw failure("log to", path) }
        }
    }

    /// Keys that somebody gave for the state must be there, though they are not used, and go where that was asked.
    static func takeKeys(_ files: [DoorOptions.KeyFile]) throws(Failure) {
        for file in files {
            guard access(file.path, R_OK) == 0 else { throw failure("read the key", file.path) }
            guard !file.isRemoved || unlink(file.path) == 0 else { throw failure("remove the key", file.path) }
        }
    }

    static func writePID(_ target: DoorOptions.Target) throws(Failure) {
        let line = Array("\(getpid())\n".utf8)
        switch target {
        case .descriptor(let raw):
            guard write(raw, line, line.count) == line.count else { throw failure("write the pid to", "descriptor \(raw)") }
        case .path(let path):
            let raw = csystem_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644)
            guard raw >= 0 else { throw failure("create the pid file", path) }
            let file = Descriptor(owning: raw)
            guard write(file.raw, line, line.count) == line.count else { throw failure("write the pid file", path) }
        }
    }
}

/// --daemon: the process starts itself anew in the background and waits until that one is ready.
enum Background {
    private static let variable = "PARATPM_READY_FD"
    /// High, so that it is none of the descriptors that the command line may speak of.
    private static let descriptor: Int32 = 63

    /// Whether this is the process in the background.
    static var isHere: Bool { getenv(variable) != nil }

    /// In the foreground: ends with what became of the one in the background.
    static func start() throws(Failure) -> Never {
        let (pid, pipe) = try restart()
        var ready: UInt8 = 0
        if read(pipe.raw, &ready, 1) == 1 { exit(0) }
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        exit(status & 0x7F == 0 ? max(1, status >> 8 & 0xFF) : 1)
    }

    /// The far end of the pair is the background's alone, so that its death shows at the near one.
    private static func restart() throws(Failure) -> (pid_t, Descriptor) {
        guard let executable = Files.ownExecutable(), let (ours, theirs) = try? Descriptor.pair(),
            let bytes = try? Files.read("/proc/self/environ", max: 1 << 20)
        else { throw Failure(.software, "cannot go into the background: \(describe(errno: errno))") }
        let environment = bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) } + ["\(variable)=\(descriptor)"]
        let pid = spawn(executable, CommandLine.arguments, environment, descriptors: [(theirs, descriptor)], deathSignal: 0)
        guard pid > 0 else { throw Failure(.software, "cannot go into the background: \(describe(errno: errno))") }
        return (pid, ours)
    }

    /// In the background: leaves the terminal.
    static func leaveTerminal() {
        _ = csystem_fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        setsid()
    }

    /// In the background: lets the foreground end.
    static func ready(keepsLog: Bool) {
        let null = Descriptor(owning: csystem_open("/dev/null", O_RDWR, 0))
        dup2(null.raw, STDIN_FILENO)
        dup2(null.raw, STDOUT_FILENO)
        if !keepsLog { dup2(null.raw, STDERR_FILENO) }
        var yes: UInt8 = 1
        _ = write(descriptor, &yes, 1)
        close(descriptor)
    }
}
