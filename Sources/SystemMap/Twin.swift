// The hardware twin of a guest's object (docs/architecture.md, D2): what the broker asks the chip to make.
import TPMWire
import Wire

/// The one description from which the device owner builds a twin's TPMT_PUBLIC. Twins are unrestricted, have scheme NULL
/// and noDA, and live under the guest's root key; everything else about the guest's object is the broker's to enforce.
/// They are fixed to the chip, except for what came from outside or may leave.
package struct TwinSpec: Hashable, Sendable, WireCodable {
    package enum Kind: Hashable, Sendable {
        /// exponent 0 is 65537
        case rsa(bits: UInt16, exponent: UInt32)
        case ecc(ECCCurve)
        case hmac
        case sealed
    }
    package var kind: Kind
    /// The twin may sign / decrypt (asymmetric kinds only).
    package var sign: Bool
    package var decrypt: Bool
    /// The chip makes the secret; otherwise the creator gives it (hmac and sealed only).
    package var sensitiveDataOrigin: Bool
    /// The twin's own nameAlg: decides the size of a keyed hash's unique field.
    package var nameAlgorithm: HashAlgorithm
    /// The key pair or the secret came from outside (DeviceCalls.Import).
    package var isImported: Bool
    /// The guest's object may be duplicated: so may the twin, by the device owner (DeviceCalls.Duplicate).
    package var isDuplicable: Bool
    /// The guest's object is a storage key: seeds for some uses may be recovered with it, and nothing else.
    package var isStorageKey: Bool
    /// Only the policy checker can use it (D7).
    package var isGated: Bool

    package init(
        kind: Kind, sign: Bool, decrypt: Bool, sensitiveDataOrigin: Bool, nameAlgorithm: HashAlgorithm, isImported: Bool = false,
        isDuplicable: Bool = false, isStorageKey: Bool = false, isGated: Bool = false
    ) {
        self.kind = kind
        self.sign = sign
        self.decrypt = decrypt
        self.sensitiveDataOrigin = sensitiveDataOrigin
        self.nameAlgorithm = nameAlgorithm
        self.isImported = isImported
        self.isDuplicable = isDuplicable
        self.isStorageKey = isStorageKey
        self.isGated = isGated
    }

    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 1: kind = .rsa(bits: try reader.u16(), exponent: try reader.u32())
        case 2: kind = .ecc(try reader.value())
        case 3: kind = .hmac
        case 4: kind = .sealed
        default: throw .invalid(0)
        }
        sign = try reader.flag()
        decrypt = try reader.flag()
        sensitiveDataOrigin = try reader.flag()
        nameAlgorithm = try reader.value()
        isImported = try reader.flag()
        isDuplicable = try reader.flag()
        isStorageKey = try reader.flag()
        isGated = try reader.flag()
    }
    package func encode(to writer: inout WireWriter) {
        switch kind {
        case .rsa(let bits, let exponent):
            writer.u8(1)
            writer.u16(bits)
            writer.u32(exponent)
        case .ecc(let curve):
            writer.u8(2)
            writer.value(curve)
        case .hmac: writer.u8(3)
        case .sealed: writer.u8(4)
        }
        writer.flag(sign)
        writer.flag(decrypt)
        writer.flag(sensitiveDataOrigin)
        writer.value(nameAlgorithm)
        writer.flag(isImported)
        writer.flag(isDuplicable)
        writer.flag(isStorageKey)
        writer.flag(isGated)
    }
}

/// What the policy checker gave with a gated twin, and needs to use it (D7).
package struct GateSeal: Hashable, Sendable, WireCodable {
    package static let saltSize = 16
    package static let markSize = 16
    /// Goes into the twin's authValue.
    package var salt: [UInt8]
    /// The checker's word on the object's Name: the chip made its private part, which was never outside. Empty for what was imported.
    package var mark: [UInt8]

    package init(salt: [UInt8], mark: [UInt8]) {
        self.salt = salt
        self.mark = mark
    }
    package init(from reader: inout WireReader) throws(WireError) {
        salt = try reader.bytes(Self.saltSize)
        mark = try reader.flag() ? try reader.bytes(Self.markSize) : []
    }
    package func encode(to writer: inout WireWriter) {
        writer.raw(salt)
        writer.flag(!mark.isEmpty)
        writer.raw(mark)
    }
}

/// A twin outside the chip: its unique field, and its private part wrapped by the chip under the guest's root key.
package struct TwinBlob: Hashable, Sendable, WireCodable {
    package var spec: TwinSpec
    package var unique: PublicArea.Unique
    package var hardwarePrivate: [UInt8]
    /// Of a gated twin
    package var gate: GateSeal?
    /// TPM2B_PRIVATE of the largest chip
    package static let privateMax = 1600

    package init(spec: TwinSpec, unique: PublicArea.Unique, hardwarePrivate: [UInt8], gate: GateSeal? = nil) {
        self.spec = spec
        self.unique = unique
        self.hardwarePrivate = hardwarePrivate
        self.gate = gate
    }
    package init(from reader: inout WireReader) throws(WireError) {
        spec = try reader.value()
        unique = try spec.unique(from: &reader)
        hardwarePrivate = try reader.sized16(max: Self.privateMax)
        gate = try reader.flag() ? try reader.value() : nil
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(spec)
        writer.value(unique)
        writer.sized16(hardwarePrivate)
        writer.flag(gate != nil)
        if let gate { writer.value(gate) }
    }
}

extension TwinSpec {
    /// The unique field of such a twin.
    package func unique(from reader: inout WireReader) throws(WireError) -> PublicArea.Unique {
        switch kind {
        case .rsa: .rsa(try reader.sized16(max: PublicArea.rsaMax))
        case .ecc: .ecc(try reader.value())
        case .hmac, .sealed: .digest(try reader.sized16(max: HashAlgorithm.largestDigest))
        }
    }
}

extension WireWriter {
    /// TPMU_PUBLIC_ID
    package mutating func value(_ unique: PublicArea.Unique) {
        switch unique {
        case .rsa(let modulus): sized16(modulus)
        case .ecc(let point): value(point)
        case .digest(let digest): sized16(digest)
        }
    }
}
