// The TCG's templates of endorsement keys, and where their certificates stand (TCG EK Credential Profile 2.5, B.3 and B.4, 2.2.1.4).
import CryptoBase
import TPMWire
import Wire

/// A certificate that a TPM has from its maker, by its NV index.
package enum EndorsementCertificate: UInt32, CaseIterable, Sendable, WireCodable {
    // Low range
    case rsa2048 = 0x01C0_0002
    case eccP256 = 0x01C0_000A
    // High range
    case highRSA2048 = 0x01C0_0012
    case highP256 = 0x01C0_0014
    case highP384 = 0x01C0_0016
    case highP521 = 0x01C0_0018
    case highRSA3072 = 0x01C0_001C
    case highRSA4096 = 0x01C0_001E
    /// The platform's, which names the RSA-2048 key of the low range: where swtpm_setup puts it.
    case platform = 0x01C0_8000

    /// Those that every guest gets: the TCG's two of the low range, and what swtpm_setup gives besides.
    package static let standard: [Self] = [.rsa2048, .eccP256, .highP384, .platform]

    package var index: TPMHandle { TPMHandle(rawValue) }

    package init(from reader: inout WireReader) throws(WireError) {
        guard let value = Self(rawValue: try reader.u32()) else { throw .invalid(0) }
        self = value
    }
    package func encode(to writer: inout WireWriter) { writer.u32(rawValue) }

    /// The template of the key that is certified (L-1, L-2, H-1 to H-4, H-6 and H-7).
    package var template: PublicArea {
        switch self {
        case .rsa2048, .platform: Self.rsa(2048, .sha256, aes: 128, low: true)
        case .eccP256: Self.ecc(.p256, .sha256, aes: 128, low: true)
        case .highRSA2048: Self.rsa(2048, .sha256, aes: 128, low: false)
        case .highRSA3072: Self.rsa(3072, .sha384, aes: 256, low: false)
        case .highRSA4096: Self.rsa(4096, .sha384, aes: 256, low: false)
        case .highP256: Self.ecc(.p256, .sha256, aes: 128, low: false)
        case .highP384: Self.ecc(.p384, .sha384, aes: 256, low: false)
        case .highP521: Self.ecc(.p521, .sha512, aes: 256, low: false)
        }
    }

    private static func rsa(_ bits: UInt16, _ hash: HashAlgorithm, aes: UInt16, low: Bool) -> PublicArea {
        area(
            hash, low: low, .rsa(symmetric: .aes(keyBits: aes, mode: .cfb), scheme: .null, keyBits: bits, exponent: 0),
            .rsa([UInt8](repeating: 0, count: low ? Int(bits / 8) : 0)))
    }

    private static func ecc(_ curve: ECCCurve, _ hash: HashAlgorithm, aes: UInt16, low: Bool) -> PublicArea {
        let zeros = [UInt8](repeating: 0, count: low ? curve.fieldSize : 0)
        return area(
            hash, low: low, .ecc(symmetric: .aes(keyBits: aes, mode: .cfb), scheme: .null, curve: curve, kdf: .null),
            .ecc(ECCPoint(x: zeros, y: zeros)))
    }

    private static func area(
        _ hash: HashAlgorithm, low: Bool, _ parameters: PublicArea.Parameters, _ unique: PublicArea.Unique
    ) -> PublicArea {
        let attributes: ObjectAttributes = [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .adminWithPolicy, .restricted, .decrypt]
        return PublicArea(
            nameAlgorithm: hash, attributes: low ? attributes : attributes.union(.userWithAuth),
            authPolicy: low ? policyA(hash) : policyB(hash), parameters: parameters, unique: unique)
    }

    /// PolicySecret(TPM_RH_ENDORSEMENT)
    static func policyA(_ hash: HashAlgorithm) -> [UInt8] {
        let start = [UInt8](repeating: 0, count: hash.digestSize)
        return digest(hash, digest(hash, start, TPMCommandCode.policySecret.wire, TPMHandle.endorsement.wire))
    }

    /// PolicyOR of PolicyA and PolicyC, which is PolicyAuthorizeNV of the index that may hold another policy.
    static func policyB(_ hash: HashAlgorithm) -> [UInt8] {
        let start = [UInt8](repeating: 0, count: hash.digestSize)
        let policyC = digest(hash, start, TPMCommandCode.policyAuthorizeNV.wire, policyIndex(hash).name)
        return digest(hash, start, TPMCommandCode.policyOR.wire, policyA(hash), policyC)
    }

    private static func policyIndex(_ hash: HashAlgorithm) -> NVPublic {
        let number: UInt32 = switch hash {
        case .sha1, .sha256: 1
        case .sha384: 2
        case .sha512: 3
        }
        return NVPublic(
            index: TPMHandle(0x01C0_7F00 + number), nameAlgorithm: hash,
            attributes: [.policyWrite, .writeAll, .ppRead, .ownerRead, .authRead, .policyRead, .noDA, .written], authPolicy: policyA(hash),
            dataSize: UInt16(hash.digestSize + 2))
    }
}
