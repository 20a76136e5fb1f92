// Values for parameters: mostly good ones, now and then an odd one.
import TPMCrypto
import TPMWire
import Wire

extension StreamGenerator {
    mutating func sized(_ bytes: [UInt8]) -> Piece { .bytes(UInt16(bytes.count).wire + bytes) }

    /// A TPM2B of data.
    mutating func data(_ max: Int = 64) -> Piece {
        let count = random.pick([0, 1, 8, 16, 20, 32, 48, 64, max, max + 1])
        return sized(random.bytes(random.chance(95) ? min(count, max) : count))
    }

    /// A TPM2B of a digest, of some hash.
    mutating func digest() -> Piece { sized([UInt8](repeating: UInt8(random.below(4)), count: random.pick([32, 32, 32, 32, 20, 48, 64, 0, 31]))) }

    mutating func auth() -> [UInt8] { random.pick([[], [], [1], [2, 3], [UInt8](repeating: 7, count: 32)]) }

    mutating func hash() -> UInt16 { random.chance(95) ? random.pick([0x0B, 0x0B, 0x0B, 0x04, 0x0C, 0x0D]) : random.pick([0x10, 0x12, 0, 0x27, 0x23]) }

    mutating func u8() -> [UInt8] { [random.pick([0, 1, 1, 2, 0x10, 0x1F, 0x20, 0xFF])] }
    mutating func u16() -> [UInt8] { random.pick([0, 1, 2, 8, 16, 32, 64, 0xFFFF] as [UInt16]).wire }
    mutating func u32() -> [UInt8] { random.pick([0, 1, 2, 5, 32, 0x1000, 0x7FFF_FFFF, 0xFFFF_FFFF] as [UInt32]).wire }
    mutating func u64() -> [UInt8] { random.pick([0, 1, 2, 255, 1 << 32, 1 << 40, UInt64.max] as [UInt64]).wire }
    mutating func flag() -> [UInt8] { [random.chance(95) ? UInt8(random.below(2)) : 2] }

    mutating func hierarchy() -> [UInt8] {
        (random.chance(95) ? random.pick([.owner, .owner, .endorsement, .platform, .null] as [TPMHandle]) : random.pick([.lockout, .password, TPMHandle(0)])).wire
    }

    mutating func commandCode() -> [UInt8] {
        (random.chance(90) ? random.pick(Self.rows).code.rawValue : random.pick([0, 0x1FF, 0x123, 0x2000_0000])).wire
    }

    /// TPML_PCR_SELECTION
    mutating func selection(_ most: Int = 2) -> [UInt8] {
        let count = random.below(most + 1)
        var bytes = UInt32(count).wire
        for _ in 0..<count {
            bytes += hash().wire
            bytes += random.chance(95) ? [3] + random.bytes(3) : random.pick([[0], [2, 1, 1], [4, 0, 0, 0, 1], [5]])
        }
        return bytes
    }

    /// TPMT_SIG_SCHEME+
    mutating func signatureScheme() -> [UInt8] {
        switch random.below(10) {
        case 0..<5: TPMAlgorithm.null.wire
        case 5..<8: TPMAlgorithm.ecdsa.wire + hash().wire
        case 8: TPMAlgorithm.hmac.wire + hash().wire
        default: random.pick([TPMAlgorithm.rsassa, .ecschnorr, .rsaes, .aes]).wire + hash().wire
        }
    }

    /// TPMT_TK_* that no TPM has made.
    mutating func ticket(_ tag: UInt16) -> [UInt8] {
        let otherTag = random.chance(90) ? tag : random.pick([0x8021, 0x8022, 0x8023, 0x8024, 0x8025, 0x8000])
        return otherTag.wire + (random.chance(70) ? TPMHandle.null.wire + [0, 0] : hierarchy() + [0, 32] + random.bytes(32))
    }

    /// TPMT_SIGNATURE that is wrong.
    mutating func signature() -> [UInt8] {
        switch random.below(4) {
        case 0: TPMAlgorithm.ecdsa.wire + hash().wire + [0, 32] + random.bytes(32) + [0, 32] + random.bytes(32)
        case 1: TPMAlgorithm.rsassa.wire + hash().wire + [1, 0] + random.bytes(256)
        case 2: TPMAlgorithm.hmac.wire + HashAlgorithm.sha256.wire + random.bytes(32)
        default: TPMAlgorithm.null.wire
        }
    }

    /// TPM2B_ECC_POINT: on P-256 (its generator) or not.
    mutating func point() -> Piece {
        let x: [UInt8] = [0x6B, 0x17, 0xD1, 0xF2, 0xE1, 0x2C, 0x42, 0x47, 0xF8, 0xBC, 0xE6, 0xE5, 0x63, 0xA4, 0x40, 0xF2,
                          0x77, 0x03, 0x7D, 0x81, 0x2D, 0xEB, 0x33, 0xA0, 0xF4, 0xA1, 0x39, 0x45, 0xD8, 0x98, 0xC2, 0x96]
        let y: [UInt8] = [0x4F, 0xE3, 0x42, 0xE2, 0xFE, 0x1A, 0x7F, 0x9B, 0x8E, 0xE7, 0xEB, 0x4A, 0x7C, 0x0F, 0x9E, 0x16,
                          0x2B, 0xCE, 0x33, 0x57, 0x6B, 0x31, 0x5E, 0xCE, 0xCB, 0xB6, 0x40, 0x68, 0x37, 0xBF, 0x51, 0xF5]
        let good = ECCPoint(x: x, y: y).wire
        return random.chance(80) ? sized(good) : random.pick([sized([]), sized(ECCPoint(x: y, y: x).wire), .bytes([0, 4, 0, 0, 0, 0])])
    }

    // MARK: Objects

    /// A template, as TPM2B_PUBLIC.
    mutating func template(_ kind: StreamWorld.Kind) -> Piece {
        var area = goodTemplate(kind)
        if random.chance(15) { area.attributes.formSymmetricDifference(random.pick(oddAttributes)) }
        if random.chance(5) { area.authPolicy = random.bytes(random.pick([32, 32, 20, 5])) }
        if random.chance(3) { area.nameAlgorithm = random.pick([.sha1, .sha384, .sha512, nil]) }
        return sized(area.wire)
    }

    private var oddAttributes: [ObjectAttributes] {
        [.fixedTPM, .fixedParent, .stClear, .sensitiveDataOrigin, .userWithAuth, .adminWithPolicy, .noDA, .encryptedDuplication, .restricted,
         .decrypt, .sign, .x509sign, [.fixedTPM, .fixedParent], [.sign, .decrypt], ObjectAttributes(rawValue: 1)]
    }

    private mutating func goodTemplate(_ kind: StreamWorld.Kind) -> PublicArea {
        let base: ObjectAttributes = random.chance(60)
            ? [.fixedTPM, .fixedParent, .userWithAuth, .noDA] : random.pick([[.userWithAuth], [.fixedTPM, .fixedParent, .userWithAuth], [.userWithAuth, .noDA]])
        let made = base.union(.sensitiveDataOrigin)
        let aes = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)
        func ecc(_ attributes: ObjectAttributes, _ symmetric: SymmetricDefinition = .null, _ scheme: Scheme = .null) -> PublicArea {
            PublicArea(
                nameAlgorithm: .sha256, attributes: attributes,
                parameters: .ecc(symmetric: symmetric, scheme: scheme, curve: .p256, kdf: .null), unique: .ecc(ECCPoint(x: [], y: [])))
        }
        func keyedHash(_ attributes: ObjectAttributes, _ scheme: Scheme) -> PublicArea {
            PublicArea(nameAlgorithm: .sha256, attributes: attributes, parameters: .keyedHash(scheme: scheme), unique: .digest([]))
        }
        switch kind {
        case .storage: return ecc(made.union([.restricted, .decrypt]), aes)
        case .signing: return ecc(made.union(.sign), .null, random.pick([.null, Scheme(.ecdsa, .sha256)]))
        case .attesting: return ecc(made.union([.sign, .restricted]), .null, Scheme(.ecdsa, .sha256))
        case .agreeing: return ecc(made.union(.decrypt), .null, random.pick([.null, Scheme(.ecdh, .sha256)]))
        case .hmac: return keyedHash(made.union(.sign), random.pick([Scheme(.hmac, .sha256), .null]))
        case .cipher:
            return PublicArea(
                nameAlgorithm: .sha256, attributes: made.union([.sign, .decrypt]),
                parameters: .symcipher(.aes(keyBits: random.pick([128, 256]), mode: random.pick([.cfb, .null]))), unique: .digest([]))
        default: return keyedHash(base, .null)
        }
    }

    /// inSensitive, inPublic, outsideInfo, creationPCR
    mutating func creation(_ kind: StreamWorld.Kind, auth: [UInt8]) -> [Piece] {
        [sensitiveCreate(kind, auth: auth), template(kind), data(32), .bytes(selection(1))]
    }

    mutating func sensitiveCreate(_ kind: StreamWorld.Kind, auth: [UInt8]) -> Piece {
        let content: [UInt8] = (kind == .sealed) != random.chance(5) ? [UInt8](repeating: 0x5A, count: random.pick([1, 16, 32, 128])) : []
        return sized(UInt16(auth.count).wire + auth + UInt16(content.count).wire + content)
    }

    /// An HMAC key with both areas, as LoadExternal takes it.
    mutating func externalKey() -> [Piece] {
        let seed = [UInt8](repeating: 9, count: 32)
        let key = [UInt8](repeating: 4, count: random.pick([16, 32]))
        let area = PublicArea(
            nameAlgorithm: .sha256, attributes: [.userWithAuth, .noDA, .sign], parameters: .keyedHash(scheme: Scheme(.hmac, .sha256)),
            unique: .digest(TPMCrypto.digest(.sha256, seed, key)))
        let sensitive = SensitiveArea(type: .keyedHash, authValue: [], seedValue: seed, sensitive: key)
        let wrong = random.chance(10)
        return [sized(sensitive.wire), sized(area.wire + (wrong ? [0] : [])), .bytes((random.chance(90) ? TPMHandle.null : .owner).wire)]
    }

    // MARK: NV

    mutating func nvAttributes() -> NVAttributes {
        var attributes: NVAttributes = random.pick([
            [.ownerRead, .ownerWrite], [.authRead, .authWrite], [.ownerRead, .ownerWrite, .authRead, .authWrite, .noDA],
            [.ownerRead, .ownerWrite, .ppRead, .ppWrite], [.authRead, .authWrite, .noDA],
        ])
        // TPM_NT (Part 2, 13.2): ordinary, counter, bits, extend, PIN fail, PIN pass, and one that is none
        let type = random.pick([0, 0, 0, 1, 1, 2, 4, 8, 9, 3] as [UInt32])
        attributes.formUnion(NVAttributes(rawValue: type << 4))
        if type == 8 { attributes.insert(.noDA) }
        for odd in [.writeDefine, .writeStClear, .readStClear, .globalLock, .orderly, .clearStClear, .writeAll, .policyRead] as [NVAttributes]
        where random.chance(12) { attributes.insert(odd) }
        if random.chance(2) { attributes.insert(random.pick([.written, .writeLocked, .readLocked, NVAttributes(rawValue: 1 << 8)])) }
        return attributes
    }
}
