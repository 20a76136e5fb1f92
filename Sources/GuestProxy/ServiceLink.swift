// The proxy's channels to the services, and how a call survives the death of a service.
import CSystem
import Glibc
import IPC
import SystemMap
import TPMWire
import Wire

/// The channel to one service. The door brings a new one when the service comes back.
final class ServiceLink {
    let service: ServiceName
    private var channel: Channel?
    /// Rises with every channel.
    private(set) var epoch = 0
    /// Where new channels come from.
    weak var port: DoorPort?
    /// The last numbered call. The beginning is random: another proxy of this guest has used other numbers.
    private var lastChange = UInt64.random(in: 1..<1 << 63)
    private var unresolved: Change?

    /// A numbered call whose answer did not come, so that nobody knows whether it was heard. The guest was told to repeat its
    /// command: when it does, the number stays the same, and the service knows.
    private struct Change {
        let call: UInt16
        let request: [UInt8]
        let number: UInt64
    }

    init(_ service: ServiceName) { self.service = service }

    /// How long a command waits for a service that is coming back before the guest is told to try again, in milliseconds. Guests' drivers
    /// repeat a command on TPM_RC_RETRY by themselves, and give up on a PCR_Extend after 750 ms, on a GetRandom after 2 s, and
    /// on what concerns keys and policies after minutes (Linux's tpm2_calc_ordinal_duration).
    private func patience<C: Call>(_ call: C.Type) -> Int {
        switch service {
        case .pcr: 600
        case .device: C.number == DeviceCalls.Random.number ? 1500 : 10_000
        case .policy: 10_000
        }
    }

    var isConnected: Bool { channel != nil }

    func use(_ descriptor: Descriptor) {
        let channel = Channel(descriptor)
        // The chip alone may take long; the door gave this channel a receive timeout.
        if service == .device { channel.awaiting = { [weak self] in self?.awaitReply($0) } }
        self.channel = channel
        epoch += 1
    }

    /// Until the reply is there. What the platform cancels meanwhile is taken back, if it still waits for its turn; a reply comes in any
    /// case.
    private func awaitReply(_ channel: Channel) {
        var door = port?.channel.descriptor.raw ?? -1
        while true {
            var polled = [
                pollfd(fd: channel.descriptor.raw, events: Int16(POLLIN), revents: 0), pollfd(fd: door, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&polled, 2, -1) > 0 else { continue }
            if polled[0].revents != 0 { return }
            if port?.takeCancellation() == true {
                try? channel.send(DeviceCalls.Withdraw.number.wire)
            } else {
                door = -1
            }
        }
    }

    /// - Throws: the service's own response code; TPM_RC_RETRY when the service is coming back and the guest has to repeat
    ///   its command; TPM_RC_FAILURE when nothing would help.
    func call<C: Call>(_ call: C.Type, _ request: C.Request) throws(TPMRC) -> C.Reply {
        let change = C.isNumbered ? number(of: call, request) : 0
        return try self.call(call, request, change: change)
    }

    /// - Parameter change: the number of a numbered call.
    func call<C: Call>(_ call: C.Type, _ request: C.Request, change: UInt64) throws(TPMRC) -> C.Reply {
        if channel == nil { try reconnect(call) }
        var deaths = 0
        var pausesEnd: Int?
        while true {
            do throws(IPCError) {
                let reply = try attempt(call, request, change)
                if C.isNumbered { unresolved = nil }
                return reply
            } catch .disconnected {
                if C.isNumbered { unresolved = Change(call: C.number, request: request.wire, number: change) }
                deaths += 1
                try reconnect(call)
                guard C.repeatable, deaths < Self.deathsMax else { throw .retry }
            } catch .status(.unavailable) where C.repeatable {
                // A service behind the service is coming back, or the chip.
                let end = pausesEnd ?? milliseconds() + (service == .policy ? patience(call) : Self.chipPatience)
                pausesEnd = end
                try pause(until: end)
            } catch {
                if C.isNumbered, case .status = error { unresolved = nil }
                throw Self.responseCode(error)
            }
        }
    }
    /// A service that dies of a request shall not do so again and again.
    private static let deathsMax = 2
    /// How long what paratpm-device does not have is asked for, and in which intervals, in milliseconds.
    private static let chipPatience = 500
    private static let interval = 20

    /// Whatever did not come, the guest no longer repeats it.
    func forgetUnresolved() { unresolved = nil }

    /// A call that means nothing on any other connection: nobody waits for the service to come back.
    func callIfConnected<C: Call>(_ call: C.Type, _ request: C.Request) {
        _ = try? attempt(call, request, 0)
    }

    /// What nobody answers, and what only saves time.
    func tellIfConnected<C: Call>(_ call: C.Type, _ request: C.Request) { try? channel?.tell(call, request) }

    /// For a change: a new one, or that of the same change whose answer did not come.
    func number<C: Call>(of _: C.Type, _ request: C.Request) -> UInt64 {
        if let unresolved, unresolved.call == C.number, unresolved.request == request.wire { return unresolved.number }
        lastChange &+= 1
        return lastChange
    }

    private func attempt<C: Call>(_ call: C.Type, _ request: C.Request, _ change: UInt64) throws(IPCError) -> C.Reply {
        guard let channel else { throw .disconnected }
        do throws(IPCError) {
            return try channel.call(call, request, change: change)
        } catch {
            // After any of these the next message could be the answer to a question of the past.
            if case .status = error {} else { self.channel = nil }
            throw error
        }
    }

    private func reconnect<C: Call>(_ call: C.Type) throws(TPMRC) {
        channel = nil
        let former = epoch
        guard port?.wait(until: milliseconds() + patience(call), for: { epoch != former }) == .served else { throw .retry }
    }

    private func pause(until end: Int) throws(TPMRC) {
        let now = milliseconds()
        guard now < end, port?.wait(until: min(end, now + Self.interval), for: { false }) == .timeOver else { throw .retry }
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
