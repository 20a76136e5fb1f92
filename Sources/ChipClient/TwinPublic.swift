// The public areas of everything that paratpm has the chip make: one pure function for each kind.
import SystemMap
import TPMCrypto
import TPMWire

extension TwinSpec {
    /// TPMT_PUBLIC of the twin: unrestricted, scheme NULL, noDA, empty auth; fixed to this chip and to its parent unless it
    /// was imported or may be duplicated (D2).
    /// - Parameter unique: empty for a template.
    package func publicArea(unique: PublicArea.Unique) -> PublicArea {
        var attributes: ObjectAttributes = [.userWithAuth, .noDA]
        if !isImported && !isDuplicable { attributes.formUnion([.fixedTPM, .fixedParent]) }
        if sensitiveDataOrigin { attributes.insert(.sensitiveDataOrigin) }
        // Nothing here takes the role ADMIN; but no other twin has this attribute, so that none passes for a storage key's.
        if isStorageKey { attributes.insert(.adminWithPolicy) }
        switch kind {
        case .rsa, .ecc:
            if sign { attributes.insert(.sign) }
            if decrypt { attributes.insert(.decrypt) }
        case .hmac:
            // With sign alone the scheme would have to name one hash; with both, TPM2_HMAC takes any (Part 2, 12.2.3.3).
            attributes.formUnion([.sign, .decrypt])
        case .sealed: break
        }
        return PublicArea(
            nameAlgorithm: nameAlgorithm, attributes: attributes,
            authPolicy: isDuplicable ? duplicationPolicy : [], parameters: parameters, unique: unique)
    }

    /// PolicyCommandCode(TPM2_Duplicate), the least that the role DUP can be given (Part 1, 19.2; Part 3, 23.11). Without a
    /// policy an object cannot be duplicated at all. That of a gated twin wants the authValue besides (PolicyAuthValue).
    private var duplicationPolicy: [UInt8] {
        let start = [UInt8](repeating: 0, count: nameAlgorithm.digestSize)
        let policy = digest(nameAlgorithm, start, TPMCommandCode.policyCommandCode.wire, TPMCommandCode.duplicate.wire)
        return isGated ? digest(nameAlgorithm, policy, TPMCommandCode.policyAuthValue.wire) : policy
    }

    private var parameters: PublicArea.Parameters {
        switch kind {
        case .rsa(let bits, let exponent): .rsa(symmetric: .null, scheme: .null, keyBits: bits, exponent: exponent)
        case .ecc(let curve): .ecc(symmetric: .null, scheme: .null, curve: curve, kdf: .null)
        case .hmac, .sealed: .keyedHash(scheme: .null)
        }
    }

    /// What TPM2_Create is given.
    package var template: PublicArea {
        switch kind {
        case .rsa: publicArea(unique: .rsa([]))
        case .ecc: publicArea(unique: .ecc(ECCPoint(x: [], y: [])))
        case .hmac, .sealed: publicArea(unique: .digest([]))
        }
    }
}

package enum RootTemplate {
    private static let protection = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)
    private static let storage: ObjectAttributes = [
        .fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .restricted, .decrypt,
    ]

    /// The host root: a storage primary. Its unique field makes it paratpm's own, whoever else uses the hierarchy.
    package static let host = storageKey(
        unique: ECCPoint(x: digest(.sha256, Array("paratpm host root".utf8)), y: []), label: [])

    /// A guest's root, child of the host root. Its authPolicy holds the guest's id: as a policy nothing can satisfy it, and
    /// nothing needs to; as a part of the Name it ties the key to its guest.
    package static func guest(_ guest: GuestID) -> PublicArea {
        storageKey(unique: ECCPoint(x: [], y: []), label: guest.bytes)
    }

    /// A guest's sealed secret, child of its root.
    package static func secret(_ guest: GuestID) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: [.fixedTPM, .fixedParent, .userWithAuth, .noDA], authPolicy: guest.bytes,
            parameters: .keyedHash(scheme: .null), unique: .digest([]))
    }

    /// The gate secret, child of the host root.
    package static let gateSecret = PublicArea(
        nameAlgorithm: .sha256, attributes: [.fixedTPM, .fixedParent, .userWithAuth, .noDA],
        authPolicy: digest(.sha256, Array("paratpm gate secret".utf8)), parameters: .keyedHash(scheme: .null),
        unique: .digest([]))

    /// The gate secret that only the PCRs that the policy is of open.
    package static func gateSecret(under policy: [UInt8]) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: [.fixedTPM, .fixedParent, .noDA], authPolicy: policy,
            parameters: .keyedHash(scheme: .null), unique: .digest([]))
    }

    private static func storageKey(unique: ECCPoint, label: [UInt8]) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: storage, authPolicy: label,
            parameters: .ecc(symmetric: protection, scheme: .null, curve: .p256, kdf: .null), unique: .ecc(unique))
    }
}

extension PublicArea {
    /// Whether `made` is what a chip may make of this template: the same in all but the unique field.
    package func isTemplate(of made: PublicArea) -> Bool {
        var template = self
        template.unique = made.unique
        return template == made
    }
}
