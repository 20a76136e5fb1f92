// RSA: public and private operations under the TPM's schemes (Part 1, Annex B; Part 3, 14).
import CCrypto
import CryptoBase
import TPMWire

package struct RSAPublicKey: Sendable {
    /// Big-endian; its length is the key's size in bytes.
    package let modulus: [UInt8]
    /// Never 0.
    package let exponent: UInt32

    /// - Parameter exponent: 0 stands for 65537 (Part 2, 12.2.3.5).
    package init(modulus: [UInt8], exponent: UInt32) {
        self.modulus = modulus
        self.exponent = exponent == 0 ? 65537 : exponent
    }

    /// RSAEP (RFC 8017, 5.1.1); nil unless the block, of any length, is a number below an odd modulus.
    private func raw(_ block: [UInt8]) -> [UInt8]? {
        let (number, n) = (BigNumber(block), BigNumber(modulus))
        guard number < n else { return nil }
        return Arithmetic().power(number, BigNumber(exponent), modulo: n)?.bytes(modulus.count)
    }

    /// TPM2_RSA_Encrypt's calculation (Part 3, 14.2).
    /// - Parameters:
    ///   - scheme: null (no padding), rsaes or oaep.
    ///   - label: for oaep, with its terminating NUL.
    /// - Returns: as many bytes as the modulus.
    /// - Throws: TPM_RC_VALUE for a message that does not fit; TPM_RC_HASH for a hash too large for the key;
    ///   TPM_RC_SCHEME.
    package func encrypt(_ message: [UInt8], scheme: Scheme, label: [UInt8]) throws(TPMRC) -> [UInt8] {
        var block: [UInt8]
        switch (scheme.algorithm, scheme.hash) {
        case (.null, _): block = message
        case (.rsaes, _): block = try pkcs1Pad(message, size: modulus.count)
        case (.oaep, let hash?): block = try oaepPad(message, hash: hash, label: label, size: modulus.count)
        default: throw .scheme
        }
        defer { wipe(&block) }
        guard let result = raw(block) else { throw .value }
        return result
    }

    /// - Parameter scheme: rsassa or rsapss; nothing verifies under another.
    package func verify(_ signature: [UInt8], digest: [UInt8], scheme: TPMAlgorithm, hash: HashAlgorithm) -> Bool {
        guard signature.count == modulus.count, let block = raw(signature) else { return false }
        switch scheme {
        case .rsassa:
            guard let expected = try? pkcs1Encode(digest, hash: hash, size: modulus.count) else { return false }
            return constantTimeEqual(block, expected)
        case .rsapss:
            // A modulus of 8k + 1 bits has a block one byte shorter than itself.
            let bits = BigNumber(modulus).bits - 1
            let excess = block.count - (bits + 7) / 8
            guard excess >= 0, block[..<excess].allSatisfy({ $0 == 0 }) else { return false }
            return pssVerify(Array(block[excess...]), digest: digest, hash: hash, bits: bits)
        default: return false
        }
    }
}

package struct RSAPrivateKey: Sendable {
    package let publicKey: RSAPublicKey
    private let key: RSAPrivateNumbers

    /// - Parameters:
    ///   - exponent: 0 stands for 65537.
    ///   - prime: one of the two primes (TPM2B_PRIVATE_KEY_RSA).
    /// - Returns: nil if the numbers do not make a key.
    package init?(modulus: [UInt8], exponent: UInt32, prime: [UInt8]) {
        publicKey = RSAPublicKey(modulus: modulus, exponent: exponent)
        guard let key = RSAPrivateNumbers(publicKey, prime: prime) else { return nil }
        self.key = key
    }

    /// RSADP (RFC 8017, 5.1.2).
    /// - Returns: as many bytes as the modulus; nil unless the block has that size and is a number below the modulus.
    private func checkedRaw(_ block: [UInt8]) -> [UInt8]? {
        guard block.count == publicKey.modulus.count else { return nil }
        return key.raw(block)
    }

    /// The private operation on a block of the modulus' size and below it.
    /// - Throws: TPM_RC_VALUE for any other.
    package func raw(_ block: [UInt8]) throws(TPMRC) -> [UInt8] {
        guard let result = checkedRaw(block) else { throw .value }
        return result
    }

    /// - Parameter scheme: rsassa or rsapss (with the longest salt that fits).
    /// - Throws: TPM_RC_SIZE for a digest that is not the hash's, or too large for the key; TPM_RC_SCHEME.
    package func sign(digest: [UInt8], scheme: TPMAlgorithm, hash: HashAlgorithm) throws(TPMRC) -> [UInt8] {
        let size = publicKey.modulus.count
        var block: [UInt8]
        switch scheme {
        case .rsassa: block = try pkcs1Encode(digest, hash: hash, size: size)
        case .rsapss: block = try pssEncode(digest, hash: hash, bits: BigNumber(publicKey.modulus).bits - 1)
        default: throw .scheme
        }
        block.insert(contentsOf: repeatElement(0, count: size - block.count), at: 0)
        return try raw(block)
    }

    /// TPM2_RSA_Decrypt's calculation (Part 3, 14.3).
    /// - Parameters:
    ///   - scheme: null (no padding: the result has the modulus' size), rsaes or oaep.
    ///   - label: for oaep, with its terminating NUL.
    /// - Throws: TPM_RC_SIZE if `cipher` has not the modulus' size; TPM_RC_VALUE if it is not below the modulus or
    ///   the padding is wrong; TPM_RC_SCHEME.
    package func decrypt(_ cipher: [UInt8], scheme: Scheme, label: [UInt8]) throws(TPMRC) -> [UInt8] {
        guard cipher.count == publicKey.modulus.count else { throw .size }
        var block = try raw(cipher)
        switch (scheme.algorithm, scheme.hash) {
        case (.null, _): return block
        case (.rsaes, _):
            defer { wipe(&block) }
            return try pkcs1Unpad(block)
        case (.oaep, let hash?):
            defer { wipe(&block) }
            return try oaepUnpad(block, hash: hash, label: label)
        default: throw .scheme
        }
    }
}

/// The private numbers of an RSA key (RFC 8017, 3.2), and RSADP with them (5.1.2). Each operation is blinded, uses secret exponents in
/// constant time, and is checked with the public key before its result leaves.
private final class RSAPrivateNumbers: @unchecked Sendable {
    // SAFETY: not changed after init.
    private let n: BigNumber
    private let e: BigNumber
    private let p: BigNumber
    private let q: BigNumber
    private let dP: BigNumber
    private let dQ: BigNumber
    private let qInverse: BigNumber
    private let size: Int

    /// nil unless n = p q and e has an inverse.
    init?(_ key: RSAPublicKey, prime: [UInt8]) {
        let (n, e, p) = (BigNumber(key.modulus), BigNumber(key.exponent), BigNumber(secret: prime))
        let math = Arithmetic()
        guard n.isOdd, e.isOdd, !e.isOne, p.isOdd, !p.isOne, n.bits > 64, n.bits <= PublicArea.rsaMax * 8,
            let q = math.exactQuotient(n, p), !q.isOne
        else { return nil }
        q.markSecret()
        let (p1, q1) = (p.minusOne(), q.minusOne())
        guard let dP = math.inverse(e, modulo: p1), let dQ = math.inverse(e, modulo: q1),
            let qInverse = math.inverse(q, modulo: p)
        else { return nil }
        for number in [dP, dQ, qInverse] { number.markSecret() }
        (self.n, self.e, self.p, self.q, self.dP, self.dQ, self.qInverse) = (n, e, p, q, dP, dQ, qInverse)
        size = key.modulus.count
    }

    /// - Returns: as many bytes as the modulus; nil if the block is not below it.
    func raw(_ block: [UInt8]) -> [UInt8]? {
        let (math, input) = (Arithmetic(), BigNumber(secret: block))
        guard input < n, let (factor, undo) = blinding(math),
            let blinded = math.product(input, factor, modulo: n), let result = chineseRemainder(blinded, math),
            // A fault in one half would tell a prime (Boneh, DeMillo, Lipton 1997).
            let check = math.power(result, e, modulo: n), check == blinded
        else { return nil }
        return math.product(result, undo, modulo: n)?.bytes(size)
    }

    /// r^e and 1/r modulo n, of a fresh random r.
    private func blinding(_ math: Arithmetic) -> (factor: BigNumber, undo: BigNumber)? {
        guard let r = math.remainder(BigNumber(secret: randomBytes(size + 8)), n) else { return nil }
        r.markSecret()
        guard let undo = math.inverse(r, modulo: n), let factor = math.power(r, e, modulo: n) else { return nil }
        return (factor, undo)
    }

    /// c^d modulo n = p q, by its halves (RFC 8017, 5.1.2, step 2b).
    private func chineseRemainder(_ c: BigNumber, _ math: Arithmetic) -> BigNumber? {
        guard let cP = math.remainder(c, p), let cQ = math.remainder(c, q),
            let m1 = math.power(secret: dP, of: cP, modulo: p), let m2 = math.power(secret: dQ, of: cQ, modulo: q),
            let difference = math.difference(m1, m2, modulo: p),
            let h = math.product(difference, qInverse, modulo: p), let carried = math.product(h, q)
        else { return nil }
        return math.sum(m2, carried, modulo: n)
    }
}
