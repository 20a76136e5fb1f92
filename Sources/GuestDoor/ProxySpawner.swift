// Where proxies come from: a child of the door, forked before the door has read a secret, that does nothing but start and bury
// proxies. So the door can give up fork and execve, and still replace a proxy that died.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import Wire

/// The door's side.
final class ProxySpawner {
    private let channel: Channel
    /// Readable when the spawner is gone.
    var descriptor: Descriptor { channel.descriptor }

    /// Forks the spawner, which confines itself.
    /// - Parameter executable: the proxy's.
    init(executable: String, allowsUnconfined: Bool) throws(Failure) {
        guard let (ours, theirs) = try? Descriptor.pair() else {
            throw Failure(.software, "cannot make a socket pair: \(describe(errno: errno))")
        }
        let child = csystem_fork()
        guard child >= 0 else { throw Failure(.software, "cannot start a process: \(describe(errno: errno))") }
        if child == 0 { Spawner(door: theirs, executable: executable, allowsUnconfined: allowsUnconfined).run() }
        channel = Channel(ours)
    }

    /// - Parameter descriptors: what the proxy is born with, in the order of ProxyCalls.Inherited.
    func start(_ descriptors: [Descriptor]) throws(IPCError) -> pid_t {
        pid_t(bitPattern: try channel.exchange(SpawnerCalls.Start.self, Nothing(), descriptors: descriptors).reply)
    }

    /// - Returns: the status of wait(2).
    func bury(_ pid: pid_t, isDying: Bool) throws(IPCError) -> Int32 {
        Int32(bitPattern: try channel.call(SpawnerCalls.Bury.self, .init(pid: UInt32(bitPattern: pid), isDying: isDying)))
    }
}

/// The child's side.
private struct Spawner {
    /// How long a proxy that is dying may take, in milliseconds.
    private static let patience = 50

    private let door: Descriptor
    private let executable: String
    private let arguments: [String]
    /// What the log needs to know, and nothing else.
    private let environment: [String]
    private let allowsUnconfined: Bool

    init(door: Descriptor, executable: String, allowsUnconfined: Bool) {
        self.door = door
        self.executable = executable
        self.allowsUnconfined = allowsUnconfined
        arguments = [Role.proxy.rawValue] + (allowsUnconfined ? [allowUnconfinedOption] : [])
        environment = (variable("JOURNAL_STREAM").map { ["JOURNAL_STREAM=" + $0] } ?? []) + ["\(LogSink.prefixVariable)=\(LogSink.prefix)"]
    }

    /// Until the door is gone; the proxies die with this process.
    func run() -> Never {
        csystem_set_name("paratpm-spawner")
        // The door's other descriptors are not ours to keep open.
        guard csystem_close_from(3, UInt32(door.raw)) == 0 else { end("close what it inherited: \(describe(errno: errno))") }
        do {
            try confine(.spawner(proxy: executable), .guest, allowsUnconfined: allowsUnconfined)
        } catch {
            end(error.message)
        }
        csystem_return_free_memory()
        let channel = Channel(door)
        var proxies: [pid_t] = []
        while let (bytes, descriptors) = try? channel.receive() {
            guard (try? channel.send(answer(bytes, descriptors, &proxies))) != nil else { break }
        }
        _exit(0)
    }

    private func end(_ why: String) -> Never {
        log(.error, .guest, "its spawner: \(why)")
        _exit(ExitCode.unavailable.rawValue)
    }

    private func answer(_ bytes: [UInt8], _ descriptors: [Descriptor], _ proxies: inout [pid_t]) -> [UInt8] {
        var reader = WireReader(bytes)
        switch try? reader.u16() {
        case SpawnerCalls.Start.number:
            let pid = start(descriptors)
            guard pid > 0 else { return CallStatus.failed.rawValue.wire }
            proxies.append(pid)
            return CallStatus.ok.rawValue.wire + UInt32(bitPattern: pid).wire
        case SpawnerCalls.Bury.number:
            guard let request = try? SpawnerCalls.Bury.Request(wire: reader.rest()),
                let index = proxies.firstIndex(of: pid_t(bitPattern: request.pid))
            else { return CallStatus.unknownHandle.rawValue.wire }
            let pid = proxies.remove(at: index)
            return CallStatus.ok.rawValue.wire + UInt32(bitPattern: bury(pid, isDying: request.isDying)).wire
        default: return CallStatus.unknownCall.rawValue.wire
        }
    }

    private func start(_ descriptors: [Descriptor]) -> pid_t {
        let numbered = descriptors.enumerated().map { ($1, ProxyCalls.Inherited.door + Int32($0)) }
        return spawn(executable, arguments, environment, descriptors: numbered, deathSignal: SIGKILL)
    }

    private func bury(_ pid: pid_t, isDying: Bool) -> Int32 {
        var status: Int32 = 0
        if isDying {
            for _ in 0..<Self.patience {
                if waitpid(pid, &status, WNOHANG) == pid { return status }
                poll(nil, 0, 1)
            }
        }
        kill(pid, SIGKILL)
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        return status
    }
}
