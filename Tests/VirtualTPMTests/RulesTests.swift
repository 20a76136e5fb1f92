// A TPM that an administrator has made smaller: it answers as one that never had what is missing, and says so of itself.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

struct RulesTests {
    private func guest(
        without words: [Vocabulary.Word] = [], commands: Set<TPMCommandCode> = [], limits: Limits = Limits()
    ) throws -> Guest {
        let guest = try Guest()
        _ = guest.tpm.obey(rules(without: words, commands: commands, limits: limits))
        return guest
    }

    private func rules(without words: [Vocabulary.Word], commands: Set<TPMCommandCode> = [], limits: Limits = Limits()) -> Rules {
        Rules(
            commands: CommandSet(CommandTable.rows.map(\.code).filter { !commands.contains($0) }),
            vocabulary: Vocabulary(without: words), limits: limits)
    }

    private func capability<T: WireCodable>(_ guest: Guest, _ capability: Capability, _: T.Type) throws -> [T] {
        var reader = try guest.succeed(.getCapability) {
            $0.u32(capability.rawValue)
            $0.u32(capability == .tpmProperties ? 0x100 : 0)
            $0.u32(1000)
        }
        #expect(try reader.flag() == false)
        _ = try reader.u32()
        let list: [T] = try reader.list(max: 1000)
        try reader.finish()
        return list
    }

    // MARK: Commands

    @Test func aCommandThatIsTakenAwayIsUnknownAndNotListed() throws {
        let guest = try guest(commands: [.clear, .changeEPS])
        #expect(try guest.code(.clear, [.lockout]) == 0x143)
        #expect(guest.tpm.refusal == .command(.clear))
        #expect(try guest.code(.getRandom) { $0.u16(8) } == 0)
        #expect(guest.tpm.refusal == nil)
        let listed = try capability(guest, .commands, UInt32.self).map { $0 & 0xFFFF }
        #expect(listed == CommandTable.rows.map { $0.code.rawValue }.filter { $0 != 0x126 && $0 != 0x124 })
        let properties = try capability(guest, .tpmProperties, TaggedProperty.self)
        #expect(properties.first { $0.property == 0x129 }?.value == UInt32(CommandTable.rows.count - 2))
        // Nor can a policy or an audit be about it.
        let session = try #require(try guest.run(.startAuthSession, [.null, .null]) {
            $0.sized16(randomBytes(16))
            $0.sized16([UInt8]())
            $0.u8(3)
            $0.value(TPMAlgorithm.null)
            $0.value(HashAlgorithm.sha256)
        }.handle)
        #expect(try guest.code(.policyCommandCode, [session]) { $0.value(TPMCommandCode.clear) } == TPMRC.policyCC.parameter(1).rawValue)
    }

    @Test(arguments: [TPMCommandCode.nvUndefineSpaceSpecial, .evictControl, CommandTable.rows[CommandTable.rows.count - 1].code])
    func aSetHoldsEachCommandByItself(code: TPMCommandCode) {
        let all = CommandTable.rows.map(\.code)
        #expect(all.allSatisfy { CommandSet.all.contains($0) })
        #expect(all.filter { CommandSet([code]).contains($0) } == [code])
        #expect(!CommandSet.all.contains(TPMCommandCode(0)) && !CommandSet.all.contains(TPMCommandCode(0x2000_0000)))
    }

    // MARK: Algorithms

    @Test func aHashThatIsTakenAwayIsUnknownEverywhere() throws {
        let guest = try guest(without: [.algorithm(.sha1)])
        let hash = try guest.run(.hash) {
            $0.sized16([UInt8]("x".utf8))
            $0.value(HashAlgorithm.sha1)
            $0.value(TPMHandle.null)
        }
        #expect(hash.code == TPMRC.hash.parameter(2))
        #expect(guest.tpm.refusal == .vocabulary(.algorithm(.sha1)))
        #expect(try guest.code(.pcrRead) { $0.list([PCRSelection(.sha1, pcrs: [0])]) } == TPMRC.hash.parameter(1).rawValue)
        #expect(try guest.code(.pcrRead) { $0.list([PCRSelection(.sha256, pcrs: [0])]) } == 0)
        let template = Templates.ecc(Templates.fixed.union(.sign), hash: .sha1)
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(template)) == TPMRC.hash.parameter(2).rawValue)
        let scheme = Templates.ecc(Templates.fixed.union(.sign), scheme: Scheme(.ecdsa, .sha1))
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(scheme)) == TPMRC.hash.parameter(2).rawValue)
        let derived = try guest.run(.createLoaded, [.owner]) {
            $0.sized16(SensitiveCreate())
            $0.sized16(template)
        }
        #expect(derived.code == TPMRC.hash.parameter(2))
        #expect(guest.tpm.refusal == .vocabulary(.algorithm(.sha1)))
        // Events are measured with what is left.
        var event = try guest.succeed(.pcrEvent, [TPMHandle(.pcr, 16)]) { $0.sized16([UInt8]("x".utf8)) }
        #expect(try event.list(TaggedDigest.self, max: 4).map(\.hash) == [.sha256, .sha384, .sha512])
        #expect(try capability(guest, .pcrs, PCRSelection.self).map(\.hash) == [.sha256, .sha384, .sha512])
        #expect(!(try capability(guest, .algorithms, AlgorithmProperty.self).contains { $0.algorithm == .sha1 }))
    }

    @Test func anEventSequenceHasTheHashesThatAreLeft() throws {
        let guest = try guest(without: [.algorithm(.sha384), .algorithm(.sha512)])
        let sequence = try #require(try guest.run(.hashSequenceStart) {
            $0.sized16([UInt8]())
            $0.value(TPMAlgorithm.null)
        }.handle)
        var digests = try guest.succeed(.eventSequenceComplete, [TPMHandle(.pcr, 16), sequence]) { $0.sized16([UInt8]("x".utf8)) }
        #expect(try digests.list(TaggedDigest.self, max: 4).map(\.hash) == [.sha1, .sha256])
    }

    /// What a TPM answers to an algorithm that it does not know, in the field where each can stand.
    @Test(arguments: [
        (Vocabulary.Word.algorithm(.rsa), TPMRC.type, Templates.rsaSign.parameters),
        (.algorithm(.ecc), .type, Templates.eccSign.parameters),
        (.algorithm(.symcipher), .type, Templates.aes.parameters),
        (.algorithm(.rsapss), .value, Templates.rsa([], scheme: Scheme(.rsapss, .sha256)).parameters),
        (.algorithm(.ecdsa), .scheme, Templates.eccAttest.parameters),
        (.algorithm(.xor), .value, Templates.keyedHash([], scheme: Scheme(.xor, .sha256, kdf: .kdf1SP800_108)).parameters),
        (.algorithm(.cbc), .mode, .symcipher(.aes(keyBits: 128, mode: .cbc))),
        (.algorithm(.cmac), .mode, .symcipher(.aes(keyBits: 128, mode: .cmac))),
        (.curve(.p384), .curve, Templates.ecc([], curve: .p384).parameters),
        (.rsaBits(2048), .value, Templates.rsaSign.parameters),
        (.aesBits(128), .value, Templates.aes.parameters),
    ])
    func parametersThatAreTakenAwayAreUnknown(word: Vocabulary.Word, code: TPMRC, parameters: PublicArea.Parameters) throws {
        let guest = try Guest()
        let type = PublicArea(nameAlgorithm: nil, attributes: [], parameters: parameters, unique: .digest([])).type
        func test() throws -> UInt32 {
            try guest.code(.testParms) {
                $0.value(type)
                parameters.encode(to: &$0)
            }
        }
        #expect(try test() == 0)
        _ = guest.tpm.obey(rules(without: [word]))
        #expect(try test() == code.parameter(1).rawValue)
        #expect(guest.tpm.refusal == .vocabulary(word))
        _ = guest.tpm.obey(Rules())
        #expect(try test() == 0)
    }

    @Test func curvesAndAlgorithmsAreToldAsTheyAre() throws {
        let guest = try guest(without: [.curve(.p521), .algorithm(.rsa)])
        #expect(try capability(guest, .eccCurves, UInt16.self) == [3, 4, 16])
        let algorithms = Set(try capability(guest, .algorithms, AlgorithmProperty.self).map(\.algorithm))
        #expect(algorithms.isDisjoint(with: [.rsa, .rsassa, .rsapss, .oaep, .rsaes]) && algorithms.contains(.ecdsa))
        #expect(try guest.code(.eccParameters) { $0.value(ECCCurve.p521) } == TPMRC.curve.parameter(1).rawValue)
        _ = guest.tpm.obey(rules(without: [.algorithm(.ecc)]))
        #expect(try capability(guest, .eccCurves, UInt16.self) == [])
        #expect(try guest.code(.eccParameters) { $0.value(ECCCurve.p256) } == TPMRC.curve.parameter(1).rawValue)
    }

    // MARK: Quotas

    @Test func whatIsHeldStaysWhenAQuotaSinks() throws {
        let guest = try Guest()
        let objects = try (0..<5).map { try #require(try guest.createPrimary(data: [UInt8($0)]).handle) }
        var limits = Limits()
        (limits.transientObjects, limits.primaries) = (3, 4)
        let excess = guest.tpm.obey(Rules(limits: limits))
        #expect(excess.map(\.limit) == [.transientObjects, .primaries] && excess.map(\.held) == [5, 5])
        for object in objects { #expect(try guest.code(.readPublic, [object]) == 0) }
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(Templates.eccStorage, data: [0])) == 0x902)
        #expect(guest.tpm.refusal == .limit(.transientObjects))
        let properties = try capability(guest, .tpmProperties, TaggedProperty.self)
        #expect(properties.first { $0.property == 0x10E }?.value == 3)
        for object in objects[..<3] { #expect(try guest.code(.flushContext) { $0.value(object) } == 0) }
        // A primary that is remembered is no new one.
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(Templates.eccStorage, data: [0])) == 0)
        for handle in guest.tpm.volatile.transient.handles { #expect(try guest.code(.flushContext) { $0.value(handle) } == 0) }
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(Templates.eccStorage, data: [9])) == 0x902)
        #expect(guest.tpm.refusal == .limit(.primaries))
    }

    @Test func sessionsAreCounted() throws {
        var limits = Limits()
        limits.sessions = 3
        let guest = try guest(limits: limits)
        func start() throws -> ResponseMessage {
            try guest.run(.startAuthSession, [.null, .null]) {
                $0.sized16(randomBytes(16))
                $0.sized16([UInt8]())
                $0.u8(0)
                $0.value(TPMAlgorithm.null)
                $0.value(HashAlgorithm.sha256)
            }
        }
        let sessions = try (0..<3).map { _ in try #require(try start().handle) }
        #expect(try start().code == .sessionHandles)
        #expect(guest.tpm.refusal == .limit(.sessions))
        // Saved ones count, too.
        _ = try guest.succeed(.contextSave, [sessions[0]])
        #expect(try start().code == .sessionHandles)
        #expect(try guest.code(.flushContext) { $0.value(sessions[1]) } == 0)
        #expect(try start().code == .success)
    }
}
