// Session audit and command audit: digests as a verifier computes them.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

@Suite struct Att3AuditTests {
    private struct Digest {
        let counter: UInt64
        let hash: HashAlgorithm
        let audit: [UInt8]
        let commands: [UInt8]
    }

    /// GetCommandAuditDigest; signed, it begins a new digest.
    private func read(_ guest: Guest, signer: TPMHandle = .null) throws -> Digest {
        var reader = try guest.succeed(.getCommandAuditDigest, [.endorsement, signer]) {
            $0.sized16([])
            Scheme.null.encode(to: &$0)
        }
        var body = WireReader(try reader.sized16())
        #expect(try body.u32() == Attestation.magic)
        #expect(try body.u16() == StructureTag.attestCommandAudit)
        _ = try body.sized16()
        _ = try body.sized16()
        _ = try body.bytes(17 + 8)
        return Digest(counter: try body.u64(), hash: try body.value(), audit: try body.sized16(), commands: try body.sized16())
    }

    private func set(_ guest: Guest, _ hash: TPMAlgorithm = .null, _ codes: [TPMCommandCode] = []) throws {
        _ = try guest.succeed(.setCommandCodeAuditStatus, [.owner]) {
            $0.value(hash)
            $0.list(codes)
            $0.list([TPMCommandCode]())
        }
    }

    private func stir(_ guest: Guest) throws { _ = try guest.succeed(.stirRandom) { $0.sized16([7]) } }

    @Test func theDigestIsOfCommandsAndResponses() throws {
        let guest = try Guest()
        #expect(try read(guest).audit.isEmpty)
        try set(guest, .sha256)
        try set(guest, .null, [.stirRandom])
        let before = try read(guest)
        #expect(before.counter == 1)
        #expect(before.commands == digest(.sha256, TPMCommandCode.setCommandCodeAuditStatus.wire, TPMCommandCode.stirRandom.wire))

        try stir(guest)
        let cpHash = digest(.sha256, TPMCommandCode.stirRandom.wire, [0, 1, 7])
        let rpHash = digest(.sha256, UInt32(0).wire, TPMCommandCode.stirRandom.wire)
        let after = try read(guest)
        #expect(after.audit == digest(.sha256, before.audit, cpHash, rpHash))
        #expect(after.counter == 1, "still the same digest")

        let signer = try #require(try guest.createPrimary(Templates.eccAttest).handle)
        _ = try read(guest, signer: signer)
        #expect(try read(guest).audit.isEmpty)
        try stir(guest)
        #expect(try read(guest).audit == digest(.sha256, [UInt8](repeating: 0, count: 32), cpHash, rpHash))
        #expect(try read(guest).counter == 2)
    }

    @Test func whatIsAuditedLastsAndTheDigestDoesNot() throws {
        let guest = try Guest()
        try set(guest, .null, [.stirRandom])
        try guest.revive()
        try guest.startup()
        let state = try read(guest)
        #expect(state.counter == 1)
        #expect(state.audit.isEmpty)
        #expect(state.hash == VirtualTPM.contextHash)
        var list = try guest.succeed(.getCapability) { $0.u32(4); $0.u32(0); $0.u32(10) }
        _ = try list.bytes(5)
        #expect(try list.list(TPMCommandCode.self, max: 10) == [.setCommandCodeAuditStatus, .stirRandom])
    }

    @Test func aResumedDigestGoesOn() throws {
        let guest = try Guest()
        try set(guest, .null, [.stirRandom])
        let digest = try read(guest).audit
        _ = try guest.succeed(.shutdown) { $0.u16(1) }
        guest.powerOn()
        try guest.startup(state: true)
        #expect(try read(guest).audit == digest)
        guest.powerOn()
        try guest.startup()
        #expect(try read(guest).audit.isEmpty)
    }
}
