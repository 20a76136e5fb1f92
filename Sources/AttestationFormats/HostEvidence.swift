// The evidence of a host: which chip it is, which keys speak for it, and why they may (docs/attestation.md).
import CryptoBase
import TPMCrypto
import TPMWire
import Wire

/// What a verifier keeps of a host.
///
/// Everything in it is in network byte order:
///
///     u32 magic "PTHE", u16 version
///     sized16 endorsement key (TPMT_PUBLIC), sized16 its certificate (DER, empty where the chip has none)
///     sized16 attestation key (TPMT_PUBLIC)
///     sized16 certificate key (TPMT_PUBLIC), sized16 the host's certificate (DER, self-signed with the certificate key)
///     sized16 creation data of the certificate key (TPMS_CREATION_DATA)
///     sized16 seed, sized16 credential, sized16 credential blob: the activation
///     sized16 statement (TPMS_ATTEST), sized16 signature (TPMT_SIGNATURE): the attestation key's, over the certificate key's creation
///
/// The statement's qualifying data is SHA-256 over a domain tag and everything before the statement.
public struct HostEvidence: Sendable {
    /// Of the format that is made and read here.
    public static let version: UInt16 = 1
    private static let magic: UInt32 = 0x5054_4845
    /// Bytes of the largest evidence.
    public static let largest = 15 * 1024

    /// TPMT_PUBLIC
    package let endorsementKey: [UInt8]
    /// DER; empty where the chip has none.
    public let endorsementCertificate: [UInt8]
    /// TPMT_PUBLIC
    package let attestationKey: [UInt8]
    /// TPMT_PUBLIC
    package let certificateKey: [UInt8]
    /// DER
    public let hostCertificate: [UInt8]
    /// TPMS_CREATION_DATA
    package let creationData: [UInt8]
    package let activation: Activation
    /// TPMS_ATTEST
    package let statement: [UInt8]
    /// TPMT_SIGNATURE
    package let signature: [UInt8]

    /// The credential by whose activation the chip showed, when the evidence was made, that it has both the endorsement key and
    /// the attestation key.
    package struct Activation: Sendable {
        package let seed: [UInt8]
        package let credential: [UInt8]
        package let blob: [UInt8]
        package init(seed: [UInt8], credential: [UInt8], blob: [UInt8]) {
            self.seed = seed
            self.credential = credential
            self.blob = blob
        }
    }

    /// All but the signed statement.
    package struct Claim: Sendable {
        package var endorsementKey: [UInt8]
        package var endorsementCertificate: [UInt8]
        package var attestationKey: [UInt8]
        package var certificateKey: [UInt8]
        package var hostCertificate: [UInt8]
        package var creationData: [UInt8]
        package var activation: Activation

        package init(
            endorsementKey: [UInt8], endorsementCertificate: [UInt8], attestationKey: [UInt8], certificateKey: [UInt8],
            hostCertificate: [UInt8], creationData: [UInt8], activation: Activation
        ) {
            self.endorsementKey = endorsementKey
            self.endorsementCertificate = endorsementCertificate
            self.attestationKey = attestationKey
            self.certificateKey = certificateKey
            self.hostCertificate = hostCertificate
            self.creationData = creationData
            self.activation = activation
        }

        var bytes: [UInt8] {
            var writer = WireWriter(capacity: 4096)
            writer.u32(HostEvidence.magic)
            writer.u16(HostEvidence.version)
            for field in [endorsementKey, endorsementCertificate, attestationKey, certificateKey, hostCertificate, creationData] {
                writer.sized16(field)
            }
            for field in [activation.seed, activation.credential, activation.blob] { writer.sized16(field) }
            return writer.bytes
        }

        /// What the attestation key signs along with the certificate key's creation.
        package var qualifyingData: [UInt8] { digest(.sha256, Array("paratpm host evidence 1".utf8) + [0], bytes) }
    }

    package init(_ claim: Claim, statement: [UInt8], signature: [UInt8]) {
        endorsementKey = claim.endorsementKey
        endorsementCertificate = claim.endorsementCertificate
        attestationKey = claim.attestationKey
        certificateKey = claim.certificateKey
        hostCertificate = claim.hostCertificate
        creationData = claim.creationData
        activation = claim.activation
        self.statement = statement
        self.signature = signature
    }

    /// Decodes evidence: every byte of it, or an error.
    public init(_ bytes: [UInt8]) throws(FormatError) {
        var reader = WireReader(bytes)
        do throws(WireError) {
            try self.init(from: &reader)
            try reader.finish()
        } catch { throw FormatError("this is not the evidence of a host, version \(Self.version)") }
    }

    private init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u32() == Self.magic, try reader.u16() == Self.version else { throw .invalid(0) }
        endorsementKey = try reader.sized16()
        endorsementCertificate = try reader.sized16()
        attestationKey = try reader.sized16()
        certificateKey = try reader.sized16()
        hostCertificate = try reader.sized16()
        creationData = try reader.sized16()
        activation = Activation(seed: try reader.sized16(), credential: try reader.sized16(), blob: try reader.sized16())
        statement = try reader.sized16()
        signature = try reader.sized16()
    }

    package var claim: Claim {
        Claim(
            endorsementKey: endorsementKey, endorsementCertificate: endorsementCertificate, attestationKey: attestationKey,
            certificateKey: certificateKey, hostCertificate: hostCertificate, creationData: creationData, activation: activation)
    }

    /// The evidence as it is kept.
    public var bytes: [UInt8] {
        var writer = WireWriter(capacity: 4096)
        writer.raw(claim.bytes)
        writer.sized16(statement)
        writer.sized16(signature)
        return writer.bytes
    }

    /// SHA-256 of the evidence: what bundles name it by.
    public var id: [UInt8] { digest(.sha256, bytes) }

    /// The endorsement key's Name in hexadecimal: what a verifier pins where there is no certificate.
    public var endorsementKeyName: String {
        (try? PublicArea(wire: endorsementKey)).map { hexadecimal($0.name) } ?? ""
    }
}

/// A credential for the key of a host's evidence (Part 1, 24): only the chip that has both the endorsement key and the
/// attestation key can tell what it holds.
///
///     u32 magic "PTHC", u16 version, sized16 credential blob, sized16 encrypted secret
public struct HostChallenge: Sendable {
    private static let magic: UInt32 = 0x5054_4843
    private static let version: UInt16 = 1
    private static let fieldMax = 1024

    package let blob: [UInt8]
    package let encryptedSecret: [UInt8]

    /// - Returns: the challenge for the host, and the answer that it must give.
    public static func make(for evidence: HostEvidence) throws(FormatError) -> (challenge: HostChallenge, answer: [UInt8]) {
        let credential = try Credential(
            for: try PublicArea("the endorsement key", evidence.endorsementKey),
            keyName: try PublicArea("the attestation key", evidence.attestationKey).name)
        return (HostChallenge(blob: credential.blob, encryptedSecret: credential.encryptedSecret), credential.secret)
    }

    private init(blob: [UInt8], encryptedSecret: [UInt8]) {
        self.blob = blob
        self.encryptedSecret = encryptedSecret
    }

    /// Decodes a challenge: every byte of it, or an error.
    public init(_ bytes: [UInt8]) throws(FormatError) {
        var reader = WireReader(bytes)
        do throws(WireError) {
            guard try reader.u32() == Self.magic, try reader.u16() == Self.version else { throw .invalid(0) }
            blob = try reader.sized16(max: Self.fieldMax)
            encryptedSecret = try reader.sized16(max: Self.fieldMax)
            try reader.finish()
        } catch { throw FormatError("this is not a challenge to a host") }
    }

    /// The challenge as it travels.
    public var bytes: [UInt8] {
        var writer = WireWriter()
        writer.u32(Self.magic)
        writer.u16(Self.version)
        writer.sized16(blob)
        writer.sized16(encryptedSecret)
        return writer.bytes
    }
}

/// TPM2_MakeCredential's calculation (Part 3, 12.6) with a fresh secret.
package struct Credential: Sendable {
    package let secret: [UInt8]
    package let seed: [UInt8]
    /// TPM2B_ID_OBJECT's contents
    package let blob: [UInt8]
    /// TPM2B_ENCRYPTED_SECRET's contents
    package let encryptedSecret: [UInt8]

    /// - Parameters:
    ///   - endorsementKey: a storage key.
    ///   - keyName: the Name of the key that the credential is for.
    package init(for endorsementKey: PublicArea, keyName: [UInt8]) throws(FormatError) {
        let unfit = FormatError("the endorsement key is no storage key that a credential can be encrypted to")
        guard endorsementKey.attributes.contains([.restricted, .decrypt]), let shared = try? endorsementKey.shareSeed(for: .identity)
        else { throw unfit }
        secret = randomBytes(32)
        (seed, encryptedSecret) = shared
        guard let wrapper = OuterWrapper(protector: endorsementKey, seed: seed, name: keyName) else { throw unfit }
        blob = wrapper.seal(UInt16(secret.count).wire + secret)
    }
}
