// The public areas of the keys that speak for the host, children of the host root beside the guests' roots.
import TPMCrypto
import TPMWire

extension RootTemplate {
    /// Signs only what the chip itself says: quotes and certifications.
    package static let attestationKey = signingKey([.restricted])

    /// Signs the guests' certificates.
    package static let certificateKey = signingKey([])

    private static func signingKey(_ attributes: ObjectAttributes) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256,
            attributes: attributes.union([.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .sign]),
            parameters: .ecc(symmetric: .null, scheme: Scheme(.ecdsa, .sha256), curve: .p256, kdf: .null),
            unique: .ecc(ECCPoint(x: [], y: [])))
    }
}
