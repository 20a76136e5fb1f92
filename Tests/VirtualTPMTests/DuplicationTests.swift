// Part 3, 13 and the rest of 12 as a guest sees them: keys travel between guests, become twins, and leave only under their policy.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

private let aes128 = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)

extension Templates {
    private static let duplication = digest(
        .sha256, [UInt8](repeating: 0, count: 32), TPMCommandCode.policyCommandCode.wire, TPMCommandCode.duplicate.wire)

    /// The same template, of an object that TPM2_Duplicate may take.
    fileprivate static func movable(_ template: PublicArea) -> PublicArea {
        var template = template
        template.attributes.subtract([.fixedTPM, .fixedParent])
        template.authPolicy = duplication
        return template
    }
    fileprivate static let derivationParent = keyedHash(
        fixed.union([.restricted, .decrypt]), scheme: Scheme(.xor, .sha256, kdf: .kdf1SP800_108))
}

/// What TPM2_Duplicate answers.
private struct Duplicate {
    var encryptionKey: [UInt8]
    var blob: [UInt8]
    var seed: [UInt8]
}

extension Guest {
    fileprivate func duplicate(
        _ object: TPMHandle, to parent: TPMHandle, symmetric: SymmetricDefinition = .null
    ) throws -> Duplicate {
        let session = try #require(try run(.startAuthSession, [.null, .null]) {
            $0.sized16([UInt8](repeating: 1, count: 16))
            $0.sized16([UInt8]())
            $0.u8(1)
            $0.value(TPMAlgorithm.null)
            $0.value(HashAlgorithm.sha256)
        }.handle)
        _ = try succeed(.policyCommandCode, [session]) { $0.value(TPMCommandCode.duplicate) }
        let response = try run(.duplicate, [object, parent], sessions: [AuthCommand(handle: session)]) {
            $0.sized16([UInt8]())
            symmetric.encode(to: &$0)
        }
        try #require(response.code == .success)
        var reader = WireReader(response.parameters)
        let answer = Duplicate(encryptionKey: try reader.sized16(), blob: try reader.sized16(), seed: try reader.sized16())
        try reader.finish()
        return answer
    }

    /// Imports and loads.
    fileprivate func adopt(
        _ duplicate: Duplicate, _ area: PublicArea, under parent: TPMHandle, symmetric: SymmetricDefinition = .null
    ) throws -> TPMHandle {
        var reader = try succeed(.import, [parent]) {
            $0.sized16(duplicate.encryptionKey)
            $0.sized16(area)
            $0.sized16(duplicate.blob)
            $0.sized16(duplicate.seed)
            symmetric.encode(to: &$0)
        }
        let outPrivate = try reader.sized16()
        let response = try run(.load, [parent]) {
            $0.sized16(outPrivate)
            $0.sized16(area)
        }
        return try #require(response.handle)
    }

    /// The new parent's public area, loaded for who has not its private part.
    fileprivate func loadPublic(_ area: PublicArea) throws -> TPMHandle {
        try #require(try run(.loadExternal) {
            $0.u16(0)
            $0.sized16(area)
            $0.value(TPMHandle.owner)
        }.handle)
    }

    fileprivate func hmac(_ key: TPMHandle) throws -> [UInt8] {
        var reader = try succeed(.hmac, [key]) {
            $0.sized16([1, 2, 3])
            $0.value(TPMAlgorithm.null)
        }
        return try reader.sized16()
    }
}

@Suite("Duplication")
struct DuplicationTests {
    @Test("a key made by one guest's TPM lives on in another's", arguments: [SymmetricDefinition.null, aes128])
    func between(_ symmetric: SymmetricDefinition) throws {
        let (first, second) = (try Guest(), try Guest())
        let home = try second.createPrimary(Templates.rsaStorage)
        let newParent = try first.loadPublic(home.publicArea)
        for template in [
            Templates.hmac, Templates.eccSign, Templates.rsaSign, Templates.aes, Templates.eccStorage, Templates.derivationParent,
        ].map(Templates.movable) {
            let parent = try #require(try first.createPrimary().handle)
            let created = try first.create(template, under: parent)
            let object = try #require(try first.load(created, under: parent).handle)
            let duplicate = try first.duplicate(object, to: newParent, symmetric: symmetric)
            let adopted = try second.adopt(
                duplicate, created.publicArea, under: try #require(home.handle), symmetric: symmetric)
            let there = try second.tpm.object(adopted)
            #expect(there.name == created.publicArea.name)
            if template.type == .keyedHash && template.attributes.contains(.sign) {
                #expect(try second.hmac(adopted) == first.hmac(object))
            }
            // And on: the adopted key may be duplicated as well.
            _ = try second.duplicate(adopted, to: try #require(home.handle), symmetric: symmetric)
            first.tpm.volatile.transient.remove(object)
            first.tpm.volatile.transient.remove(parent)
            second.tpm.volatile.transient.remove(adopted)
        }
    }

    @Test("only what may leave has a twin that may leave")
    func twins() {
        let movable = Templates.movable(Templates.eccSign)
        #expect(movable.twinSpec(.used)?.isDuplicable == true)
        #expect(Templates.eccSign.twinSpec(.used)?.isDuplicable == false)
        var noPolicy = movable
        noPolicy.authPolicy = []
        #expect(noPolicy.twinSpec(.used)?.isDuplicable == false)
        #expect(Templates.movable(Templates.aes).twinSpec(.sealed)?.isDuplicable == false)
        #expect(movable.twinSpec(.used, isImported: true)?.sensitiveDataOrigin == false)
    }

    @Test("without a policy session nothing leaves, and the chip is not asked")
    func password() throws {
        let guest = try Guest()
        let object = try guest.child(Templates.movable(Templates.eccSign))
        guest.device.forgetLog()
        let code = try guest.code(.duplicate, [object, .null]) {
            $0.u16(0)
            $0.value(TPMAlgorithm.null)
        }
        #expect(code == TPMRC.authType.session(1).rawValue)
        #expect(guest.device.log.isEmpty)
    }

    @Test("a derivation parent gives the same keys wherever it lives, and each becomes a twin")
    func derivation() throws {
        let (first, second) = (try Guest(), try Guest())
        let template = Templates.movable(Templates.derivationParent)
        let parent = try #require(try first.createPrimary().handle)
        let created = try first.create(template, under: parent)
        let object = try #require(try first.load(created, under: parent).handle)
        let duplicate = try first.duplicate(object, to: .null)
        let adopted = try second.adopt(duplicate, created.publicArea, under: try #require(try second.createPrimary().handle))
        func derive(_ guest: Guest, _ parent: TPMHandle) throws -> [UInt8] {
            let area = Templates.ecc([.fixedParent, .userWithAuth, .sign])
            let response = try guest.run(.createLoaded, [parent]) {
                $0.sized16(SensitiveCreate())
                $0.sized16(Array(area.wire.dropLast(4)) + [0, 1, 7, 0, 0])
            }
            try #require(response.code == .success)
            let key = try guest.tpm.object(try #require(response.handle))
            guard case .twin(let twin) = key.backing else {
                Issue.record("a derived key without a twin")
                return []
            }
            #expect(twin.blob.spec.isImported)
            return response.parameters
        }
        #expect(try derive(first, object) == derive(second, adopted))
    }

    @Test("a credential opens for the right Name only, and a changed auth is a new envelope")
    func credentials() throws {
        let guest = try Guest()
        let parent = try guest.createPrimary()
        let key = try #require(parent.handle)
        let created = try guest.create(Templates.eccAttest, under: key, auth: [1])
        let object = try #require(try guest.load(created, under: key).handle)
        for (name, works) in [(created.publicArea.name, true), (parent.publicArea.name, false)] {
            var made = try guest.succeed(.makeCredential, [key]) {
                $0.sized16([4, 5, 6])
                $0.sized16(name)
            }
            let response = try guest.run(.activateCredential, [object, key], passwords: [[1], []]) { $0.raw(made.rest()) }
            #expect(response.code == (works ? .success : TPMRC.integrity.parameter(1)))
            if works { #expect(response.parameters == [0, 3, 4, 5, 6]) }
        }
        var changed = try guest.succeed(.objectChangeAuth, [object, key], passwords: [[1]]) { $0.sized16([2]) }
        let outPrivate = try changed.sized16()
        let again = try #require(try guest.run(.load, [key]) {
            $0.sized16(outPrivate)
            $0.sized16(created.publicArea)
        }.handle)
        #expect(try guest.tpm.object(again).authValue == Secret([2]))
        #expect(try guest.tpm.object(object).authValue == Secret([1]))
    }
}
