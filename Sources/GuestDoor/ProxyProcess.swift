// The proxy as its door sees it: a child process, and calls over a socket pair.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

final class ProxyProcess {
    /// How long the proxy may take to answer, in seconds: it answers behind the command that it is working on, and a slow
    /// chip needs many seconds for an RSA key.
    private static let patience = 120

    private let channel: Channel
    private let pid: pid_t
    var descriptor: Descriptor { channel.descriptor }

    /// - Parameter state: the guest's state file, open and locked.
    init(executable: String, state: Descriptor) throws(Failure) {
        guard let (ours, theirs) = try? Descriptor.pair() else {
            throw Failure(.software, "cannot make a socket pair: \(describe(errno: errno))")
        }
        // What the log needs to know of the service manager, and nothing else.
        let environment = getenv("JOURNAL_STREAM").map { ["JOURNAL_STREAM=" + String(cString: $0)] } ?? []
        pid = spawn(
            executable, [Role.proxy.rawValue], environment,
            descriptors: [(theirs, ProxyCalls.Inherited.door), (state, ProxyCalls.Inherited.state)], deathSignal: SIGKILL)
        guard pid > 0 else { throw Failure(.software, "cannot start \(executable): \(describe(errno: errno))") }
        channel = Channel(ours)
        setPatience(Self.patience)
    }

    /// Seconds that the calls from now on wait.
    func setPatience(_ seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(channel.descriptor.raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    func call<C: Call>(_ call: C.Type, _ request: C.Request, descriptors: [Descriptor] = []) throws(IPCError) -> C.Reply {
        try channel.exchange(call, request, descriptors: descriptors).reply
    }

    /// Whether the proxy has closed its end, which it does only by dying.
    var isGone: Bool {
        var polled = pollfd(fd: channel.descriptor.raw, events: 0, revents: 0)
        return poll(&polled, 1, 0) > 0
    }

    /// Ends the process, however it does, and says how in words.
    func bury() -> String {
        var status: Int32 = 0
        for _ in 0..<50 {
            if waitpid(pid, &status, WNOHANG) == pid { return Self.text(status) }
            if !isGone { break }
            usleep(1000)
        }
        kill(pid, SIGKILL)
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return Self.text(status)
    }

    private static func text(_ status: Int32) -> String {
        let signal = status & 0x7F
        return signal == 0 ? "exit code \(status >> 8 & 0xFF)" : "signal \(signal)"
    }
}

/// Where the proxy's executable is: beside the door's own, or on PATH.
func findProxy() throws(Failure) -> String {
    let name = Role.proxy.rawValue
    let own = ownExecutable().flatMap { path in path.lastIndex(of: "/").map { String(path[..<$0]) } }
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    for directory in [own ?? ""] + path.split(separator: ":").map(String.init) where directory.hasPrefix("/") {
        let candidate = "\(directory)/\(name)"
        if access(candidate, X_OK) == 0 { return candidate }
    }
    throw Failure(.unavailable, "\(name) is neither beside \(Role.guest.rawValue) nor on PATH; install it")
}

/// This process's executable, links resolved.
func ownExecutable() -> String? {
    var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = path.withUnsafeMutableBufferPointer { buffer in
        // SAFETY: readlink writes no more than the buffer's size, and CChar has the layout of UInt8.
        buffer.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { readlink("/proc/self/exe", $0, buffer.count) } ?? -1 }
    }
    return count > 0 ? String(decoding: path[..<count], as: UTF8.self) : nil
}

/// csystem_spawn with Swift's strings. Returns the pid, or -1 (errno).
func spawn(
    _ path: String, _ arguments: [String], _ environment: [String], descriptors: [(Descriptor, Int32)], deathSignal: Int32
) -> pid_t {
    let argv = arguments.map { strdup($0) } + [nil]
    let envp = environment.map { strdup($0) } + [nil]
    defer { for string in argv + envp { free(string) } }
    let sources = descriptors.map(\.0.raw)
    let targets = descriptors.map(\.1)
    return csystem_spawn(path, argv, envp, sources, targets, Int32(sources.count), deathSignal)
}
