// Keeps a few child processes running: starts them in order, restarts those that die, ends them together.
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
}

final class Supervisor {
    /// Milliseconds that a program has to become ready, and to end after SIGTERM.
    private static let readyLimit: Int64 = 60_000
    private static let stopLimit: Int64 = 5_000
    /// A child that lived this long has not died quickly, and its restarts are counted anew.
    private static let quickDeath: Int64 = 2_000
    private static let quickDeathsMax = 5
    private static let firstPause: Int64 = 100

    private struct Child {
        let program: Program
        /// nil: it died, and is started again at `startAt`.
        var pid: pid_t?
        /// When it was started, or is to be.
        var startAt: Int64
        var quickDeaths = 0
    }

    private let signals: Descriptor
    private let notifications: Descriptor
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
        notifications = try datagramSocket(notifySocket)
        environment = inheritedEnvironment(replacing: "NOTIFY_SOCKET", with: notifySocket)
    }

    /// Starts a program and waits until it is ready. Returns early when told to stop.
    func start(_ program: Program) throws(Failure) {
        children.append(Child(program: program, pid: try spawn(program), startAt: now()))
        let deadline = now() + Self.readyLimit
        while !stopping {
            let notified = wait(until: min(deadline, now() + 20))
            if let dead = reap().first {
                throw Failure(.unavailable, "\(dead.program.name) \(dead.end) before the broker was ready; its own messages say why")
            }
            switch program.readiness {
            case .notifies where notified: return
            case .answers(let path, let request) where answers(path, request): return
            default: break
            }
            guard now() < deadline else {
                throw Failure(.unavailable, "\(program.name) was not ready after \(Self.readyLimit / 1000) seconds")
            }
        }
    }

    /// Restarts what dies, until told to stop.
    func supervise() throws(Failure) {
        while !stopping {
            let next = children.filter { $0.pid == nil }.map(\.startAt).min()
            _ = wait(until: next)
            for death in reap() { try plan(restartAfter: death) }
            for i in children.indices where children[i].pid == nil && children[i].startAt <= now() {
                children[i].startAt = now()
                children[i].pid = try spawn(children[i].program)
            }
        }
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
            children[i].pid = nil
            let signal = status & 0x7F
            let end = signal == 0 ? "ended with status \(status >> 8 & 0xFF)" : "was ended by signal \(signal)"
            deaths.append(Death(program: children[i].program, index: i, end: end))
        }
        return deaths
    }

    /// Sets the time of the next start: soon, then later and later; a program that keeps dying ends the broker.
    private func plan(restartAfter death: Death) throws(Failure) {
        let lived = now() - children[death.index].startAt
        let quick = lived < Self.quickDeath ? children[death.index].quickDeaths + 1 : 1
        guard quick <= Self.quickDeathsMax else {
            throw Failure(.software, "\(death.program.name) \(death.end), \(quick) times in quick succession: giving up")
        }
        let pause = Self.firstPause << (quick - 1)
        log(.warning, .control, "\(death.program.name) \(death.end); starting it again in \(pause) ms")
        children[death.index].quickDeaths = quick
        children[death.index].startAt = now() + pause
    }

    // MARK: Waiting

    /// Waits for a signal, a notification or the deadline (nil: none). True: a child said that it is ready.
    private func wait(until deadline: Int64?) -> Bool {
        var polled = [signals, notifications].map { pollfd(fd: $0.raw, events: Int16(POLLIN), revents: 0) }
        let timeout = deadline.map { Int32(clamping: max(0, $0 - now())) } ?? -1
        guard poll(&polled, nfds_t(polled.count), timeout) > 0 else { return false }
        while case let signal = csystem_signal_read(signals.raw), signal != 0 {
            if signal != SIGCHLD { stopping = true }
        }
        guard polled[1].revents != 0 else { return false }
        var message = [UInt8](repeating: 0, count: 4096)
        let count = recv(notifications.raw, &message, message.count, Int32(MSG_DONTWAIT))
        return count > 0 && message.prefix(count).split(separator: UInt8(ascii: "\n")).contains { $0.elementsEqual("READY=1".utf8) }
    }

    // MARK: Children

    /// A child's standard input is empty; what it prints goes to standard error. It does not outlive us.
    private func spawn(_ program: Program) throws(Failure) -> pid_t {
        let null = csystem_open("/dev/null", O_RDWR, 0)
        guard null >= 0 else { throw .system(.unavailable, "/dev/null") }
        defer { close(null) }
        let pid = withCStrings([program.path] + program.arguments) { arguments in
            withCStrings(environment) { environment in
                csystem_spawn(
                    program.path, arguments, environment, [null, STDERR_FILENO, lock.raw],
                    [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO + 1], 3, SIGKILL)
            }
        }
        guard pid > 0 else { throw .system(.unavailable, "cannot start \(program.path)") }
        return pid
    }
}

/// Milliseconds of the monotonic clock.
private func now() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
}

private func datagramSocket(_ path: String) throws(Failure) -> Descriptor {
    let raw = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard raw >= 0 else { throw .system(.software, "cannot make a socket") }
    let descriptor = Descriptor(owning: raw)
    unlink(path)
    guard let result = withUnixAddress(path, { bind(raw, $0, $1) }) else {
        throw Failure(.usage, "\(path) is too long for a socket's path: choose a shorter --dir")
    }
    guard result == 0 else { throw .system(.cannotCreate, "cannot listen at \(path)") }
    return descriptor
}

/// Whether a stream socket takes a connection and answers, within a second.
private func answers(_ path: String, _ request: [UInt8]) -> Bool {
    let raw = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(raw) }
    guard withUnixAddress(path, { connect(raw, $0, $1) }) == 0 else { return false }
    var limit = timeval(tv_sec: 1, tv_usec: 0)
    setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var answer: UInt8 = 0
    return send(raw, request, request.count, Int32(MSG_NOSIGNAL)) == request.count && recv(raw, &answer, 1, 0) == 1
}

private func inheritedEnvironment(replacing name: String, with value: String) -> [String] {
    var entries: [String] = []
    var next = environ
    while let entry = next.pointee {
        let text = String(cString: entry)
        if !text.hasPrefix(name + "=") { entries.append(text) }
        next += 1
    }
    return entries + ["\(name)=\(value)"]
}

/// The strings as C takes them: pointers, and nil at the end.
func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> R) -> R {
    let copies = strings.map { strdup($0) } + [nil]
    defer { copies.forEach { free($0) } }
    return copies.withUnsafeBufferPointer { body($0.baseAddress!) }
}
