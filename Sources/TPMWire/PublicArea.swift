// TPMT_PUBLIC and TPMT_SENSITIVE (Part 2, 12.2 and 12.3).
import Wire

/// TPMT_PUBLIC (Part 2, 12.2.4)
package struct PublicArea: Hashable, Sendable, WireCodable {
    /// nil: TPM_ALG_NULL (an object without a Name)
    package var nameAlgorithm: HashAlgorithm?
    package var attributes: ObjectAttributes
    package var authPolicy: [UInt8]
    package var parameters: Parameters
    package var unique: Unique

    /// TPMU_PUBLIC_PARMS (Part 2, 12.2.3.7)
    package enum Parameters: Hashable, Sendable {
        /// TPMS_RSA_PARMS; exponent 0 is 65537
        case rsa(symmetric: SymmetricDefinition, scheme: Scheme, keyBits: UInt16, exponent: UInt32)
        /// TPMS_ECC_PARMS
        case ecc(symmetric: SymmetricDefinition, scheme: Scheme, curve: ECCCurve, kdf: Scheme)
        /// TPMS_KEYEDHASH_PARMS
        case keyedHash(scheme: Scheme)
        /// TPMS_SYMCIPHER_PARMS
        case symcipher(SymmetricDefinition)

        /// TPMI_ALG_PUBLIC
        package var type: TPMAlgorithm {
            switch self {
            case .rsa: .rsa
            case .ecc: .ecc
            case .keyedHash: .keyedHash
            case .symcipher: .symcipher
            }
        }

        package var scheme: Scheme {
            switch self {
            case .rsa(_, let scheme, _, _), .ecc(_, let scheme, _, _), .keyedHash(let scheme): scheme
            case .symcipher: .null
            }
        }

        /// The symmetric definition by which a parent protects its children.
        package var symmetric: SymmetricDefinition {
            switch self {
            case .rsa(let symmetric, _, _, _), .ecc(let symmetric, _, _, _), .symcipher(let symmetric): symmetric
            case .keyedHash: .null
            }
        }
    }

    /// TPMU_PUBLIC_ID (Part 2, 12.2.3.2)
    package enum Unique: Hashable, Sendable {
        case rsa([UInt8])
        case ecc(ECCPoint)
        /// keyed hash and symmetric cipher: a digest
        case digest([UInt8])
    }

    package var type: TPMAlgorithm { parameters.type }
    package static let rsaMax = 512
    /// TPMI_ALG_PUBLIC (Part 2, 12.2.2)
    package static let types: Set<TPMAlgorithm> = [.rsa, .ecc, .keyedHash, .symcipher]

    package init(
        nameAlgorithm: HashAlgorithm?, attributes: ObjectAttributes, authPolicy: [UInt8] = [],
        parameters: Parameters, unique: Unique
    ) {
        self.nameAlgorithm = nameAlgorithm
        self.attributes = attributes
        self.authPolicy = authPolicy
        self.parameters = parameters
        self.unique = unique
    }

    package init(from reader: inout WireReader) throws(WireError) {
        self = try PublicArea(withoutUnique: &reader)
        switch type {
        case .rsa: unique = .rsa(try reader.sized16(max: Self.rsaMax))
        case .ecc: unique = .ecc(try reader.value())
        default: unique = .digest(try reader.sized16(max: HashAlgorithm.largestDigest))
        }
    }

    /// All but the unique field, which stays empty: TPMT_TEMPLATE of a derived object has something else there.
    package init(withoutUnique reader: inout WireReader) throws(WireError) {
        let type = try reader.objectType()
        nameAlgorithm = try reader.hashOrNull()
        attributes = try reader.value()
        authPolicy = try reader.sized16(max: HashAlgorithm.largestDigest)
        parameters = try Parameters(from: &reader, type: type)
        unique = switch type {
        case .rsa: .rsa([])
        case .ecc: .ecc(ECCPoint(x: [], y: []))
        default: .digest([])
        }
    }

    package func encode(to writer: inout WireWriter) {
        writer.value(type)
        writer.hashOrNull(nameAlgorithm)
        writer.value(attributes)
        writer.sized16(authPolicy)
        parameters.encode(to: &writer)
        switch unique {
        case .rsa(let modulus): writer.sized16(modulus)
        case .ecc(let point): writer.value(point)
        case .digest(let digest): writer.sized16(digest)
        }
    }
}

extension WireReader {
    /// TPMI_ALG_PUBLIC: anything else is TPM_RC_TYPE.
    package mutating func objectType() throws(WireError) -> TPMAlgorithm {
        let type = TPMAlgorithm(rawValue: try u16())
        guard PublicArea.types.contains(type), knows(type) else { throw .rc(.type) }
        return type
    }
}

extension PublicArea.Parameters {
    /// TPMU_PUBLIC_PARMS behind its selector (also TPMT_PUBLIC_PARMS, for TestParms).
    package init(from reader: inout WireReader, type: TPMAlgorithm) throws(WireError) {
        switch type {
        case .rsa:
            let symmetric = try SymmetricDefinition(from: &reader, object: true)
            let scheme = try Scheme(from: &reader, field: .rsa)
            let bits = try reader.u16()
            guard reader.knows(rsaBits: bits) else { throw .rc(.value) }
            self = .rsa(symmetric: symmetric, scheme: scheme, keyBits: bits, exponent: try reader.u32())
        case .ecc:
            let symmetric = try SymmetricDefinition(from: &reader, object: true)
            let scheme = try Scheme(from: &reader, field: .ecc)
            let curve = try reader.value(ECCCurve.self)
            self = .ecc(symmetric: symmetric, scheme: scheme, curve: curve, kdf: try Self.kdf(&reader))
        case .keyedHash: self = .keyedHash(scheme: try Scheme(from: &reader, field: .keyedHash))
        case .symcipher: self = .symcipher(try SymmetricDefinition(from: &reader, object: true, orNull: false))
        default: throw .rc(.type)
        }
    }

    /// TPMT_KDF_SCHEME+ (Part 2, 11.2.3.6)
    private static func kdf(_ reader: inout WireReader) throws(WireError) -> Scheme {
        let algorithm = TPMAlgorithm(rawValue: try reader.u16())
        switch algorithm {
        case .null: return .null
        case .mgf1, .kdf1SP800_56A, .kdf2, .kdf1SP800_108: return Scheme(algorithm, try reader.value())
        default: throw .rc(.kdf)
        }
    }

    package func encode(to writer: inout WireWriter) {
        switch self {
        case .rsa(let symmetric, let scheme, let bits, let exponent):
            symmetric.encode(to: &writer)
            scheme.encode(to: &writer)
            writer.u16(bits)
            writer.u32(exponent)
        case .ecc(let symmetric, let scheme, let curve, let kdf):
            symmetric.encode(to: &writer)
            scheme.encode(to: &writer)
            writer.value(curve)
            kdf.encode(to: &writer)
        case .keyedHash(let scheme): scheme.encode(to: &writer)
        case .symcipher(let symmetric): symmetric.encode(to: &writer)
        }
    }
}

/// TPMT_SENSITIVE (Part 2, 12.3.2.4)
package struct SensitiveArea: Sendable, WireCodable {
    package var type: TPMAlgorithm
    package var authValue: [UInt8]
    package var seedValue: [UInt8]
    /// RSA: one prime; ECC: the private scalar; keyed hash: the data; symmetric cipher: the key
    package var sensitive: [UInt8]
    package static let sensitiveMax = 256 + 64

    package init(type: TPMAlgorithm, authValue: [UInt8], seedValue: [UInt8], sensitive: [UInt8]) {
        self.type = type
        self.authValue = authValue
        self.seedValue = seedValue
        self.sensitive = sensitive
    }
    package init(from reader: inout WireReader) throws(WireError) {
        type = try reader.objectType()
        authValue = try reader.sized16(max: HashAlgorithm.largestDigest)
        seedValue = try reader.sized16(max: HashAlgorithm.largestDigest)
        sensitive = try reader.sized16(max: type == .keyedHash ? SensitiveCreate.dataMax : Self.sensitiveMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(type)
        writer.sized16(authValue)
        writer.sized16(seedValue)
        writer.sized16(sensitive)
    }
}

/// TPMS_SENSITIVE_CREATE (Part 2, 11.1.15)
package struct SensitiveCreate: Sendable, WireCodable {
    package var userAuth: [UInt8]
    package var data: [UInt8]
    /// TPM2B_SENSITIVE_DATA: sealed data, at most (MAX_SYM_DATA)
    package static let dataMax = 128

    package init(userAuth: [UInt8] = [], data: [UInt8] = []) {
        self.userAuth = userAuth
        self.data = data
    }
    package init(from reader: inout WireReader) throws(WireError) {
        userAuth = try reader.sized16(max: HashAlgorithm.largestDigest)
        data = try reader.sized16(max: Self.dataMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.sized16(userAuth)
        writer.sized16(data)
    }
}

/// A structure behind its own 16-bit size (TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPM2B_NV_PUBLIC, TPM2B_ECC_POINT …).
/// An empty one, or bytes left over inside, is TPM_RC_SIZE.
package struct Sized<T: WireCodable>: WireCodable {
    package var value: T
    package init(_ value: T) { self.value = value }
    package init(from reader: inout WireReader) throws(WireError) {
        let size = Int(try reader.u16())
        guard size > 0 else { throw .rc(.size) }
        let before = reader.remaining
        value = try T(from: &reader)
        guard before - reader.remaining == size else { throw .rc(.size) }
    }
    package func encode(to writer: inout WireWriter) { writer.sized16(value) }
}
