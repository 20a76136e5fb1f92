// Keeps a few child processes running: starts them in order, restarts those that die, ends them together. To them it is what
// systemd is to its services: it hears that they are ready, and keeps what they put into their fd store.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

/// A program that the supervisor keeps running.
struct Program {
    enum Readiness {
        /// It sends READY=1 to its NOTIFY_SOCKET.
        case notifies
        /// This Unix stream socket answers these bytes with something.
        case answers(String, [UInt8])
    }
    let name: String
    let path: String
    let arguments: [String]
    let readiness: Readiness
    /// As systemd's CPUSchedulingPolicy=batch (docs/architecture.md, "Three commands, followed").
    var isBatch = false

    /// Whether it says itself that it is ready.
    var speaks: Bool { if case .notifies = readiness { true } else { false } }
}

final class Supervisor {
    /// Milliseconds that a program has to become ready, and to end after SIGTERM.
    private static let readyLimit: Int64 = 60_000
    private static let stopLimit: Int64 = 5_000
    /// A child that was ready for this long has not died quickly, and its restarts are counted anew.
    private static let quickDeath: Int64 = 500
    /// Children that are never ready again end the broker.
    private static let deathsBeforeReadyMax = 5
    private static let firstPause: Int64 = 100
    private static let pauseDoublingsMax = 4

    private struct Child {
        let program: Program
        /// nil: it died, and is started again at `startAt`.
        var pid: pid_t?
        /// When it was started, or is to be.
        var startAt: Int64
        /// When it said that it is ready.
        var readyAt: Int64?
        var quickDeaths = 0
        var deathsBeforeReady = 0
        var store = DescriptorStore()
    }

    private let signals: Descriptor
    private let notifications: NotificationSocket
    private let environment: [String]
    private let lock: Descriptor
    private var children: [Child] = []
    /// SIGTERM or SIGINT came.
    private(set) var stopping = false

    /// - Parameters:
    ///   - notifySocket: where the children say that they are ready.
    ///   - lock: held open by every child too, so that it is free only when all of them are gone.
    init(notifySocket: String, lock: Descriptor) throws(Failure) {
        self.lock = lock
        let handled = [SIGTERM, SIGINT, SIGCHLD]
        let raw = csystem_signalfd(handled, Int32(handled.count))
        guard raw >= 0 else { throw .system(.software, "signalfd") }
        signals = Descriptor(owning: raw)
        do throws(IPCError) { notifications = try NotificationSocket(at: notifySocket) } catch .system(ENAMETOOLONG) {
            throw Failure(.usage, "\(notifySocket) is too long for a socket's path: choose a shorter --dir")
        } catch { throw .system(.cannotCreate, "cannot listen at \(notifySocket)") }
        environment = inheritedEnvironment() + ["NOTIFY_SOCKET=\(notifySocket)"]
    }

    /// Starts a program and waits until it is ready. Returns early when told to stop.
    func start(_ program: Program) throws(Failure) {
        children.append(Child(program: program, startAt: now()))
        let index = children.count - 1
        children[index].pid = try spawn(children[index])
        let deadline = now() + Self.readyLimit
        while !stopping {
            wait(until: min(deadline, now() + 20))
            if let dead = reap().first {
                throw Failure(.unavailable, "\(dead.program.name) \(dead.end) before the broker was ready; its own messages say why")
            }
            if case .answers(let path, let request) = program.readiness, answers(path, request) { children[index].readyAt = now() }
            if children[index].readyAt != nil { return }
            guard now() < deadline else {
                throw Failure(.unavailable, "\(program.name) was not ready after \(Self.readyLimit / 1000) seconds")
            }
        }
    }

    /// Restarts what dies, until told to stop.
    func supervise() throws(Failure) {
        while !stopping {
            let next = children.filter { $0.pid == nil }.map(\.startAt).min()
            wait(until: next)
            for death in reap() { try plan(restartAfter: death) }
            for i in children.indices where children[i].pid == nil && children[i].startAt <= now() {
                try respawn(i)
            }
        }
    }

    private func respawn(_ i: Int) throws(Failure) {
        children[i].startAt = now()
        // What only answers is not asked again.
        children[i].readyAt = children[i].program.speaks ? nil : now()
        children[i].pid = try spawn(children[i])
    }

    /// Ends the children, the last started first, and waits for them.
    func stop() {
        for child in children.reversed() {
            guard let pid = child.pid else { continue }
            kill(pid, SIGTERM)
            let deadline = now() + Self.stopLimit
            while waitpid(pid, nil, WNOHANG) == 0 {
                if now() >= deadline {
                    log(.warning, .control, "\(child.program.name) did not end in \(Self.stopLimit / 1000) seconds: killed")
                    kill(pid, SIGKILL)
                    waitpid(pid, nil, 0)
                    break
                }
                usleep(2_000)
            }
        }
        children = []
    }

    // MARK: Deaths

    private struct Death {
        let program: Program
        let index: Int
        /// "ended with status 1", "was ended by signal 9"
        let end: String
    }

    private func reap() -> [Death] {
        var deaths: [Death] = []
        for i in children.indices {
            var status: Int32 = 0
            guard let pid = children[i].pid, waitpid(pid, &status, WNOHANG) == pid else { continue }
            // Its last words are still to be read, and its pid is who they are from.
            listen()
            children[i].pid = nil
            let signal = status & 0x7F
            let end = signal == 0 ? "ended with status \(status >> 8 & 0xFF)" : "was ended by signal \(signal)"
            deaths.append(Death(program: children[i].program, index: i, end: end))
        }
        return deaths
    }

    /// Sets the time of the next start. A service that served for a while starts at once, and later and later if it dies quickly; one
    /// that cannot even become ready any more ends the broker.
    private func plan(restartAfter death: Death) throws(Failure) {
        let child = children[death.index]
        let isQuick = child.readyAt.map { now() - $0 < Self.quickDeath } ?? true
        let quick = isQuick ? child.quickDeaths + 1 : 0
        let unready = child.readyAt == nil ? child.deathsBeforeReady + 1 : 0
        guard unready < Self.deathsBeforeReadyMax else {
            throw Failure(.software, "\(death.program.name) \(death.end), \(unready) times before it was ready: giving up")
        }
        let pause = quick == 0 ? 0 : Self.firstPause << min(quick - 1, Self.pauseDoublingsMax)
        log(.warning, .control, "\(death.program.name) \(death.end); starting it again in \(pause) ms")
        children[death.index].quickDeaths = quick
        children[death.index].deathsBeforeReady = unready
        children[death.index].startAt = now() + pause
    }

    // MARK: Waiting

    /// Waits for a signal, a message or the deadline (nil: none).
    private func wait(until deadline: Int64?) {
        var polled = [signals, notifications.descriptor].map { pollfd(fd: $0.raw, events: Int16(POLLIN), revents: 0) }
        let timeout = deadline.map { Int32(clamping: max(0, $0 - now())) } ?? -1
        guard poll(&polled, nfds_t(polled.count), timeout) > 0 else { return }
        while case let signal = csystem_signal_read(signals.raw), signal != 0 {
            if signal != SIGCHLD { stopping = true }
        }
        listen()
    }

    /// Hears what the children have to say. What others send is nobody's.
    private func listen() {
        while let notification = notifications.next() {
            guard let i = children.firstIndex(where: { $0.pid == notification.sender }) else { continue }
            children[i].store.take(notification)
            if notification.isReady { children[i].readyAt = now() }
        }
    }

    // MARK: Children

    /// A child's standard input is empty; what it prints goes to standard error; it gets what is kept for it. It does not
    /// outlive us.
    private func spawn(_ child: Child) throws(Failure) -> pid_t {
        let path = child.program.path
        let null = csystem_open("/dev/null", O_RDWR, 0)
        guard null >= 0 else { throw .system(.unavailable, "/dev/null") }
        defer { close(null) }
        let kept = child.store.kept.map(\.descriptor.raw)
        let passed = [null, STDERR_FILENO] + kept + [lock.raw]
        let targets = [STDIN_FILENO, STDOUT_FILENO] + kept.indices.map { ServiceManager.firstDescriptor + Int32($0) }
            + [ServiceManager.firstDescriptor + Int32(kept.count)]
        let pid = withCStrings([path] + child.program.arguments) { arguments in
            withCStrings(environment + child.store.environment) { environment in
                csystem_spawn(path, arguments, environment, passed, targets, Int32(passed.count), SIGKILL)
            }
        }
        guard pid > 0 else { throw .system(.unavailable, "cannot start \(path)") }
        if child.program.isBatch {
            var parameters = sched_param()
            // Without it everything works, only slower.
            sched_setscheduler(pid, CSYSTEM_SCHED_BATCH, &parameters)
        }
        return pid
    }
}

/// Milliseconds of the monotonic clock.
private func now() -> Int64 { Int64(milliseconds()) }

/// Whether a stream socket takes a connection and answers, within a second.
private func answers(_ path: String, _ request: [UInt8]) -> Bool {
    let peer = Descriptor(owning: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
    guard withUnixAddress(path, { connect(peer.raw, $0, $1) }) == 0 else { return false }
    peer.setReceiveTimeout(milliseconds: 1000)
    var answer: UInt8 = 0
    return send(peer.raw, request, request.count, Int32(MSG_NOSIGNAL)) == request.count && recv(peer.raw, &answer, 1, 0) == 1
}

/// Ours, without what our own service manager said to us.
private func inheritedEnvironment() -> [String] {
    let managers = ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"]
    var entries: [String] = []
    var next = environ
    while let entry = next.pointee {
        let text = String(cString: entry)
        if !managers.contains(where: { text.hasPrefix($0 + "=") }) { entries.append(text) }
        next += 1
    }
    return entries
}

/// The strings as C takes them: pointers, and nil at the end.
func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R) -> R {
    let copies = strings.map { strdup($0) } + [nil]
    defer { copies.forEach { free($0) } }
    return copies.withUnsafeBufferPointer { body($0.baseAddress!) }
}
