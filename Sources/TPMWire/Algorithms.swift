// TPM_ALG_ID and the narrower types made of it (Part 2, 6.3 and 9.27 onward).
import Wire

/// TPM_ALG_ID (Part 2, 6.3)
package struct TPMAlgorithm: RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    private init(_ rawValue: UInt16) { self.rawValue = rawValue }

    package static let rsa = Self(0x0001)
    package static let sha1 = Self(0x0004)
    package static let hmac = Self(0x0005)
    package static let aes = Self(0x0006)
    package static let mgf1 = Self(0x0007)
    package static let keyedHash = Self(0x0008)
    package static let xor = Self(0x000A)
    package static let sha256 = Self(0x000B)
    package static let sha384 = Self(0x000C)
    package static let sha512 = Self(0x000D)
    package static let null = Self(0x0010)
    package static let sm3_256 = Self(0x0012)
    package static let sm4 = Self(0x0013)
    package static let rsassa = Self(0x0014)
    package static let rsaes = Self(0x0015)
    package static let rsapss = Self(0x0016)
    package static let oaep = Self(0x0017)
    package static let ecdsa = Self(0x0018)
    package static let ecdh = Self(0x0019)
    package static let ecdaa = Self(0x001A)
    package static let sm2 = Self(0x001B)
    package static let ecschnorr = Self(0x001C)
    package static let ecmqv = Self(0x001D)
    package static let kdf1SP800_56A = Self(0x0020)
    package static let kdf2 = Self(0x0021)
    package static let kdf1SP800_108 = Self(0x0022)
    package static let ecc = Self(0x0023)
    package static let symcipher = Self(0x0025)
    package static let camellia = Self(0x0026)
    package static let cmac = Self(0x003F)
    package static let ctr = Self(0x0040)
    package static let ofb = Self(0x0041)
    package static let cbc = Self(0x0042)
    package static let cfb = Self(0x0043)
    package static let ecb = Self(0x0044)
}

/// The hash algorithms that a guest's TPM implements (TPMI_ALG_HASH without TPM_ALG_NULL; Part 2, 9.27).
package enum HashAlgorithm: UInt16, CaseIterable, Hashable, Sendable {
    case sha1 = 0x0004
    case sha256 = 0x000B
    case sha384 = 0x000C
    case sha512 = 0x000D

    /// Digest size in bytes.
    package var digestSize: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha384: 48
        case .sha512: 64
        }
    }

    /// Block size in bytes.
    package var blockSize: Int {
        switch self {
        case .sha1, .sha256: 64
        case .sha384, .sha512: 128
        }
    }

    package var algorithm: TPMAlgorithm { TPMAlgorithm(rawValue: rawValue) }

    /// The largest digest of any implemented algorithm, in bytes (the bound of TPM2B_DIGEST).
    package static let largestDigest = 64
}

/// TPM_ECC_CURVE (Part 2, 6.4), those that a guest's TPM may offer.
package enum ECCCurve: UInt16, CaseIterable, Hashable, Sendable {
    case p256 = 0x0003
    case p384 = 0x0004
    case p521 = 0x0005
    /// TPM_ECC_BN_P256
    case bnP256 = 0x0010

    /// Size of a coordinate, in bytes.
    package var fieldSize: Int {
        switch self {
        case .p256, .bnP256: 32
        case .p384: 48
        case .p521: 66
        }
    }

    /// Size of the field, in bits.
    package var bits: Int {
        switch self {
        case .p256, .bnP256: 256
        case .p384: 384
        case .p521: 521
        }
    }
}

extension TPMAlgorithm: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) { rawValue = try reader.u16() }
    package func encode(to writer: inout WireWriter) { writer.u16(rawValue) }
}

extension HashAlgorithm: WireCodable {
    /// TPMI_ALG_HASH: anything else is TPM_RC_HASH.
    package init(from reader: inout WireReader) throws(WireError) {
        guard let hash = HashAlgorithm(rawValue: try reader.u16()), reader.knows(hash.algorithm) else { throw .rc(.hash) }
        self = hash
    }
    package func encode(to writer: inout WireWriter) { writer.u16(rawValue) }
}

extension WireReader {
    /// TPMI_ALG_HASH+: nil for TPM_ALG_NULL.
    package mutating func hashOrNull() throws(WireError) -> HashAlgorithm? {
        let raw = try u16()
        if raw == TPMAlgorithm.null.rawValue { return nil }
        guard let hash = HashAlgorithm(rawValue: raw), knows(hash.algorithm) else { throw .rc(.hash) }
        return hash
    }
}

extension WireWriter {
    package mutating func hashOrNull(_ hash: HashAlgorithm?) {
        u16(hash?.rawValue ?? TPMAlgorithm.null.rawValue)
    }
}

extension ECCCurve: WireCodable {
    /// TPMI_ECC_CURVE: anything else is TPM_RC_CURVE.
    package init(from reader: inout WireReader) throws(WireError) {
        guard let curve = ECCCurve(rawValue: try reader.u16()), reader.knows(curve) else { throw .rc(.curve) }
        self = curve
    }
    package func encode(to writer: inout WireWriter) { writer.u16(rawValue) }
}
