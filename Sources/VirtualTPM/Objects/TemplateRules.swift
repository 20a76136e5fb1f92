// What a public area must satisfy to be created or loaded (Part 1, 25 to 27; Part 2, 8.3 and 12.2; Part 3, 12.1).
// Errors are without parameter number: the handler knows which parameter the public area is.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension PublicArea {
    /// What the chip cannot make, a guest's TPM does not have: answered as a decoder answers an unknown value.
    func checkOffered(by chip: ChipDescription) throws(TPMRC) {
        if let nameAlgorithm {
            guard chip.hashes.contains(nameAlgorithm) else { throw .hash }
        }
        if let hash = parameters.scheme.hash {
            guard chip.hashes.contains(hash) else { throw .hash }
        }
        if case .aes(let bits, _) = parameters.symmetric {
            guard chip.aesBits.contains(bits) else { throw .value }
        }
        switch parameters {
        case .rsa(_, _, let bits, _): guard chip.rsaBits.contains(bits) else { throw .value }
        case .ecc(_, _, let curve, _): guard chip.curves.contains(curve) else { throw .curve }
        case .keyedHash, .symcipher: break
        }
    }

    /// The rules of TPM2_Create and TPM2_CreatePrimary alone, then those of every public area.
    /// - Parameters:
    ///   - parent: the storage key; nil under a hierarchy.
    ///   - dataSize: bytes of sensitive data that the caller gave.
    func checkCreation(parent: PublicArea?, dataSize: Int) throws(TPMRC) {
        let madeByTPM = attributes.contains(.sensitiveDataOrigin)
        guard madeByTPM || dataSize > 0 else { throw .attributes }
        // Under a hierarchy the data may also be context for the derivation from the seed.
        guard parent == nil || !madeByTPM || dataSize == 0 else { throw .attributes }
        switch type {
        case .keyedHash where attributes.isDisjoint(with: [.sign, .decrypt]) && madeByTPM: throw .attributes
        case .keyedHash, .symcipher:
            if attributes.contains(.restricted) && !madeByTPM {
                guard attributes.isDisjoint(with: [.fixedParent, .fixedTPM]) else { throw .attributes }
            }
        default: guard madeByTPM else { throw .attributes }
        }
        try checkAttributes(parent: parent)
    }

    /// nameAlg, authPolicy and attributes of an object with a private part, and its schemes.
    /// - Parameter parent: nil under a hierarchy, or without a parent (LoadExternal, Import).
    func checkAttributes(parent: PublicArea?) throws(TPMRC) {
        guard let nameAlgorithm else { throw .hash }
        guard authPolicy.isEmpty || authPolicy.count == nameAlgorithm.digestSize else { throw .size }
        let parentIsFixed = parent?.attributes.contains(.fixedTPM) ?? true
        if parentIsFixed {
            guard attributes.contains(.fixedParent) == attributes.contains(.fixedTPM) else { throw .attributes }
        } else {
            guard !attributes.contains(.fixedTPM) else { throw .attributes }
        }
        if attributes.contains(.sign) == attributes.contains(.decrypt) {
            guard !attributes.contains(.restricted) else { throw .attributes }
            guard type == .keyedHash || attributes.contains(.sign) else { throw .attributes }
        }
        guard !attributes.contains([.fixedTPM, .encryptedDuplication]) else { throw .attributes }
        if let parent, !parentIsFixed {
            guard attributes.contains(.encryptedDuplication) == parent.attributes.contains(.encryptedDuplication) else {
                throw .attributes
            }
        }
        // What is derived cannot be more or less fixed than what it is derived from.
        if let parent, parent.type == .keyedHash {
            guard attributes.contains(.fixedTPM) == parentIsFixed, attributes.contains(.fixedParent) else { throw .attributes }
        }
        try checkSchemes(parent: parent)
    }

    /// Schemes, symmetric algorithms and key derivation against the attributes.
    func checkSchemes(parent: PublicArea?) throws(TPMRC) {
        switch parameters {
        case .keyedHash(let scheme): return try checkKeyedHash(scheme)
        case .symcipher(let symmetric):
            if case .aes(_, .cmac) = symmetric, attributes.contains(.decrypt) { throw .scheme }
        case .rsa(let symmetric, let scheme, _, _):
            try checkAsymmetric(scheme)
            guard isParent || symmetric == .null else { throw .symmetric }
        case .ecc(let symmetric, let scheme, _, let kdf):
            try checkAsymmetric(scheme)
            guard isParent || symmetric == .null else { throw .symmetric }
            guard kdf.isNull else { throw .kdf }
        }
        if isParent { try checkParent(parent) }
    }

    private func checkKeyedHash(_ scheme: Scheme) throws(TPMRC) {
        switch (attributes.contains(.sign), attributes.contains(.decrypt)) {
        case (true, true), (false, false): guard scheme.isNull else { throw .scheme }
        case (true, false): guard scheme.algorithm == .hmac else { throw .scheme }
        case (false, true):
            guard scheme.algorithm == .xor else { throw .scheme }
            // A derivation parent derives with SP 800-108 only.
            guard !attributes.contains(.restricted) || scheme.kdf == .kdf1SP800_108 else { throw .scheme }
        }
    }

    private func checkAsymmetric(_ scheme: Scheme) throws(TPMRC) {
        let restricted = attributes.contains(.restricted)
        switch (attributes.contains(.sign), attributes.contains(.decrypt)) {
        case (true, true), (false, false): guard scheme.isNull else { throw .scheme }
        case (true, false):
            guard isSigningScheme(scheme.algorithm) || !restricted && scheme.isNull else { throw .scheme }
        case (false, true):
            guard scheme.isNull || !restricted && isDecryptionScheme(scheme.algorithm) else { throw .scheme }
        }
    }

    private func isSigningScheme(_ algorithm: TPMAlgorithm) -> Bool {
        type == .rsa ? [.rsassa, .rsapss].contains(algorithm) : [.ecdsa, .ecdaa, .ecschnorr].contains(algorithm)
    }

    private func isDecryptionScheme(_ algorithm: TPMAlgorithm) -> Bool {
        type == .rsa ? [.rsaes, .oaep].contains(algorithm) : algorithm == .ecdh
    }

    /// A storage key needs a symmetric algorithm; one that cannot be duplicated has its parent's algorithms.
    private func checkParent(_ parent: PublicArea?) throws(TPMRC) {
        guard parameters.symmetric != .null else { throw .symmetric }
        guard attributes.contains(.fixedParent), let parent else { return }
        guard nameAlgorithm == parent.nameAlgorithm else { throw .hash }
        guard parameters.symmetric == parent.parameters.symmetric else { throw .symmetric }
    }
}

extension ParameterReader {
    /// TPMT_SYM_DEF+, or of an object TPMT_SYM_DEF_OBJECT+.
    /// - Throws: TPM_RC_VALUE for a size of keys that the chip has not.
    mutating func symmetric(object: Bool, of chip: ChipDescription) throws(TPMRC) -> SymmetricDefinition {
        let symmetric = try read { (reader) throws(WireError) in try SymmetricDefinition(from: &reader, object: object) }
        if case .aes(let bits, _) = symmetric {
            guard chip.aesBits.contains(bits) else { throw TPMRC.value.parameter(number) }
        }
        return symmetric
    }
}
