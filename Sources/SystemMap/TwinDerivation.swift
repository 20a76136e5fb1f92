// Design D2: from a guest's public area to its twin, one pure function; and which twins are gated (D7). The proxy and the policy
// checker both derive, so that the checker need not believe what a proxy says of a twin.
import TPMWire

/// How a keyed-hash object's secret is kept.
package enum SecretKeeping: Sendable {
    /// As an HMAC key of the chip, which the chip uses.
    case used
    /// As sealed data, which is unsealed when it is used.
    case sealed
}

extension PublicArea {
    /// The chip can use a keyed-hash key that does nothing but sign. What XORs or derives is unsealed to be used (a
    /// listed exception to P2), and so is an HMAC key longer than a block of nameAlg, which no twin could hold.
    /// - Parameter dataSize: bytes of the secret that the creator gave; 0 if the TPM makes it.
    package func secretKeeping(dataSize: Int) -> SecretKeeping {
        let signsOnly = attributes.contains(.sign) && !attributes.contains(.decrypt)
        return type == .keyedHash && signsOnly && dataSize <= (nameAlgorithm?.blockSize ?? 0) ? .used : .sealed
    }

    /// Whether the twin seals the object's seedValue with its key, so that the unique field can be proved to another TPM:
    /// that of a symmetric cipher key or a derivation parent is not the sealing twin's.
    package var sealsSeed: Bool { type == .symcipher || type == .keyedHash && isParent }

    /// Whether the twin is not a key itself, but only seals it: its unique field is not the object's. The chip would finish an ECDAA key's
    /// signatures only with commitments of its own, whose counter all guests would share.
    package var isSealedKey: Bool { sealsSeed || isAnonymous }

    /// What may leave this TPM by TPM2_Duplicate, which no authValue authorizes. What only sealed data backs leaves by TPM2_Unseal.
    private var needsDuplicableTwin: Bool { !attributes.contains(.fixedParent) && !authPolicy.isEmpty && !isSealedKey }

    /// The twin of an object with this public area; nil for one without a nameAlg, which has no twin.
    /// - Parameters:
    ///   - keeping: of a keyed-hash object.
    ///   - isImported: the chip did not make the twin.
    package func twinSpec(_ keeping: SecretKeeping, isImported: Bool = false) -> TwinSpec? {
        guard let nameAlgorithm else { return nil }
        let asymmetric = (sign: attributes.contains(.sign), decrypt: attributes.contains(.decrypt))
        func spec(_ kind: TwinSpec.Kind, sign: Bool, decrypt: Bool, madeByChip: Bool) -> TwinSpec {
            TwinSpec(
                kind: kind, sign: sign, decrypt: decrypt, sensitiveDataOrigin: madeByChip && !isImported,
                // A twin whose unique field is not the object's own needs no more than the envelope has room for.
                nameAlgorithm: isSealedKey ? .sha256 : nameAlgorithm, isImported: isImported, isDuplicable: needsDuplicableTwin,
                isStorageKey: isParent && isAsymmetric, isGated: isGated)
        }
        switch parameters {
        case .rsa(_, _, let bits, let exponent):
            return spec(
                .rsa(bits: bits, exponent: exponent), sign: asymmetric.sign, decrypt: asymmetric.decrypt, madeByChip: true)
        case .ecc where isAnonymous: return spec(.sealed, sign: false, decrypt: false, madeByChip: false)
        case .ecc(_, _, let curve, _):
            return spec(.ecc(curve), sign: asymmetric.sign, decrypt: asymmetric.decrypt, madeByChip: true)
        case .keyedHash where keeping == .used:
            return spec(.hmac, sign: true, decrypt: false, madeByChip: attributes.contains(.sensitiveDataOrigin))
        case .keyedHash, .symcipher: return spec(.sealed, sign: false, decrypt: false, madeByChip: false)
        }
    }

    /// The public area with the unique field of the key that was made from it.
    package func with(unique: Unique) -> PublicArea {
        var area = self
        area.unique = unique
        return area
    }
}

extension PublicArea {
    /// A key that signs what the TPM itself says (TPMS_ATTEST), and nothing else that looks like it.
    package var isRestrictedSigningKey: Bool { attributes.contains([.sign, .restricted]) && type != .symcipher }

    /// An ECDAA key whose private part the policy checker alone has.
    package var isRestrictedAnonymous: Bool { isAnonymous && isRestrictedSigningKey }

    /// Whether the proxy alone must not decide on its use (D7): a restricted signing key, or what a policy alone can authorize.
    /// Storage keys are not gated.
    package var isGated: Bool {
        guard nameAlgorithm != nil, !isParent || type == .keyedHash else { return false }
        return isRestrictedSigningKey || !attributes.contains(.userWithAuth) && !authPolicy.isEmpty
    }

    /// What the authValue of a gated twin is derived from: all of the public area that is known before the chip makes the key. The
    /// chip's own word for the rest is the twin's Name.
    package var gateIdentity: PublicArea {
        guard !isSealedKey else { return self }
        switch unique {
        case .rsa: return with(unique: .rsa([]))
        case .ecc: return with(unique: .ecc(ECCPoint(x: [], y: [])))
        case .digest: return with(unique: .digest([]))
        }
    }
}
