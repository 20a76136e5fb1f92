// The policy under which a bound guest's root is: PolicyAuthorize with the update key, of a PolicyPCR over the host's PCRs
// (Part 3, 23.7 and 23.16).
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// PolicyPCR alone, by SHA-256 (Part 3, 23.7).
/// - Parameter values: behind each other, in the order of the selection.
package func pcrPolicy(_ selection: [PCRSelection], values: [UInt8]) -> [UInt8] {
    digest(
        .sha256, [UInt8](repeating: 0, count: HashAlgorithm.sha256.digestSize), TPMCommandCode.policyPCR.wire,
        WireWriter.bytes { $0.list(selection) }, digest(.sha256, values))
}

extension HostApproval {
    private static let hash = HashAlgorithm.sha256

    /// The approved policy: PolicyPCR of the values.
    package var policy: [UInt8] {
        pcrPolicy(selection, values: values)
    }

    /// aHash: what the update key signs, for one guest.
    package func signedDigest(for guest: GuestID) -> [UInt8] { digest(Self.hash, policy, guest.bytes) }

    /// Whether the update key gave it, for this guest.
    package func isSigned(by updateKey: PublicArea, for guest: GuestID) -> Bool {
        guard signature.hash == Self.hash else { return false }
        return (try? updateKey.verifies(signature, signedDigest(for: guest))) ?? false
    }
}

extension RootTemplate {
    /// The parent of a bound guest's root, child of the host root. The guest's id is the policyRef, so an approval is for one
    /// guest and the key is that guest's.
    package static func binding(_ guest: GuestID, updateKey: PublicArea) -> PublicArea {
        let authorize = digest(
            .sha256, [UInt8](repeating: 0, count: 32), TPMCommandCode.policyAuthorize.wire, updateKey.name)
        return PublicArea(
            nameAlgorithm: .sha256,
            attributes: [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .adminWithPolicy, .noDA, .restricted, .decrypt],
            authPolicy: digest(.sha256, authorize, guest.bytes),
            parameters: .ecc(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, curve: .p256, kdf: .null),
            unique: .ecc(ECCPoint(x: [], y: [])))
    }

    /// The public area of an update key: ECDSA on P-256.
    package static func updateKey(_ point: ECCPoint) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: [.sign, .userWithAuth],
            parameters: .ecc(symmetric: .null, scheme: Scheme(.ecdsa, .sha256), curve: .p256, kdf: .null), unique: .ecc(point))
    }
}
