// The pure rules of objects: templates, twins, envelopes. The codes are those of a stock swtpm 0.7.1 (libtpms 0.9.2).
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

private func code(_ body: () throws(TPMRC) -> Void) -> TPMRC {
    do throws(TPMRC) {
        try body()
        return .success
    } catch {
        return error
    }
}

@Suite("Templates")
struct TemplateTests {
    private static let fixed = Templates.fixed
    private static let aes = Templates.aes128CFB
    private static let storage = Templates.fixed.union([.restricted, .decrypt])
    private static let oaep = Scheme(.oaep, .sha256)
    private static let parent = Templates.eccStorage

    /// What is tried, how much sensitive data is given, and the answer under a fixedTPM storage key.
    private static let cases: [(String, PublicArea, Int, TPMRC)] = [
        ("storage key", Templates.eccStorage, 0, .success),
        ("signing key", Templates.eccSign, 0, .success),
        ("attestation key", Templates.eccAttest, 0, .success),
        ("sealed data", Templates.sealed, 5, .success),
        ("HMAC key", Templates.hmac, 0, .success),
        ("HMAC key given", Templates.givenHMAC, 64, .success),
        ("cipher key", Templates.aes, 0, .success),
        ("sealed without data", Templates.sealed, 0, .attributes),
        ("origin and data", Templates.keyedHash(fixed), 5, .attributes),
        ("sealed by origin", Templates.keyedHash(fixed), 0, .attributes),
        ("HMAC key without scheme", Templates.keyedHash(fixed.union(.sign)), 0, .scheme),
        ("no nameAlg", Templates.ecc(fixed.union(.sign), hash: nil), 0, .hash),
        ("asymmetric with data", Templates.ecc([.fixedTPM, .fixedParent, .sign]), 5, .attributes),
        ("storage key, other cipher", Templates.ecc(storage, symmetric: .aes(keyBits: 256, mode: .cfb)), 0, .symmetric),
        ("storage key, other nameAlg", Templates.ecc(storage, symmetric: aes, hash: .sha384), 0, .hash),
        ("storage key without cipher", Templates.rsa(storage), 0, .symmetric),
        ("cipher on an unrestricted key", Templates.rsa(fixed.union(.decrypt), symmetric: aes), 0, .symmetric),
        ("restricted sign and decrypt", Templates.rsa(fixed.union([.restricted, .sign, .decrypt])), 0, .attributes),
        ("restricted signing without scheme", Templates.rsa(fixed.union([.restricted, .sign])), 0, .scheme),
        ("signing with OAEP", Templates.rsa(fixed.union(.sign), scheme: oaep), 0, .scheme),
        ("decrypting with RSASSA", Templates.rsa(fixed.union(.decrypt), scheme: Scheme(.rsassa, .sha256)), 0, .scheme),
        ("storage key with a scheme", Templates.rsa(storage, symmetric: aes, scheme: oaep), 0, .scheme),
        ("fixedTPM without fixedParent", Templates.rsa([.fixedTPM, .sensitiveDataOrigin, .sign]), 0, .attributes),
        ("fixedTPM and encryptedDuplication", Templates.rsa(fixed.union([.sign, .encryptedDuplication])), 0, .attributes),
        ("neither sign nor decrypt", Templates.rsa(fixed), 0, .attributes),
        ("key derivation scheme", Templates.ecc(fixed.union(.sign), kdf: Scheme(.kdf1SP800_56A, .sha256)), 0, .kdf),
        ("derivation parent, wrong KDF", Templates.keyedHash(storage, scheme: Scheme(.xor, .sha256, kdf: .mgf1)), 0, .scheme),
    ]

    @Test("are judged as the reference implementation judges them", arguments: cases.indices)
    func judged(_ index: Int) {
        let (what, template, dataSize, expected) = Self.cases[index]
        let answer = code { () throws(TPMRC) in try template.checkCreation(parent: Self.parent, dataSize: dataSize) }
        #expect(answer == expected, "\(what)")
    }

    @Test("authPolicy is empty or a digest of nameAlg")
    func authPolicy() {
        var template = Templates.eccSign
        template.authPolicy = [1, 2]
        #expect(code { () throws(TPMRC) in try template.checkAttributes(parent: nil) } == .size)
        template.authPolicy = [UInt8](repeating: 1, count: 32)
        #expect(code { () throws(TPMRC) in try template.checkAttributes(parent: nil) } == .success)
    }

    @Test("a parent that can move has no fixed children, and passes on encryptedDuplication")
    func movableParent() {
        let common: ObjectAttributes = [.sensitiveDataOrigin, .userWithAuth, .encryptedDuplication]
        let movable = Templates.ecc(common.union([.restricted, .decrypt]), symmetric: Self.aes)
        let child = Templates.ecc(common.union(.sign))
        #expect(code { () throws(TPMRC) in try child.checkAttributes(parent: movable) } == .success)
        #expect(code { () throws(TPMRC) in try Templates.eccSign.checkAttributes(parent: movable) } == .attributes)
        let plain = Templates.ecc([.sensitiveDataOrigin, .userWithAuth, .sign])
        #expect(code { () throws(TPMRC) in try plain.checkAttributes(parent: movable) } == .attributes)
    }

    @Test("what the chip does not offer is answered as an unknown value")
    func offered() {
        let chip = ChipDescription(
            manufacturer: 0, firmware: 0, hashes: [.sha256], curves: [.p384], rsaBits: [1024], aesBits: [256])
        #expect(code { () throws(TPMRC) in try Templates.rsaSign.checkOffered(by: chip) } == .value)
        #expect(code { () throws(TPMRC) in try Templates.eccSign.checkOffered(by: chip) } == .curve)
        #expect(code { () throws(TPMRC) in try Templates.aes.checkOffered(by: chip) } == .value)
        #expect(code { () throws(TPMRC) in try Templates.ecc(Self.fixed, hash: .sha1).checkOffered(by: chip) } == .hash)
        #expect(code { () throws(TPMRC) in try Templates.sealed.checkOffered(by: chip) } == .success)
    }
}

@Suite("Twins")
struct TwinTests {
    @Test("storage keys become unrestricted decryption keys, signing keys unrestricted signing keys")
    func asymmetric() {
        #expect(
            Templates.rsaStorage.twinSpec(.used)
                == TwinSpec(
                    kind: .rsa(bits: 2048, exponent: 0), sign: false, decrypt: true, sensitiveDataOrigin: true,
                    nameAlgorithm: .sha256, isStorageKey: true))
        #expect(
            Templates.eccAttest.twinSpec(.used)
                == TwinSpec(
                    kind: .ecc(.p256), sign: true, decrypt: false, sensitiveDataOrigin: true, nameAlgorithm: .sha256, isGated: true))
    }

    @Test("restricted signing keys are gated, and what a policy alone can authorize; storage keys are not")
    func gated() {
        let policy = [UInt8](repeating: 1, count: 32)
        for template in [Templates.sealed, Templates.eccSign, Templates.rsaDecrypt, Templates.hmac, Templates.aes, Templates.rsaStorage] {
            #expect(!template.isGated)
            var byPolicy = template
            byPolicy.attributes.remove(.userWithAuth)
            #expect(!byPolicy.isGated)
            byPolicy.authPolicy = policy
            #expect(byPolicy.isGated == (template != Templates.rsaStorage))
        }
        #expect(Templates.eccAttest.isGated)
        #expect(Templates.keyedHash(Templates.fixed.union([.sign, .restricted]), scheme: Scheme(.hmac, .sha256)).isGated)
    }

    @Test("HMAC keys are the chip's where a twin can hold them; everything else symmetric is sealed")
    func symmetric() {
        #expect(Templates.hmac.secretKeeping(dataSize: 0) == .used)
        #expect(Templates.givenHMAC.secretKeeping(dataSize: 64) == .used)
        #expect(Templates.givenHMAC.secretKeeping(dataSize: 65) == .sealed)
        #expect(Templates.sealed.secretKeeping(dataSize: 5) == .sealed)
        #expect(Templates.keyedHash([.decrypt], scheme: Scheme(.xor, .sha256)).secretKeeping(dataSize: 0) == .sealed)
        #expect(Templates.aes.secretKeeping(dataSize: 0) == .sealed)
        #expect(Templates.aes.twinSpec(.sealed)?.kind == .sealed)
        #expect(Templates.sealed.twinSpec(.sealed)?.sensitiveDataOrigin == false)
        #expect(Templates.hmac.twinSpec(.used)?.sensitiveDataOrigin == true)
    }

    @Test("an object without a Name has no twin")
    func nameless() { #expect(Templates.ecc([.sign], hash: nil).twinSpec(.used) == nil) }
}

@Suite("Envelopes")
struct EnvelopeTests {
    private let keys = GuestKeys(Secret([UInt8](repeating: 1, count: 32)))
    private let name: [UInt8] = [0, 0x0B] + [UInt8](repeating: 2, count: 32)
    private let parent: [UInt8] = [0, 0x0B] + [UInt8](repeating: 3, count: 32)
    private var key: [UInt8] { keys.envelope(parentName: parent, name: name) }
    private let envelope = Envelope(authValue: [9, 8], keeping: .sealed, hardwarePrivate: [UInt8](0..<100))

    @Test("hold what was put in")
    func roundTrip() throws {
        let opened = try Envelope(opening: envelope.sealed(key: key, name: name), key: key, name: name)
        #expect(opened.authValue == [9, 8])
        #expect(opened.keeping == .sealed)
        #expect(opened.twinUnique.isEmpty)
        #expect(opened.hardwarePrivate == [UInt8](0..<100))
    }

    @Test("are at most 64 bytes larger than the chip's blob, if the authValue is empty")
    func compact() {
        let plain = Envelope(authValue: [], keeping: .used, hardwarePrivate: [UInt8](0..<100))
        #expect(plain.sealed(key: key, name: name).count <= 164)
        let cipherKey = Envelope(
            authValue: [], keeping: .sealed, twinUnique: [UInt8](repeating: 1, count: 31), hardwarePrivate: [UInt8](0..<100))
        #expect(cipherKey.sealed(key: key, name: name).count <= 164)
    }

    @Test("open for no other Name, parent or guest, and not after any change")
    func tampered() {
        let blob = envelope.sealed(key: key, name: name)
        func opening(_ blob: [UInt8], _ key: [UInt8], _ name: [UInt8]) -> TPMRC {
            code { () throws(TPMRC) in _ = try Envelope(opening: blob, key: key, name: name) }
        }
        #expect(opening(blob, key, name) == .success)
        #expect(opening(blob, key, parent) == .integrity)
        #expect(opening(blob, keys.envelope(parentName: name, name: name), name) == .integrity)
        #expect(opening(blob, GuestKeys(Secret([4])).envelope(parentName: parent, name: name), name) == .integrity)
        for index in blob.indices {
            var changed = blob
            changed[index] ^= 1
            #expect(opening(changed, key, name) == .integrity)
        }
        for count in blob.indices {
            #expect(opening(Array(blob[..<count]), key, name) == (count < Envelope.overhead ? .size : .integrity))
        }
    }
}

@Suite("Random numbers")
struct RandomPoolTests {
    @Test("are fetched in blocks and never given twice")
    func pool() throws {
        let device = FakeDevice()
        var pool = RandomPool()
        var seen: Set<[UInt8]> = []
        for _ in 0..<64 { seen.insert(try pool.draw(16, from: device)) }
        #expect(seen.count == 64)
        #expect(device.log.count == 4)
        pool.stir([1, 2, 3])
        #expect(try pool.draw(256, from: device).count == 256)
        #expect(device.log.count == 5)
    }

    @Test("do not come from a chip that is lost")
    func outage() {
        let device = FakeDevice()
        device.outage = .retry
        var pool = RandomPool()
        #expect(throws: TPMRC.retry) { try pool.draw(1, from: device) }
    }
}
