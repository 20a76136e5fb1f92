// The keys that a new TPM is set up with, made from the TCG's default templates (EK Credential Profile 2.5, B.3 and B.4;
// TPM 2.0 Provisioning Guidance 1.0, 7.5.1 for the storage root key).
import TPMWire

/// A primary key, and where it is made persistent.
package struct SetupKey: Sendable {
    let name: String
    let hierarchy: TPMHandle
    let persistent: TPMHandle
    package let template: PublicArea

    /// Template L-1
    package static let endorsementRSA = SetupKey(
        name: "RSA 2048 EK", hierarchy: .endorsement, persistent: TPMHandle(0x8101_0001),
        template: PublicArea(
            nameAlgorithm: .sha256, attributes: endorsement, authPolicy: policyA,
            parameters: .rsa(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, keyBits: 2048, exponent: 0),
            unique: .rsa([UInt8](repeating: 0, count: 256))))

    /// Template H-3
    package static let endorsementP384 = SetupKey(
        name: "ECC EK", hierarchy: .endorsement, persistent: TPMHandle(0x8101_0016),
        template: PublicArea(
            nameAlgorithm: .sha384, attributes: endorsement.union(.userWithAuth), authPolicy: policyB384,
            parameters: .ecc(symmetric: .aes(keyBits: 256, mode: .cfb), scheme: .null, curve: .p384, kdf: .null),
            unique: .ecc(ECCPoint(x: [], y: []))))

    /// Template L-2, for a chip without P-384
    package static let endorsementP256 = SetupKey(
        name: "ECC EK", hierarchy: .endorsement, persistent: TPMHandle(0x8101_0002),
        template: PublicArea(
            nameAlgorithm: .sha256, attributes: endorsement, authPolicy: policyA,
            parameters: .ecc(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, curve: .p256, kdf: .null),
            unique: .ecc(ECCPoint(x: [UInt8](repeating: 0, count: 32), y: [UInt8](repeating: 0, count: 32)))))

    package static let storageRSA = SetupKey(
        name: "RSA 2048 SPK", hierarchy: .owner, persistent: TPMHandle(0x8100_0001),
        template: PublicArea(
            nameAlgorithm: .sha256, attributes: storage,
            parameters: .rsa(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, keyBits: 2048, exponent: 0),
            unique: .rsa([UInt8](repeating: 0, count: 256))))

    package static let storageP256 = SetupKey(
        name: "ECC SPK", hierarchy: .owner, persistent: TPMHandle(0x8100_0001),
        template: PublicArea(
            nameAlgorithm: .sha256, attributes: storage,
            parameters: .ecc(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, curve: .p256, kdf: .null),
            unique: .ecc(ECCPoint(x: [UInt8](repeating: 0, count: 32), y: [UInt8](repeating: 0, count: 32)))))

    private static let endorsement: ObjectAttributes = [
        .fixedTPM, .fixedParent, .sensitiveDataOrigin, .adminWithPolicy, .restricted, .decrypt,
    ]
    private static let storage: ObjectAttributes = [
        .fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .restricted, .decrypt,
    ]

    /// PolicySecret(TPM_RH_ENDORSEMENT) with SHA-256
    private static let policyA: [UInt8] = [
        0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24,
        0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA,
    ]
    /// PolicySecret(TPM_RH_ENDORSEMENT) or PolicyAuthorizeNV of the index 0x01C07F02, with SHA-384
    private static let policyB384: [UInt8] = [
        0xB2, 0x6E, 0x7D, 0x28, 0xD1, 0x1A, 0x50, 0xBC, 0x53, 0xD8, 0x82, 0xBC, 0xF5, 0xFD, 0x3A, 0x1A,
        0x07, 0x41, 0x48, 0xBB, 0x35, 0xD3, 0xB4, 0xE4, 0xCB, 0x1C, 0x0A, 0xD9, 0xBD, 0xE4, 0x19, 0xCA,
        0xCB, 0x47, 0xBA, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0F, 0x9F, 0xC0, 0x00, 0xF3, 0xF8, 0x0E, 0x12,
    ]
}
