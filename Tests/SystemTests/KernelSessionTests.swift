// A Linux kernel with CONFIG_TCG_TPM2_HMAC (6.10 and later): at boot a NULL-hierarchy ECC storage key, kept as a saved context;
// then for each operation ContextLoad, a session salted with that key, the operation under HMAC and AES-128-CFB, FlushContext.
import Foundation
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct KernelSessionTests {
    /// The kernel's template of the NULL key (TCG SRK template, ECC P-256).
    private static let nullKey = PublicArea(
        nameAlgorithm: .sha256,
        attributes: [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .restricted, .decrypt],
        parameters: .ecc(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, curve: .p256, kdf: .null),
        unique: .ecc(ECCPoint(x: [UInt8](repeating: 0, count: 32), y: [UInt8](repeating: 0, count: 32))))

    /// One operation of the kernel.
    private func operation(
        _ c: TPMConnection, _ context: [UInt8], _ area: PublicArea, _ code: TPMCommandCode, _ entities: [Entity],
        _ attributes: SessionAttributes, authorized: Int, _ parameters: (inout WireWriter) -> Void
    ) throws -> ResponseMessage {
        let loaded = try c.run(.contextLoad) { $0.raw(context) }
        guard let key = loaded.handle else { throw HarnessError("ContextLoad: \(loaded.code)") }
        let session = try ClientSession(c, symmetric: .aes(keyBits: 128, mode: .cfb), saltKey: (key, area))
        let response = try ClientSession.run(c, code, entities, [.init(session, attributes)], authorized: authorized, parameters)
        try c.flush(session.handle)
        try c.flush(key)
        return response
    }

    @Test func theKernelsSequenceWorksAndTheNullKeyNeverTouchesTheChip() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        let c = try guest.connect()

        // The guest's random pool is filled from the chip once, before the count begins.
        _ = try c.run(.getRandom) { $0.u16(32) }

        // Boot: the NULL key and its context.
        let before = try chipCommands(broker)
        let primary = try c.primary(Self.nullKey, under: .null)
        let context = try c.run(.contextSave, [primary.handle]).parameters
        try c.flush(primary.handle)
        let again = try c.primary(Self.nullKey, under: .null)
        #expect(again.area == primary.area, "the same NULL key in the same boot")
        try c.flush(again.handle)

        // PCR_Extend: continue; GetRandom: continue and encrypt.
        let digest = [UInt8](repeating: 0xAA, count: 32)
        for _ in 0..<10 {
            let extended = try operation(c, context, primary.area, .pcrExtend, [Entity(TPMHandle(10))], [.continueSession], authorized: 1) {
                $0.list([TaggedDigest(.sha256, digest)])
            }
            #expect(extended.code == .success)
        }
        var expected = [UInt8](repeating: 0, count: 32)
        for _ in 0..<10 { expected = TPMCrypto.digest(.sha256, expected, digest) }
        #expect(try c.readPCR(10) == expected)
        let random = try operation(c, context, primary.area, .getRandom, [], [.continueSession, .encrypt], authorized: 0) { $0.u16(32) }
        #expect(random.code == .success && random.parameters.count == 34)
        let after = try chipCommands(broker)
        #expect(after == before, "the chip saw \(after - before) commands; the salted NULL-hierarchy session must cost none")

        // Trusted keys: Create with continue and decrypt under the SRK, Unseal with continue and encrypt.
        let srk = try c.primary(Template.eccStorage)
        let parent = Entity(srk.handle, name: srk.area.name)
        let response = try operation(c, context, primary.area, .create, [parent], [.continueSession, .decrypt], authorized: 1,
                                     creation(Template.sealed(), data: Array("trusted key".utf8)))
        #expect(response.code == .success)
        let created = try Created(response)
        #expect(created.privateBlob.count + created.publicArea.wire.count + 4 <= 512, "a trusted key's blobs fit 512 bytes")
        let loaded = try c.load(created, under: srk.handle)
        let object = Entity(try #require(loaded.handle), name: created.publicArea.name)
        let unsealed = try operation(c, context, primary.area, .unseal, [object], [.continueSession, .encrypt], authorized: 1) { _ in }
        #expect(unsealed.parameters == [0, 11] + Array("trusted key".utf8))
    }

    @Test func aWrongHMACIsRefused() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        let c = try guest.connect()
        let session = try ClientSession(c)
        let wrong = AuthCommand(
            handle: session.handle, nonce: randomBytes(32), attributes: [.continueSession], hmac: [UInt8](repeating: 0, count: 32))
        let response = try c.run(CommandMessage(
            .pcrExtend, handles: [TPMHandle(10)], sessions: [wrong], parameters: UInt32(0).wire))
        #expect(response.code == TPMRC.badAuth.session(1))
    }

    /// How many commands the device owner has sent to the chip, by its own account.
    private func chipCommands(_ broker: Broker) throws -> Int {
        let status = try run(Programs.path("paratpmctl"), ["status", "--json", "--dir", broker.directory.path])
        let text = status.output
        guard let range = text.range(of: #"commands[^0-9]*([0-9]+)"#, options: .regularExpression) else {
            throw HarnessError("no count of chip commands in: \(text)")
        }
        return Int(text[range].filter(\.isNumber)) ?? -1
    }
}
