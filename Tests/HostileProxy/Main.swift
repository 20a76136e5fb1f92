// A program in the place of paratpm-proxy, as a guest that took its proxy over might put there. It answers its door as a proxy does, and gives
// every descriptor that it has to whoever connects to the guest's data socket: the test, which is the attacker and has no sandbox around it.
import CSystem
import Glibc
import IPC
import SystemMap
import Wire

@main enum HostileProxy {
    static func main() {
        signal(SIGPIPE, SIG_IGN)
        let door = Channel(Descriptor(owning: ProxyCalls.Inherited.door))
        let state = Descriptor(owning: ProxyCalls.Inherited.state)
        var loot: [UInt8: [Descriptor]] = [:]
        var listener: Descriptor?
        while let (bytes, descriptors) = try? door.receive() {
            var reader = WireReader(bytes)
            let number = try? reader.u16()
            var reply = WireWriter()
            reply.u32(CallStatus.ok.rawValue)
            switch number {
            case ProxyCalls.UseChannel.number: loot[(try? reader.u8()) ?? 0] = descriptors
            case ProxyCalls.ServeData.number: listener = descriptors.first
            case ProxyCalls.SetBufferSize.number: reply.raw(reader.rest())
            default: break
            }
            try? door.send(reply.bytes)
            if let listener, number == ProxyCalls.ServeData.number { surrender(loot, door.descriptor, state, at: listener) }
        }
    }

    /// In two messages: the channels to device, pcr and policy and the page that came with that to pcr; what it was born with, the page of its
    /// policy, and where it posts.
    private static func surrender(_ loot: [UInt8: [Descriptor]], _ door: Descriptor, _ state: Descriptor, at listener: Descriptor) {
        let client = Descriptor(owning: csystem_accept(listener.raw, 0))
        let channels = ServiceName.allCases.indices.compactMap { loot[UInt8($0)]?.first } + (loot[1] ?? []).dropFirst().prefix(1)
        for descriptors in [channels, [door, state] + (loot[2] ?? []).dropFirst() + (loot[1] ?? []).dropFirst(2)] {
            csystem_send(client.raw, [0], 1, descriptors.map(\.raw), Int32(descriptors.count), 0)
        }
    }
}
