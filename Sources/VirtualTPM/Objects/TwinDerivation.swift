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

    /// The twin of an object with this public area; nil for one without a nameAlg, which has no twin.
    /// - Parameter keeping: of a keyed-hash object.
    func twinSpec(_ keeping: SecretKeeping) -> TwinSpec? {
        guard let nameAlgorithm else { return nil }
        let (sign, decrypt) = (attributes.contains(.sign), attributes.contains(.decrypt))
        switch parameters {
        case .rsa(_, _, let bits, let exponent):
            return TwinSpec(
                kind: .rsa(bits: bits, exponent: exponent), sign: sign, decrypt: decrypt, sensitiveDataOrigin: true,
                nameAlgorithm: nameAlgorithm)
        case .ecc(_, _, let curve, _):
            return TwinSpec(
                kind: .ecc(curve), sign: sign, decrypt: decrypt, sensitiveDataOrigin: true, nameAlgorithm: nameAlgorithm)
        case .keyedHash where keeping == .used:
            return TwinSpec(
                kind: .hmac, sign: true, decrypt: false, sensitiveDataOrigin: attributes.contains(.sensitiveDataOrigin),
                nameAlgorithm: nameAlgorithm)
        case .keyedHash, .symcipher:
            return TwinSpec(
                kind: .sealed, sign: false, decrypt: false, sensitiveDataOrigin: false, nameAlgorithm: nameAlgorithm)
        }
    }

    /// The public area with the unique field of the key that was made from it.
    func with(unique: Unique) -> PublicArea {
        var area = self
        area.unique = unique
        return area
    }
}
