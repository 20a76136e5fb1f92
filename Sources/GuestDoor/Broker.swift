// The door's connections to the three services.
import GuestIdentity
import IPC
import SystemMap
import CryptoBase
import Wire

final class Broker {
    /// How long a service may take to answer, in seconds: paratpm-device may be waiting for a slow chip.
    private static let patience = 60

    private let instance: Instance
    private let home: GuestHome
    private var channels: [ServiceName: Channel] = [:]

    init(_ instance: Instance, _ home: GuestHome) {
        self.instance = instance
        self.home = home
    }

    /// The connections that are there, to watch.
    var connected: [(service: ServiceName, descriptor: Descriptor)] {
        channels.map { ($0.key, $0.value.descriptor) }
    }

    func isConnected(_ service: ServiceName) -> Bool { channels[service] != nil }
    func isConnected(_ service: ServiceName, by descriptor: Descriptor) -> Bool {
        channels[service]?.descriptor === descriptor
    }
    func drop(_ service: ServiceName) { channels[service] = nil }

    /// Whether there is a broker at all, before anything is made for its sake.
    static func probe(_ instance: Instance) throws(Failure) {
        for service in ServiceName.allCases {
            let path = instance.socket(service)
            do throws(IPCError) { _ = try Channel.connect(path) } catch { throw absent(instance, path, error) }
        }
    }

    private static func absent(_ instance: Instance, _ path: String, _ error: IPCError) -> Failure {
        Failure(.unavailable, "no broker answers at \(path) (\(text(error))); start it: "
            + (instance.isSystem ? "systemctl start paratpm.target (or name another broker's directory in PARATPM_DIR)"
                : "paratpmctl run --dir \(instance.stateDirectory)"))
    }

    /// Connects and proves the guest's identity.
    func connect(_ service: ServiceName) throws(Failure) {
        let path = instance.socket(service)
        do throws(IPCError) {
            let channel = try Channel.connect(path, timeout: Self.patience)
            try introduce(channel, as: home.name, key: home.key, to: service)
            channels[service] = channel
        } catch .status(.identityRefused) {
            throw Failure(.config, "paratpm-\(service.rawValue) does not accept the identity of guest \(home.name); "
                + "was it removed, or may only another user run it?")
        } catch {
            throw Self.absent(instance, path, error)
        }
    }

    /// The descriptors of a new channel for the proxy.
    func proxyChannel(_ service: ServiceName) throws(Failure) -> [Descriptor] {
        guard let channel = channels[service] else { throw Failure(.unavailable, "paratpm-\(service.rawValue) is gone") }
        do throws(IPCError) {
            let descriptors = try channel.exchange(Introduction.OpenProxyChannel.self, Nothing()).descriptors
            guard descriptors.count == Introduction.OpenProxyChannel.descriptors(of: service) else { throw .malformed }
            return descriptors
        } catch {
            drop(service)
            throw Failure(.unavailable, "paratpm-\(service.rawValue) opens no channel for the proxy: \(text(error))")
        }
    }

    /// What is to be measured before the guest's TPM starts, says paratpm-policy.
    func hostBinding() throws(IPCError) -> HostBindingCalls.Event.Reply {
        guard let channel = channels[.policy] else { throw .disconnected }
        do throws(IPCError) {
            return try channel.call(HostBindingCalls.Event.self, Nothing())
        } catch {
            if case .status = error {} else { drop(.policy) }
            throw error
        }
    }

    /// A platform signal to paratpm-pcr.
    func signal<C: Call>(_ call: C.Type, _ request: C.Request, change: UInt64) throws(IPCError) where C.Reply == Nothing {
        guard let channel = channels[.pcr] else { throw .disconnected }
        do throws(IPCError) {
            _ = try channel.call(call, request, change: change)
        } catch {
            if case .status = error {} else { drop(.pcr) }
            throw error
        }
    }
}

/// An error between processes, for the log.
func text(_ error: IPCError) -> String {
    switch error {
    case .disconnected: "the connection is gone"
    case .malformed: "it answers what is not understood"
    case .status(let status): "status 0x" + String(status.rawValue, radix: 16)
    case .system(let code): describe(errno: code)
    case .timeout: "it does not answer"
    }
}
