// Keys and signature algorithms as X.509 names them (RFC 3279, RFC 4055, RFC 5480, RFC 5758).
import TPMWire
import Wire

extension PublicArea {
    /// SubjectPublicKeyInfo (RFC 3279, 2.3; RFC 5480); nil for keys that are not asymmetric, or on a curve without a name.
    package var subjectPublicKeyInfo: [UInt8]? {
        guard let (algorithm, key) = subjectPublicKey else { return nil }
        return DER.element(DER.sequence, algorithm, DER.element(DER.bitString, [0], key))
    }

    /// The parts of SubjectPublicKeyInfo: AlgorithmIdentifier, and what the BIT STRING holds.
    package var subjectPublicKey: (algorithm: [UInt8], key: [UInt8])? {
        switch (parameters, unique) {
        case (.rsa(_, _, _, let exponent), .rsa(let modulus)):
            let key = DER.element(
                DER.sequence, DER.number(modulus), DER.number((exponent == 0 ? 0x10001 : exponent).wire))
            // rsaEncryption
            let algorithm = DER.element(DER.sequence, DER.identifier(pkcs1 + [1]), DER.null)
            return (algorithm, key)
        case (.ecc(_, _, let curve, _), .ecc(let point)):
            let name: [UInt8]
            switch curve {
            case .p256: name = [0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]
            case .p384: name = [0x2B, 0x81, 0x04, 0x00, 0x22]
            case .p521: name = [0x2B, 0x81, 0x04, 0x00, 0x23]
            case .bnP256: return nil
            }
            // id-ecPublicKey
            let algorithm = DER.element(DER.sequence, DER.identifier(ansiX962 + [0x02, 0x01]), DER.identifier(name))
            return (algorithm, [4] + point.x + point.y)
        default: return nil
        }
    }
}

/// 1.2.840.113549.1.1, 1.2.840.10045 and 2.16.840.1.101.3.4.2
private let pkcs1: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01]
private let ansiX962: [UInt8] = [0x2A, 0x86, 0x48, 0xCE, 0x3D]
private let nistHash: [UInt8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02]

extension Scheme {
    /// AlgorithmIdentifier of the signature (RFC 4055, RFC 5758); nil where there is none.
    package var algorithmIdentifier: [UInt8]? {
        guard let hash else { return nil }
        switch algorithm {
        case .rsassa:
            // sha1WithRSAEncryption, sha256WithRSAEncryption …
            let arc: UInt8 = switch hash {
            case .sha1: 5
            case .sha256: 11
            case .sha384: 12
            case .sha512: 13
            }
            return DER.element(DER.sequence, DER.identifier(pkcs1 + [arc]), DER.null)
        case .rsapss: return pssIdentifier(hash)
        case .ecdsa:
            let arcs: [UInt8] = switch hash {
            case .sha1: [4, 1]
            case .sha256: [4, 3, 2]
            case .sha384: [4, 3, 3]
            case .sha512: [4, 3, 4]
            }
            return DER.element(DER.sequence, DER.identifier(ansiX962 + arcs))
        default: return nil
        }
    }

    /// id-RSASSA-PSS; with SHA-1 all of its parameters have their defaults.
    private func pssIdentifier(_ hash: HashAlgorithm) -> [UInt8] {
        let name = DER.identifier(pkcs1 + [10])
        let arc: UInt8
        switch hash {
        case .sha1: return DER.element(DER.sequence, name, DER.null)
        case .sha256: arc = 1
        case .sha384: arc = 2
        case .sha512: arc = 3
        }
        let digest = DER.element(DER.sequence, DER.identifier(nistHash + [arc]), DER.null)
        let mask = DER.element(DER.sequence, DER.identifier(pkcs1 + [8]), digest)
        let parameters = DER.element(
            DER.sequence, DER.element(DER.context(0), digest), DER.element(DER.context(1), mask),
            DER.element(DER.context(2), DER.number(UInt32(hash.digestSize).wire)))
        return DER.element(DER.sequence, name, parameters)
    }
}
