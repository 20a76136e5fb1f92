// The service manager, systemd or `paratpmctl run`: what it hears from us (sd_notify(3)), what it passes to us at the start
// (sd_listen_fds(3)), and the descriptors that it keeps for our next life (its fd store).
import CSystem
import Glibc

package final class ServiceManager: Sendable {
    /// Where passed descriptors begin: SD_LISTEN_FDS_START
    package static let firstDescriptor: Int32 = 3
    /// What a message holds beside its descriptor.
    static let messageMax = 4096

    private let socket: Descriptor?
    /// Between two words that we live, in milliseconds: half of what the manager waits for one. nil: it does not wait.
    private let watchdogInterval: Int32?

    /// Opens the way to $NOTIFY_SOCKET, before the process confines itself. Without a manager, or without the socket, nobody
    /// hears and nothing is kept.
    /// - Parameter environment: what a variable of this process's environment holds.
    package init(_ environment: (String) -> String? = variable) {
        socket = environment("NOTIFY_SOCKET").flatMap(Self.connected)
        watchdogInterval = socket == nil ? nil : Self.interval(environment)
    }

    private static func connected(_ path: String) -> Descriptor? {
        let raw = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { return nil }
        let descriptor = Descriptor(owning: raw)
        return withUnixAddress(path) { connect(raw, $0, $1) } == 0 ? descriptor : nil
    }

    /// WATCHDOG_USEC, if it is meant for this process (sd_watchdog_enabled(3)).
    private static func interval(_ environment: (String) -> String?) -> Int32? {
        guard let limit = environment("WATCHDOG_USEC").flatMap({ UInt64($0) }), limit > 0 else { return nil }
        if let pid = environment("WATCHDOG_PID"), pid != String(getpid()) { return nil }
        return Int32(clamping: max(1, limit / 2000))
    }

    // MARK: What it hears

    package func ready() { say("READY=1") }
    package func stopping() { say("STOPPING=1") }

    /// The configuration is being read again; `ready` says that the service is back at work.
    package func reloading() {
        say("RELOADING=1\nMONOTONIC_USEC=\(nanoseconds() / 1000)")
    }

    /// One line for `systemctl status`.
    package func status(_ text: String) { say("STATUS=" + text.prefix { $0 != "\n" }) }

    /// Readable whenever the manager is to hear that we live; nil where it does not ask (WatchdogSec=).
    package func watchdogTimer() -> Descriptor? {
        guard let watchdogInterval, case let raw = csystem_timer(watchdogInterval), raw >= 0 else { return nil }
        return Descriptor(owning: raw)
    }

    /// Says so.
    package func answer(_ watchdogTimer: Descriptor) {
        csystem_timer_read(watchdogTimer.raw)
        say("WATCHDOG=1")
    }

    // MARK: What it keeps

    /// Puts a copy of the descriptor into the fd store. From then on every start of this service is passed it, until it is
    /// forgotten or the service is stopped for good. Returns when it cannot get lost by our death any more.
    /// - Parameter name: 1 to 255 printable ASCII characters but ':'.
    package func keep(_ descriptor: Descriptor, as name: String) { say("FDSTORE=1\nFDNAME=" + name, descriptor) }

    /// Takes what has this name out of the fd store.
    package func forget(_ name: String) { say("FDSTOREREMOVE=1\nFDNAME=" + name) }

    private func say(_ text: String, _ descriptor: Descriptor? = nil) {
        guard let socket else { return }
        let bytes = Array(text.utf8.prefix(Self.messageMax))
        let raws = descriptor.map { [$0.raw] } ?? []
        _ = csystem_send(socket.raw, bytes, bytes.count, raws, Int32(raws.count), 0)
    }

    // MARK: What it passes

    /// How many descriptors this process was started with.
    package static var passedCount: Int {
        guard let pid = variable("LISTEN_PID"), pid == String(getpid()), let text = variable("LISTEN_FDS"),
            let count = Int32(text), count >= 0, count <= Int32.max - firstDescriptor
        else { return 0 }
        return Int(count)
    }

    /// Takes them, with their names; once.
    package static func takePassed() -> [(name: String, descriptor: Descriptor)] {
        let names = (variable("LISTEN_FDNAMES") ?? "").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let count = passedCount
        unsetenv("LISTEN_PID")
        return (0..<count).map { i in
            let raw = firstDescriptor + Int32(i)
            _ = csystem_fcntl(raw, F_SETFD, FD_CLOEXEC)
            return (i < names.count ? names[i] : "", Descriptor(owning: raw))
        }
    }
}

/// A variable of the environment.
package func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
