// MACs and sequences: what the chip is asked, and what saved contexts carry.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

@Suite struct Att3SequenceTests {
    private static let data = (0..<2500).map { UInt8(truncatingIfNeeded: $0) }
    private static let key: [UInt8] = Array("a key that the caller knows".utf8)

    private func start(_ guest: Guest, _ key: TPMHandle, auth: [UInt8] = []) throws -> TPMHandle {
        let response = try guest.run(.hmacStart, [key]) {
            $0.sized16(auth)
            $0.value(TPMAlgorithm.null)
        }
        try #require(response.code == .success)
        return try #require(response.handle)
    }

    private func update(_ guest: Guest, _ sequence: TPMHandle, _ part: some Sequence<UInt8>) throws {
        _ = try guest.succeed(.sequenceUpdate, [sequence]) { $0.sized16(Array(part)) }
    }

    private func complete(_ guest: Guest, _ sequence: TPMHandle, _ part: some Sequence<UInt8> = []) throws -> [UInt8] {
        var reader = try guest.succeed(.sequenceComplete, [sequence]) {
            $0.sized16(Array(part))
            $0.value(TPMHandle.owner)
        }
        let result = try reader.sized16()
        #expect(try reader.value(Ticket.self) == .null(StructureTag.hashCheck), "an HMAC is no digest that could be signed")
        return result
    }

    @Test func aShortSequenceIsOneHMACOfTheChip() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.givenHMAC, data: Self.key)
        guest.device.forgetLog()
        let sequence = try start(guest, key)
        try update(guest, sequence, Self.data[..<500])
        try update(guest, sequence, Self.data[500..<1000])
        #expect(try complete(guest, sequence, Self.data[1000..<1024]) == hmac(.sha256, key: Self.key, Array(Self.data[..<1024])))
        #expect(guest.device.log == ["load", "hmac"])
        #expect(try guest.run(.sequenceUpdate, [sequence]) { $0.sized16([]) }.code == .referenceH0, "it is gone")
    }

    @Test func aLongSequenceGoesOnInTheChip() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.givenHMAC, data: Self.key)
        guest.device.forgetLog()
        let sequence = try start(guest, key)
        try update(guest, sequence, Self.data[..<1000])
        try update(guest, sequence, Self.data[1000..<2000])
        #expect(try complete(guest, sequence, Self.data[2000...]) == hmac(.sha256, key: Self.key, Self.data))
        #expect(!guest.device.log.contains("hmac"))
        #expect(!guest.device.log.contains("unseal"), "the key stays in the chip")
    }

    @Test(arguments: [0, 300, 1500]) func aSavedSequenceGoesOn(before count: Int) throws {
        let guest = try Guest()
        let key = try guest.child(Templates.givenHMAC, data: Self.key)
        let sequence = try start(guest, key)
        for offset in stride(from: 0, to: count, by: 500) { try update(guest, sequence, Self.data[offset..<min(offset + 500, count)]) }
        var saved = try guest.succeed(.contextSave, [sequence])
        let context = saved.rest()
        #expect(try complete(guest, sequence) == hmac(.sha256, key: Self.key, Array(Self.data[..<count])))
        for _ in 0..<2 {
            let loaded = try guest.run(.contextLoad) { $0.raw(context) }
            let again = try #require(loaded.handle)
            #expect(try complete(guest, again, [1]) == hmac(.sha256, key: Self.key, Array(Self.data[..<count]) + [1]))
        }
    }

    @Test func whatFailsInTheChipCanBeRepeated() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.givenHMAC, data: Self.key)
        let sequence = try start(guest, key)
        try update(guest, sequence, Self.data[..<1000])
        guest.device.outage = .retry
        #expect(try guest.run(.sequenceUpdate, [sequence]) { $0.sized16(Array(Self.data[1000..<2000])) }.code == .retry)
        #expect(try guest.run(.sequenceComplete, [sequence]) { $0.sized16([5]); $0.value(TPMHandle.null) }.code == .retry)
        guest.device.outage = nil
        try update(guest, sequence, Self.data[1000..<2000])
        #expect(try complete(guest, sequence, Self.data[2000...]) == hmac(.sha256, key: Self.key, Self.data))
    }

    /// SP 800-38B, D.1
    @Test(arguments: [
        (0, "bb1d6929e95937287fa37d129b756746"), (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"), (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ]) func knownCMACs(count: Int, expected: String) throws {
        let message = hex(
            """
            6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
            30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710
            """)
        let guest = try Guest()
        var template = Templates.cipher(Templates.fixed.union(.sign).subtracting(.sensitiveDataOrigin))
        template.parameters = .symcipher(.aes(keyBits: 128, mode: .cmac))
        let key = try guest.child(template, data: hex("2b7e151628aed2a6abf7158809cf4f3c"))
        var whole = try guest.succeed(.hmac, [key]) {
            $0.sized16(Array(message[..<count]))
            $0.value(TPMAlgorithm.null)
        }
        #expect(try whole.sized16() == hex(expected))

        var sequence = try start(guest, key)
        for byte in message[..<count] {
            try update(guest, sequence, [byte])
            var saved = try guest.succeed(.contextSave, [sequence])
            let context = saved.rest()
            _ = try guest.succeed(.flushContext) { $0.value(sequence) }
            sequence = try #require(try guest.run(.contextLoad) { $0.raw(context) }.handle)
        }
        #expect(try complete(guest, sequence) == hex(expected))
    }

    @Test func anEventIsExtendedIntoEveryBankAndItsSequenceEnds() throws {
        let guest = try Guest()
        let response = try guest.run(.hashSequenceStart) { $0.sized16([]); $0.value(TPMAlgorithm.null) }
        let sequence = try #require(response.handle)
        try update(guest, sequence, Self.data[..<10])
        var reader = try guest.succeed(.eventSequenceComplete, [TPMHandle(16), sequence]) { $0.sized16([1]) }
        let digests = try reader.list(TaggedDigest.self, max: 8)
        #expect(digests == HashAlgorithm.allCases.map { TaggedDigest($0, digest($0, Array(Self.data[..<10]), [1])) })
        for entry in digests {
            let zero = [UInt8](repeating: 0, count: entry.hash.digestSize)
            #expect(guest.pcrs.pcrs.values.digest(entry.hash, 16) == digest(entry.hash, zero, entry.digest))
        }
        #expect(try guest.run(.sequenceUpdate, [sequence]) { $0.sized16([]) }.code == .referenceH0)
    }
}
