// HMAC sequences in the chip (Part 3, 17): between two steps they are in no slot, but saved with the caller.
import ChipClient
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension Chip {
    /// TPM2_HMAC_Start (Part 3, 17.2) with an empty authValue. A sequence has no Name.
    func startHMAC(_ hash: HashAlgorithm, with key: Entity) throws(ChipError) -> Entity {
        var writer = WireWriter()
        writer.sized16([UInt8]())
        writer.value(hash)
        let response = try run(ChipCommand(
            code: .hmacStart, entities: [key], authorization: .password, parameters: writer.bytes))
        guard let handle = response.handle, handle.kind == .transient else { throw .garbage }
        return Entity(handle, name: [])
    }

    /// TPM2_SequenceUpdate (Part 3, 17.5)
    func updateSequence(_ data: [UInt8], _ sequence: Entity) throws(ChipError) {
        var writer = WireWriter()
        writer.sized16(data)
        let command = ChipCommand(
            code: .sequenceUpdate, entities: [sequence], authorization: .salted(.decrypt), parameters: writer.bytes)
        try run(command).decode { (_) throws(WireError) in }
    }

    /// TPM2_SequenceComplete (Part 3, 17.6): the HMAC. It ends the sequence.
    func completeSequence(_ data: [UInt8], _ sequence: Entity) throws(ChipError) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16(data)
        writer.value(TPMHandle.null)
        var response = try run(ChipCommand(
            code: .sequenceComplete, entities: [sequence], authorization: .salted([.decrypt, .encrypt]),
            parameters: writer.bytes))
        defer { wipe(&response.parameters) }
        return try response.decode { (reader) throws(WireError) in
            let result = try reader.sized16(max: HashAlgorithm.largestDigest)
            _ = try reader.value(Ticket.self)
            return result
        }
    }
}

/// The device owner's own mark on a saved sequence: the chip would take any context that it made, of any guest. It lives as long
/// as this process, and so do the sequences.
struct SequenceSeal {
    private static let hash = HashAlgorithm.sha256
    private let key = Secret(randomBytes(hash.digestSize))

    func sealed(_ context: [UInt8], of guest: GuestID) -> [UInt8] { mark(context, guest) + context }

    /// The context; empty for an empty state, which is a beginning.
    func open(_ state: [UInt8], of guest: GuestID) throws(CallStatus) -> [UInt8] {
        guard !state.isEmpty else { return [] }
        let context = Array(state.dropFirst(Self.hash.digestSize))
        guard constantTimeEqual(mark(context, guest), Array(state.prefix(Self.hash.digestSize))) else { throw .malformed }
        return context
    }

    private func mark(_ context: [UInt8], _ guest: GuestID) -> [UInt8] {
        hmac(Self.hash, key: key.bytes, guest.bytes, context)
    }
}
