// How sensitive areas and credentials are wrapped to travel between TPMs (Part 1, 23.3 and 24), and how the seed of an outer
// wrapper is shared with the key that shall open it (Part 1, B.10 and C.6).
import CryptoBase
import TPMWire
import Wire

/// The outer wrapper: encryption and HMAC with keys from a seed, both bound to a Name (Part 1, 23.3.2.4 and 24.4).
package struct OuterWrapper {
    private let hash: HashAlgorithm
    private let keyBits: Int
    private let seed: [UInt8]
    private let name: [UInt8]

    /// - Parameters:
    ///   - protector: the storage key whose nameAlg and symmetric algorithm are used; nil comes of any other key.
    ///   - name: of the object inside, or of the object that a credential is for.
    package init?(protector: PublicArea, seed: [UInt8], name: [UInt8]) {
        guard let hash = protector.nameAlgorithm, case .aes(let keyBits, _) = protector.parameters.symmetric else { return nil }
        self.hash = hash
        self.keyBits = Int(keyBits)
        self.seed = seed
        self.name = name
    }

    /// - Returns: TPM2B_DIGEST with the HMAC, then the encrypted content.
    package func seal(_ content: [UInt8]) -> [UInt8] {
        let encrypted = aesCFB(key: encryptionKey, iv: zeroIV, data: content, encrypt: true)
        return UInt16(hash.digestSize).wire + integrity(of: encrypted) + encrypted
    }

    /// - Throws: TPM_RC_SIZE or TPM_RC_INSUFFICIENT for what has no HMAC in front, TPM_RC_INTEGRITY for a wrong one.
    package func open(_ wrapped: [UInt8]) throws(TPMRC) -> [UInt8] {
        let (given, encrypted) = try splitIntegrity(wrapped)
        guard constantTimeEqual(given, integrity(of: encrypted)) else { throw .integrity }
        return aesCFB(key: encryptionKey, iv: zeroIV, data: encrypted, encrypt: false)
    }

    /// The TPM2B_DIGEST that a credential's opened content is.
    package static func credential(in content: [UInt8]) throws(TPMRC) -> [UInt8] {
        var reader = WireReader(content)
        do throws(WireError) {
            let credential = try reader.sized16(max: HashAlgorithm.largestDigest)
            try reader.finish()
            return credential
        } catch { throw TPMRC(error) }
    }

    private var encryptionKey: [UInt8] { kdfa(hash, key: seed, label: "STORAGE", contextU: name, bits: keyBits) }

    private func integrity(of encrypted: [UInt8]) -> [UInt8] {
        hmac(hash, key: kdfa(hash, key: seed, label: "INTEGRITY", bits: hash.digestSize * 8), encrypted, name)
    }
}

/// The inner wrapper: a digest bound to the object's Name, encrypted with a key that travels some other way (Part 1, 23.3.2.3).
package struct InnerWrapper {
    private let key: [UInt8]
    private let hash: HashAlgorithm
    private let name: [UInt8]

    /// - Parameters:
    ///   - key: of AES, 16, 24 or 32 bytes; nil comes of any other size.
    ///   - hash: the object's nameAlg.
    ///   - name: the object's Name.
    package init?(key: [UInt8], hash: HashAlgorithm, name: [UInt8]) {
        guard [16, 24, 32].contains(key.count) else { return nil }
        self.key = key
        self.hash = hash
        self.name = name
    }

    package func seal(_ content: [UInt8]) -> [UInt8] {
        var plain = UInt16(hash.digestSize).wire + digest(hash, content, name) + content
        defer { wipe(&plain) }
        return aesCFB(key: key, iv: zeroIV, data: plain, encrypt: true)
    }

    /// - Throws: TPM_RC_SIZE, TPM_RC_INSUFFICIENT or TPM_RC_INTEGRITY.
    package func open(_ wrapped: [UInt8]) throws(TPMRC) -> [UInt8] {
        var plain = aesCFB(key: key, iv: zeroIV, data: wrapped, encrypt: false)
        defer { wipe(&plain) }
        let (given, content) = try splitIntegrity(plain)
        guard constantTimeEqual(given, digest(hash, content, name)) else { throw .integrity }
        return content
    }
}

/// Keys of wrappers are used once, so their IV is zero (Part 1, 22.4).
private let zeroIV = [UInt8](repeating: 0, count: aesBlockSize)

/// TPM2B_DIGEST, and what follows it.
private func splitIntegrity(_ bytes: [UInt8]) throws(TPMRC) -> (integrity: [UInt8], rest: [UInt8]) {
    var reader = WireReader(bytes)
    do throws(WireError) {
        return (try reader.sized16(max: HashAlgorithm.largestDigest), reader.rest())
    } catch { throw TPMRC(error) }
}

extension SensitiveArea {
    /// TPM2B_SENSITIVE inside wrappers.
    package init(unwrapped bytes: [UInt8]) throws(TPMRC) {
        var reader = WireReader(bytes)
        do throws(WireError) {
            guard Int(try reader.u16()) == reader.remaining else { throw .rc(.size) }
            self = try reader.value()
        } catch { throw TPMRC(error) }
        guard reader.isAtEnd else { throw .size }
    }
}

extension PublicArea {
    /// A fresh seed, and the secret by which the holder of this key's private part learns it (Part 1, B.10 and C.6).
    /// - Throws: TPM_RC_KEY for a key that no secret can be encrypted to.
    package func shareSeed(for use: SeedUse) throws(TPMRC) -> (seed: [UInt8], secret: [UInt8]) {
        guard let hash = nameAlgorithm else { throw .key }
        switch (parameters, unique) {
        case (.rsa(_, _, _, let exponent), .rsa(let modulus)):
            let seed = randomBytes(hash.digestSize)
            let secret = try RSAPublicKey(modulus: modulus, exponent: exponent)
                .encrypt(seed, scheme: Scheme(.oaep, hash), label: use.labelBytes)
            return (seed, secret)
        case (.ecc(_, _, let curve, _), .ecc(let point)):
            let ephemeral = ECCKeyPair.generate(curve)
            guard var z = ephemeral.agree(point)?.x else { throw .key }
            defer { wipe(&z) }
            let seed = kdfe(
                hash, z: z, label: use.label, partyU: ephemeral.publicPoint.x, partyV: point.x, bits: hash.digestSize * 8)
            return (seed, ephemeral.publicPoint.wire)
        default: throw .key
        }
    }
}
