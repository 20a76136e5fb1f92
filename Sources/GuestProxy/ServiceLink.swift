// The proxy's channels to the services, and how a call survives the death of a service.
import CSystem
import IPC
import SystemMap
import TPMWire

/// The channel to one service. The door brings a new one when the service comes back.
final class ServiceLink {
    /// How long a command waits for the new channel before the guest is told to try again, in milliseconds. Guests' drivers
    /// repeat a command on TPM_RC_RETRY by themselves, and some give up on one that takes much longer than this.
    static let patience: Int32 = 500

    let service: ServiceName
    private var channel: Channel?
    /// Rises with every channel.
    private(set) var epoch = 0
    /// Where new channels come from.
    weak var port: DoorPort?

    init(_ service: ServiceName) { self.service = service }

    var isConnected: Bool { channel != nil }

    func use(_ descriptor: Descriptor) {
        channel = Channel(descriptor)
        epoch += 1
    }

    /// - Throws: the service's own response code; TPM_RC_RETRY when the service is coming back and the guest has to repeat
    ///   its command; TPM_RC_FAILURE when nothing would help.
    func call<C: Call>(_ call: C.Type, _ request: C.Request) throws(TPMRC) -> C.Reply {
        if channel == nil { try reconnect() }
        do throws(IPCError) {
            return try attempt(call, request)
        } catch .disconnected where C.repeatable {
            try reconnect()
            do throws(IPCError) { return try attempt(call, request) } catch { throw Self.responseCode(error) }
        } catch .disconnected {
            try reconnect()
            throw .retry
        } catch {
            throw Self.responseCode(error)
        }
    }

    private func attempt<C: Call>(_ call: C.Type, _ request: C.Request) throws(IPCError) -> C.Reply {
        guard let channel else { throw .disconnected }
        do throws(IPCError) {
            return try channel.call(call, request)
        } catch {
            // After any of these the next message could be the answer to a question of the past.
            if case .status = error {} else { self.channel = nil }
            throw error
        }
    }

    private func reconnect() throws(TPMRC) {
        channel = nil
        guard port?.awaitChannel(of: self) == true else { throw .retry }
    }

    private static func responseCode(_ error: IPCError) -> TPMRC {
        switch error {
        case .status(let status) where status.isTPM: TPMRC(rawValue: status.rawValue)
        case .status(.quota): .objectMemory
        case .status(.unavailable), .disconnected, .timeout: .retry
        case .status, .malformed, .system: .failure
        }
    }
}
