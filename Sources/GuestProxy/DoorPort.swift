// The proxy's end of the socket to its door: requests come here, and with them the channels to the services.
import CSystem
import Glibc
import HostPolicy
import IPC
import SystemMap
import TPMWire
import Wire

final class DoorPort {
    struct Message {
        let number: UInt16
        let body: [UInt8]
        let descriptors: [Descriptor]
    }

    let channel: Channel
    let device = ServiceLink(.device)
    let pcr = ServiceLink(.pcr)
    let policy = ServiceLink(.policy)
    let postedExtends: PostedExtends
    /// The guest's vPCRs, from the channel to paratpm-pcr.
    private(set) var page: VPCRPage?
    /// The guest's policy, from the channel to paratpm-policy.
    let rules = PolicyReader()
    /// What the door asked while a command waited for a channel; its answer comes behind that command.
    private var postponed: [Message] = []

    init(_ descriptor: Descriptor) {
        channel = Channel(descriptor)
        postedExtends = PostedExtends(pcr)
        for link in [device, pcr, policy] { link.port = self }
    }

    /// Whether memory that was needed for a while was given back: when a guest makes and loads objects that is most.
    var isTidy = false
    var hasPostponed: Bool { !postponed.isEmpty }
    var isComplete: Bool { device.isConnected && pcr.isConnected && policy.isConnected }

    /// Makes sure that every PCR_Extend that was answered has happened.
    func settle() throws(TPMRC) { try postedExtends.settle { [page] in page?.change } }

    /// The door's next request; nil: the door is gone.
    func receive() -> Message? {
        if !postponed.isEmpty { return postponed.removeFirst() }
        guard let (bytes, descriptors) = try? channel.receive() else { return nil }
        var reader = WireReader(bytes)
        let number = (try? reader.u16()) ?? 0
        return Message(number: number, body: reader.rest(), descriptors: descriptors)
    }

    func reply(_ status: CallStatus, _ body: [UInt8] = []) {
        var writer = WireWriter()
        writer.u32(status.rawValue)
        writer.raw(body)
        // A door that is gone shows at the next poll.
        _ = try? channel.send(writer.bytes)
    }

    /// Whether the door's next message cancels the command. Another message waits behind that, and then there is nothing more to look for.
    func takeCancellation() -> Bool {
        guard !hasPostponed, let message = receive() else { return false }
        if message.number == ProxyCalls.Cancel.number { return true }
        postponed.append(message)
        return false
    }

    /// How a command's wait for a service ended.
    enum WaitEnd {
        /// What it waited for came.
        case served
        case timeOver
        /// The door wants something else first, or that the command ends.
        case interrupted
    }

    /// Takes the door's new channels, and does nothing else, until the condition holds.
    /// - Parameter deadline: on the clock of `milliseconds()`.
    func wait(until deadline: Int, for condition: () -> Bool) -> WaitEnd {
        while !condition() {
            guard !hasPostponed else { return .interrupted }
            var polled = pollfd(fd: channel.descriptor.raw, events: Int16(POLLIN), revents: 0)
            guard poll(&polled, 1, Int32(clamping: max(0, deadline - milliseconds()))) > 0 else { return .timeOver }
            guard let message = receive(), message.number != ProxyCalls.Cancel.number else { return .interrupted }
            if message.number == ProxyCalls.UseChannel.number { reply(useChannel(message)) } else { postponed.append(message) }
        }
        return .served
    }

    func useChannel(_ message: Message) -> CallStatus {
        let descriptors = message.descriptors
        guard let index = try? ProxyCalls.UseChannel.Request(wire: message.body), index < ServiceName.allCases.count,
            case let service = ServiceName.allCases[Int(index)], descriptors.count == Introduction.OpenProxyChannel.descriptors(of: service)
        else { return .malformed }
        switch service {
        case .device: device.use(descriptors[0])
        case .policy:
            guard rules.use(descriptors[1]) else { return .malformed }
            policy.use(descriptors[0])
        case .pcr:
            guard let page = VPCRPage(descriptors[1], writable: false) else { return .malformed }
            self.page = page
            postedExtends.use(descriptors[2])
            pcr.use(descriptors[0])
        }
        return .ok
    }
}
