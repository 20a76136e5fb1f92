// Signatures as a public area's key verifies them (Part 3, 20.1).
import CryptoBase
import TPMWire

extension PublicArea {
    /// Whether the signature is of this asymmetric key over the digest.
    /// - Throws: TPM_RC_SCHEME for a signature of another type of key, or of a scheme that cannot be verified.
    package func verifies(_ signature: Signature, _ digest: [UInt8]) throws(TPMRC) -> Bool {
        switch (parameters, unique, signature) {
        case (.rsa(_, _, _, let exponent), .rsa(let modulus), .rsa(let algorithm, let hash, let bytes)):
            return RSAPublicKey(modulus: modulus, exponent: exponent).verify(bytes, digest: digest, scheme: algorithm, hash: hash)
        case (.ecc(_, _, let curve, _), .ecc(let point), .ecc(.ecdsa, _, let r, let s)):
            return verifyECDSA(curve: curve, point: point, digest: digest, r: r, s: s)
        case (.ecc(_, _, let curve, _), .ecc(let point), .ecc(.ecschnorr, let hash, let r, let s)):
            return verifyECSchnorr(curve: curve, point: point, digest: digest, hash: hash, r: r, s: s)
        default: throw .scheme
        }
    }
}

extension Signature {
    /// The hash of what was signed; nil for ECDAA, which cannot be verified, and for no signature.
    package var hash: HashAlgorithm? {
        switch self {
        case .rsa(_, let hash, _), .hmac(let hash, _): hash
        case .ecc(let algorithm, let hash, _, _): algorithm == .ecdaa ? nil : hash
        case .null: nil
        }
    }
}
