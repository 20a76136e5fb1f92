// The proxy as its door sees it: a child process, and calls over a socket pair.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire
import Wire

final class ProxyProcess {
    /// How long the proxy may take to answer, in seconds: it answers behind the command that it is working on, and a slow
    /// chip needs many seconds for an RSA key.
    private static let patience = 120

    private let spawner: ProxySpawner
    private let channel: Channel
    private let pid: pid_t
    var descriptor: Descriptor { channel.descriptor }

    /// - Parameters:
    ///   - state: the guest's state file, open and locked.
    ///   - mark: CommandMark's file
    init(_ spawner: ProxySpawner, state: Descriptor, mark: Descriptor) throws(Failure) {
        self.spawner = spawner
        guard let (ours, theirs) = try? Descriptor.pair() else {
            throw Failure(.software, "cannot make a socket pair: \(describe(errno: errno))")
        }
        do throws(IPCError) { pid = try spawner.start([theirs, state, mark]) } catch {
            throw Failure(.software, "cannot start a proxy: \(text(error))")
        }
        channel = Channel(ours)
        setPatience(Self.patience)
    }

    /// Seconds that the calls from now on wait.
    func setPatience(_ seconds: Int) {
        channel.descriptor.setReceiveTimeout(milliseconds: seconds * 1000)
    }

    func call<C: Call>(_ call: C.Type, _ request: C.Request, descriptors: [Descriptor] = []) throws(IPCError) -> C.Reply {
        try channel.exchange(call, request, descriptors: descriptors).reply
    }

    /// Cancels what is being executed. A proxy that hears too many of these hears the last of them not.
    func cancel() {
        let message = ProxyCalls.Cancel.number.wire
        csystem_send(channel.descriptor.raw, message, message.count, nil, 0, Int32(MSG_DONTWAIT))
    }

    /// Whether the proxy has closed its end, which it does only by dying.
    var isGone: Bool {
        var polled = pollfd(fd: channel.descriptor.raw, events: 0, revents: 0)
        return poll(&polled, 1, 0) > 0
    }

    /// Ends the process, however it does, and says how in words.
    func bury() -> String {
        guard let status = try? spawner.bury(pid, isDying: isGone) else { return "with its spawner" }
        let signal = status & 0x7F
        switch signal {
        case 0: return "exit code \(status >> 8 & 0xFF)"
        case SIGSYS: return "signal \(signal): a system call that its profile does not permit"
        default: return "signal \(signal)"
        }
    }
}

/// Where the proxy's executable is: beside the door's own, or on PATH.
func findProxy() throws(Failure) -> String {
    let name = Role.proxy.rawValue
    let own = Files.ownExecutable().flatMap { path in path.lastIndex(of: "/").map { String(path[..<$0]) } }
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    for directory in [own ?? ""] + path.split(separator: ":").map(String.init) where directory.hasPrefix("/") {
        let candidate = "\(directory)/\(name)"
        if access(candidate, X_OK) == 0 { return candidate }
    }
    throw Failure(.unavailable, "\(name) is neither beside \(Role.guest.rawValue) nor on PATH; install it")
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
