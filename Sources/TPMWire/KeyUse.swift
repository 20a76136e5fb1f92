// What a public area says of how its key is used: parents, and schemes.

extension PublicArea {
    /// Size of a symmetric object's seedValue in bytes (Part 2, 12.3.2.4); 0 without a nameAlg.
    package var seedSize: Int { nameAlgorithm?.digestSize ?? 0 }

    package var isAsymmetric: Bool { type == .rsa || type == .ecc }

    /// Restricted and decrypt: a storage key, or of the keyed hashes a derivation parent (Part 1, 25).
    package var isParent: Bool { attributes.contains([.restricted, .decrypt]) }

    /// A key of anonymous signatures (ECDAA), each of which needs a commitment (TPM2_Commit).
    package var isAnonymous: Bool { type == .ecc && parameters.scheme.algorithm == .ecdaa }

    /// Whether keys of this type sign with the scheme (Part 3, 20.2).
    package func allowsSigning(with algorithm: TPMAlgorithm) -> Bool {
        switch type {
        case .rsa: algorithm == .rsassa || algorithm == .rsapss
        case .ecc: algorithm == .ecdsa || algorithm == .ecschnorr || algorithm == .ecdaa && isAnonymous
        case .keyedHash: algorithm == .hmac
        default: false
        }
    }

    /// Which signing scheme a command uses: the key's own, or the caller's where the key leaves it open (Part 3, 20.2). Errors are
    /// without parameter number.
    package func signingScheme(_ given: Scheme) throws(TPMRC) -> Scheme {
        let scheme = try selected(given)
        guard allowsSigning(with: scheme.algorithm) else { throw .scheme }
        return scheme
    }

    /// The padding for an RSA key; both left open is no padding (Part 3, 14.2). Errors are without parameter number.
    package func encryptionScheme(_ given: Scheme) throws(TPMRC) -> Scheme { try selected(given) }

    private func selected(_ given: Scheme) throws(TPMRC) -> Scheme {
        let own = parameters.scheme
        if own.isNull { return given }
        if given.isNull {
            // ECDAA is never left to the key: the commitment's counter comes with the command.
            guard own.algorithm != .ecdaa else { throw .scheme }
            return own
        }
        guard own.algorithm == given.algorithm && own.hash == given.hash else { throw .scheme }
        return given
    }
}
