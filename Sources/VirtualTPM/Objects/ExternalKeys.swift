// Keys from outside (TPM2_LoadExternal, TPM2_Import): whether public and private part are well formed and belong together.
// Errors carry parameter numbers: both commands have the public area as parameter 2.
import TPMCrypto
import TPMWire

extension PublicArea {
    /// A public area alone.
    func checkPublicKey() throws(TPMRC) {
        switch (parameters, unique) {
        case (.rsa(_, _, let bits, let exponent), .rsa(let modulus)):
            try checkModulus(modulus, bits: Int(bits), exponent)
        case (.ecc(_, _, let curve, _), .ecc(let point)):
            guard point.x.count == curve.fieldSize, point.y.count == curve.fieldSize else { throw TPMRC.key.parameter(2) }
            guard nameAlgorithm == nil || isOnCurve(point, curve) else { throw TPMRC.eccPoint.parameter(2) }
        case (_, .digest(let digest)): guard digest.count == seedSize else { throw TPMRC.key.parameter(2) }
        default: throw TPMRC.type.parameter(2)
        }
    }

    private func checkModulus(_ modulus: [UInt8], bits: Int, _ exponent: UInt32) throws(TPMRC) {
        guard modulus.count * 8 == bits, let top = modulus.first, top >= 0x80 else { throw TPMRC.key.parameter(2) }
        guard exponent == 0 || exponent >= 7 else { throw TPMRC.value.parameter(2) }
    }

    /// A public area with its sensitive area.
    /// - Parameter number: the sensitive area's, as a parameter.
    /// - Returns: what `Backing.software` holds.
    func checkedSecret(_ sensitive: SensitiveArea, parameter number: Int) throws(TPMRC) -> Secret {
        guard sensitive.type == type else { throw TPMRC.type.parameter(number) }
        if let nameAlgorithm {
            guard sensitive.authValue.count <= nameAlgorithm.digestSize else { throw TPMRC.size.parameter(number) }
        }
        let secret = try matchingSecret(sensitive, number)
        if isParent, nameAlgorithm != nil {
            guard (seedSize / 2...seedSize).contains(sensitive.seedValue.count) else { throw TPMRC.size.parameter(number) }
        }
        return secret
    }

    private func matchingSecret(_ sensitive: SensitiveArea, _ number: Int) throws(TPMRC) -> Secret {
        switch (parameters, unique) {
        case (.rsa(_, _, let bits, let exponent), .rsa(let modulus)):
            try checkModulus(modulus, bits: Int(bits), exponent)
            return try rsaSecret(sensitive.sensitive, modulus, exponent, number)
        case (.ecc(_, _, let curve, _), .ecc(let point)): return try eccSecret(sensitive.sensitive, curve, point)
        case (.keyedHash(let scheme), .digest(let digest)):
            guard sensitive.sensitive.count <= scheme.hash?.blockSize ?? SensitiveCreate.dataMax else {
                throw TPMRC.keySize.parameter(number)
            }
            return try symmetricSecret(sensitive, digest, number)
        case (.symcipher(.aes(let bits, _)), .digest(let digest)):
            guard sensitive.sensitive.count * 8 == Int(bits) else { throw TPMRC.keySize.parameter(number) }
            return try symmetricSecret(sensitive, digest, number)
        default: throw TPMRC.type.parameter(2)
        }
    }

    private func rsaSecret(
        _ prime: [UInt8], _ modulus: [UInt8], _ exponent: UInt32, _ number: Int
    ) throws(TPMRC) -> Secret {
        guard prime.count * 2 == modulus.count, let top = prime.first, top >= 0x80 else {
            throw TPMRC.keySize.parameter(number)
        }
        guard RSAPrivateKey(modulus: modulus, exponent: exponent, prime: prime) != nil else { throw .binding }
        return Secret(prime)
    }

    private func eccSecret(_ scalar: [UInt8], _ curve: ECCCurve, _ point: ECCPoint) throws(TPMRC) -> Secret {
        guard let key = ECCKeyPair(curve: curve, privateKey: scalar) else { throw .keySize }
        if nameAlgorithm != nil {
            let own = key.publicPoint
            guard padded(point.x, curve) == own.x, padded(point.y, curve) == own.y else { throw .binding }
        }
        return key.privateKey
    }

    /// A coordinate in the curve's own size; longer ones as they are.
    private func padded(_ coordinate: [UInt8], _ curve: ECCCurve) -> [UInt8] {
        [UInt8](repeating: 0, count: max(0, curve.fieldSize - coordinate.count)) + coordinate
    }

    private func symmetricSecret(
        _ sensitive: SensitiveArea, _ unique: [UInt8], _ number: Int
    ) throws(TPMRC) -> Secret {
        guard let nameAlgorithm else { return Secret(sensitive.sensitive) }
        guard sensitive.seedValue.count == nameAlgorithm.digestSize else { throw TPMRC.keySize.parameter(number) }
        let secret = SymmetricSecret(seed: sensitive.seedValue, data: sensitive.sensitive)
        guard symmetricUnique(secret, nameAlgorithm) == unique else { throw .binding }
        return Secret(secret.bytes)
    }
}
