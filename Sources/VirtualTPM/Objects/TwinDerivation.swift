// Design D2: from a guest's public area to its twin, one pure function.
import SystemMap
import TPMCrypto
import TPMWire

/// How a keyed-hash object's secret is kept.
enum SecretKeeping {
    /// As an HMAC key of the chip, which the chip uses.
    case used
    /// As sealed data, which is unsealed when it is used.
    case sealed
}

extension PublicArea {
    /// The chip can use a keyed-hash key that does nothing but sign. What XORs or derives is unsealed to be used (a
    /// listed exception to P2), and so is an HMAC key longer than a block of nameAlg, which no twin could hold.
    /// - Parameter dataSize: bytes of the secret that the creator gave; 0 if the TPM makes it.
    func secretKeeping(dataSize: Int) -> SecretKeeping {
        let signsOnly = attributes.contains(.sign) && !attributes.contains(.decrypt)
        return type == .keyedHash && signsOnly && dataSize <= (nameAlgorithm?.blockSize ?? 0) ? .used : .sealed
    }

    /// Whether the twin seals the object's seedValue with its key, so that the unique field can be proved to another TPM:
    /// that of a symmetric cipher key or a derivation parent is not the sealing twin's.
    var sealsSeed: Bool { type == .symcipher || type == .keyedHash && isParent }

    /// What may leave this TPM by TPM2_Duplicate, which no authValue authorizes. What only sealed data backs leaves by TPM2_Unseal.
    private var needsDuplicableTwin: Bool { !attributes.contains(.fixedParent) && !authPolicy.isEmpty && !sealsSeed }

    /// The twin of an object with this public area; nil for one without a nameAlg, which has no twin.
    /// - Parameters:
    ///   - keeping: of a keyed-hash object.
    ///   - isImported: the chip did not make the twin.
    func twinSpec(_ keeping: SecretKeeping, isImported: Bool = false) -> TwinSpec? {
        guard let nameAlgorithm else { return nil }
        let asymmetric = (sign: attributes.contains(.sign), decrypt: attributes.contains(.decrypt))
        func spec(_ kind: TwinSpec.Kind, sign: Bool, decrypt: Bool, madeByChip: Bool) -> TwinSpec {
            TwinSpec(
                kind: kind, sign: sign, decrypt: decrypt, sensitiveDataOrigin: madeByChip && !isImported,
                // A twin whose unique field is not the object's own needs no more than the envelope has room for.
                nameAlgorithm: sealsSeed ? .sha256 : nameAlgorithm, isImported: isImported, isDuplicable: needsDuplicableTwin)
        }
        switch parameters {
        case .rsa(_, _, let bits, let exponent):
            return spec(
                .rsa(bits: bits, exponent: exponent), sign: asymmetric.sign, decrypt: asymmetric.decrypt, madeByChip: true)
        case .ecc(_, _, let curve, _):
            return spec(.ecc(curve), sign: asymmetric.sign, decrypt: asymmetric.decrypt, madeByChip: true)
        case .keyedHash where keeping == .used:
            return spec(.hmac, sign: true, decrypt: false, madeByChip: attributes.contains(.sensitiveDataOrigin))
        case .keyedHash, .symcipher: return spec(.sealed, sign: false, decrypt: false, madeByChip: false)
        }
    }

    /// The public area with the unique field of the key that was made from it.
    func with(unique: Unique) -> PublicArea {
        var area = self
        area.unique = unique
        return area
    }
}
