// Symmetric definitions and signing, encryption and key-exchange schemes (Part 2, 11.1 and 11.2).
import Wire

/// TPMT_SYM_DEF (Part 2, 11.1.6) and TPMT_SYM_DEF_OBJECT (11.1.7): one shape.
package enum SymmetricDefinition: Hashable, Sendable {
    case null
    /// A block cipher: key size in bits and mode. A mode of `.null` is "any" where the field allows it; `.cmac` is no mode, but a
    /// MAC that keys of symmetric ciphers can be for.
    case aes(keyBits: UInt16, mode: TPMAlgorithm)
    /// XOR obfuscation for sessions, with its hash.
    case xor(HashAlgorithm)

    package static let modes: Set<TPMAlgorithm> = [.ctr, .ofb, .cbc, .cfb, .ecb]

    /// - Parameters:
    ///   - object: TPMT_SYM_DEF_OBJECT, which has no XOR.
    ///   - orNull: TPM_ALG_NULL is allowed for the algorithm (and then for the mode).
    package init(from reader: inout WireReader, object: Bool, orNull: Bool = true) throws(WireError) {
        let algorithm = TPMAlgorithm(rawValue: try reader.u16())
        guard reader.knows(algorithm) else { throw .rc(.symmetric) }
        switch algorithm {
        case .null where orNull: self = .null
        case .xor where !object: self = .xor(try reader.value())
        case .aes:
            let bits = try reader.u16()
            guard reader.knows(aesBits: bits) else { throw .rc(.value) }
            let mode = TPMAlgorithm(rawValue: try reader.u16())
            guard Self.modes.contains(mode) || mode == .cmac || mode == .null, reader.knows(mode) else { throw .rc(.mode) }
            self = .aes(keyBits: bits, mode: mode)
        default: throw .rc(.symmetric)
        }
    }

    package func encode(to writer: inout WireWriter) {
        switch self {
        case .null: writer.value(TPMAlgorithm.null)
        case .xor(let hash):
            writer.value(TPMAlgorithm.xor)
            writer.value(hash)
        case .aes(let bits, let mode):
            writer.value(TPMAlgorithm.aes)
            writer.u16(bits)
            writer.value(mode)
        }
    }
}

/// A scheme and its details: TPMT_RSA_SCHEME, TPMT_ECC_SCHEME, TPMT_RSA_DECRYPT, TPMT_SIG_SCHEME,
/// TPMT_KEYEDHASH_SCHEME and TPMT_ASYM_SCHEME differ only in which algorithms they allow (Part 2, 11.1.19 to 11.2.3).
package struct Scheme: Hashable, Sendable {
    package var algorithm: TPMAlgorithm
    /// The scheme's hash; nil for `null` and `rsaes`.
    package var hash: HashAlgorithm?
    /// ECDAA's commit counter.
    package var count: UInt16 = 0
    /// XOR's key derivation (TPMS_SCHEME_XOR).
    package var kdf: TPMAlgorithm = .null

    package init(_ algorithm: TPMAlgorithm, _ hash: HashAlgorithm? = nil, count: UInt16 = 0, kdf: TPMAlgorithm = .null) {
        self.algorithm = algorithm
        self.hash = hash
        self.count = count
        self.kdf = kdf
    }
    package static let null = Scheme(.null)
    package var isNull: Bool { algorithm == .null }

    /// Which field of a structure a scheme stands in: what it allows and what else is answered.
    package enum Field: Sendable {
        /// TPMT_RSA_SCHEME+
        case rsa
        /// TPMT_RSA_DECRYPT+
        case rsaDecrypt
        /// TPMT_ECC_SCHEME+
        case ecc
        /// TPMT_SIG_SCHEME+
        case signature
        /// TPMT_KEYEDHASH_SCHEME+
        case keyedHash

        var algorithms: Set<TPMAlgorithm> {
            switch self {
            case .rsa: [.rsassa, .rsapss, .rsaes, .oaep, .null]
            case .rsaDecrypt: [.rsaes, .oaep, .null]
            case .ecc: [.ecdsa, .ecdaa, .ecschnorr, .ecdh, .null]
            case .signature: [.rsassa, .rsapss, .ecdsa, .ecdaa, .ecschnorr, .hmac, .null]
            case .keyedHash: [.hmac, .xor, .null]
            }
        }
        var wrong: TPMRC { self == .signature || self == .ecc ? .scheme : .value }
    }

    package init(from reader: inout WireReader, field: Field) throws(WireError) {
        algorithm = TPMAlgorithm(rawValue: try reader.u16())
        guard field.algorithms.contains(algorithm), reader.knows(algorithm) else { throw .rc(field.wrong) }
        switch algorithm {
        case .null, .rsaes: break
        case .ecdaa:
            hash = try reader.value()
            count = try reader.u16()
        case .xor:
            hash = try reader.value()
            kdf = TPMAlgorithm(rawValue: try reader.u16())
            guard [.kdf1SP800_108, .kdf1SP800_56A, .kdf2, .mgf1, .null].contains(kdf) else { throw .rc(.kdf) }
        default: hash = try reader.value()
        }
    }

    package func encode(to writer: inout WireWriter) {
        writer.value(algorithm)
        switch algorithm {
        case .null, .rsaes: break
        case .ecdaa:
            writer.hashOrNull(hash)
            writer.u16(count)
        case .xor:
            writer.hashOrNull(hash)
            writer.value(kdf)
        default: writer.hashOrNull(hash)
        }
    }

    package static func signing(_ reader: inout WireReader) throws(WireError) -> Scheme {
        try Scheme(from: &reader, field: .signature)
    }
}

/// TPMS_ECC_POINT (Part 2, 11.2.5.2): big-endian coordinates, of the curve's field size where we write them.
package struct ECCPoint: Hashable, Sendable, WireCodable {
    package var x: [UInt8]
    package var y: [UInt8]
    package static let coordinateMax = 66

    package init(x: [UInt8], y: [UInt8]) {
        self.x = x
        self.y = y
    }
    package init(from reader: inout WireReader) throws(WireError) {
        x = try reader.sized16(max: Self.coordinateMax)
        y = try reader.sized16(max: Self.coordinateMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.sized16(x)
        writer.sized16(y)
    }
}

/// TPMT_SIGNATURE (Part 2, 11.3.4)
package enum Signature: Hashable, Sendable, WireCodable {
    /// RSASSA or RSAPSS
    case rsa(TPMAlgorithm, HashAlgorithm, [UInt8])
    /// ECDSA, ECDAA or ECSCHNORR: r and s
    case ecc(TPMAlgorithm, HashAlgorithm, r: [UInt8], s: [UInt8])
    case hmac(HashAlgorithm, [UInt8])
    case null

    package static let rsaMax = 512

    package init(from reader: inout WireReader) throws(WireError) {
        let algorithm = TPMAlgorithm(rawValue: try reader.u16())
        guard reader.knows(algorithm) else { throw .rc(.scheme) }
        switch algorithm {
        case .rsassa, .rsapss:
            self = .rsa(algorithm, try reader.value(), try reader.sized16(max: Self.rsaMax))
        case .ecdsa, .ecdaa, .ecschnorr:
            self = .ecc(algorithm, try reader.value(), r: try reader.sized16(max: ECCPoint.coordinateMax),
                        s: try reader.sized16(max: ECCPoint.coordinateMax))
        case .hmac:
            let hash = try reader.value(HashAlgorithm.self)
            self = .hmac(hash, try reader.bytes(hash.digestSize))
        case .null: self = .null
        default: throw .rc(.scheme)
        }
    }

    package func encode(to writer: inout WireWriter) {
        switch self {
        case .rsa(let algorithm, let hash, let signature):
            writer.value(algorithm)
            writer.value(hash)
            writer.sized16(signature)
        case .ecc(let algorithm, let hash, let r, let s):
            writer.value(algorithm)
            writer.value(hash)
            writer.sized16(r)
            writer.sized16(s)
        case .hmac(let hash, let digest):
            writer.value(TPMAlgorithm.hmac)
            writer.value(hash)
            writer.raw(digest)
        case .null: writer.value(TPMAlgorithm.null)
        }
    }
}
