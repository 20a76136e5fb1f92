// AES in the TPM's modes, and AES-256-GCM for our own files.
//
// libcrypto's block function is called directly, not through EVP: the first EVP fetch costs each process about
// 200 kB of private memory for the provider's tables. On x86-64 that function works from a 256-byte S-box
// brought into the cache before each block, so which lines it reads does not depend on the key. (On other processors
// it is plain table code, without that protection.)
import CCrypto

/// TPMI_ALG_CIPHER_MODE
package enum AESMode: Sendable {
    case cfb, ctr, ofb, cbc, ecb
}

/// In bytes.
package let aesBlockSize = 16

/// AES with a key of 16, 24 or 32 bytes (Part 3, TPM2_EncryptDecrypt).
/// - Parameter iv: one block, unused by ECB. Afterwards the chaining value with which the next call goes on; after an
///   unfinished block of CFB it is the last ciphertext and the rest of that block's key stream, as stock software TPMs
///   answer it (the reference code pads with zeros).
/// - Returns: as many bytes as `data`; nil if the key, the IV, or for CBC and ECB the data, has no length that fits.
package func aes(_ mode: AESMode, key: [UInt8], iv: inout [UInt8], _ data: [UInt8], encrypt: Bool) -> [UInt8]? {
    let wholeBlocks = mode == .cbc || mode == .ecb
    guard [16, 24, 32].contains(key.count), mode == .ecb || iv.count == aesBlockSize,
        !wholeBlocks || data.count % aesBlockSize == 0
    else { return nil }
    let schedule = AESKeySchedule(key, forDecryption: wholeBlocks && !encrypt)
    return schedule.apply(mode, iv: &iv, data, encrypt: encrypt)
}

/// AES-CFB from an IV that is used once.
/// - Precondition: a key of 16, 24 or 32 bytes and an IV of 16.
package func aesCFB(key: [UInt8], iv: [UInt8], data: [UInt8], encrypt: Bool) -> [UInt8] {
    var iv = iv
    guard let result = aes(.cfb, key: key, iv: &iv, data, encrypt: encrypt) else {
        preconditionFailure("AES key or IV size")
    }
    return result
}

/// AES-CFB with a key and an IV that are used once.
/// - Precondition: a key of 16, 24 or 32 bytes, and behind it an IV of 16.
func aesCFB(keyAndIV: [UInt8], data: [UInt8], encrypt: Bool) -> [UInt8] {
    let keySize = keyAndIV.count - aesBlockSize
    var iv = Array(keyAndIV[keySize...])
    return AESKeySchedule(keyAndIV, size: keySize).apply(.cfb, iv: &iv, data, encrypt: encrypt)
}

private let aeadTagSize = 16

/// AES-256-GCM (SP 800-38D).
/// - Parameters:
///   - key: 32 bytes.
///   - nonce: 12 bytes, never used twice with a key.
/// - Returns: ciphertext, then a tag of 16 bytes.
package func aeadSeal(key: [UInt8], nonce: [UInt8], associated: [UInt8], _ plaintext: [UInt8]) -> [UInt8] {
    let gcm = GCM(key, nonce: nonce, associated: associated)
    let ciphertext = gcm.apply(plaintext, encrypt: true)
    return ciphertext + gcm.tag()
}

/// - Returns: the plaintext; nil unless key, nonce, associated data and every byte are those of the sealing.
package func aeadOpen(key: [UInt8], nonce: [UInt8], associated: [UInt8], _ sealed: [UInt8]) -> [UInt8]? {
    guard sealed.count >= aeadTagSize else { return nil }
    let split = sealed.count - aeadTagSize
    let gcm = GCM(key, nonce: nonce, associated: associated)
    var plaintext = gcm.apply(Array(sealed[..<split]), encrypt: false)
    guard constantTimeEqual(gcm.tag(), Array(sealed[split...])) else {
        wipe(&plaintext)
        return nil
    }
    return plaintext
}

// SAFETY: libcrypto calls these back with the pointers it was given: two blocks, and the AES_KEY of an AESKeySchedule.
private let encryptBlock: block128_f = { input, output, key in
    AES_encrypt(input, output, key?.assumingMemoryBound(to: AES_KEY.self))
}
private let decryptBlock: block128_f = { input, output, key in
    AES_decrypt(input, output, key?.assumingMemoryBound(to: AES_KEY.self))
}

/// An expanded key in memory of its own, wiped when dropped.
private final class AESKeySchedule {
    // SAFETY: allocated in init, freed in deinit; every C call below is given buffers of the lengths it is told.
    let pointer = UnsafeMutablePointer<AES_KEY>.allocate(capacity: 1)

    convenience init(_ key: [UInt8], forDecryption: Bool = false) {
        self.init(key, size: key.count, forDecryption: forDecryption)
    }

    /// The key is what `bytes` begins with.
    /// - Precondition: a size of 16, 24 or 32.
    init(_ bytes: [UInt8], size: Int, forDecryption: Bool = false) {
        precondition(size <= bytes.count)
        pointer.initialize(to: AES_KEY())
        let status = forDecryption
            ? AES_set_decrypt_key(bytes, Int32(size * 8), pointer) : AES_set_encrypt_key(bytes, Int32(size * 8), pointer)
        precondition(status == 0, "AES key size")
    }

    deinit {
        OPENSSL_cleanse(pointer, MemoryLayout<AES_KEY>.size)
        pointer.deallocate()
    }

    func apply(_ mode: AESMode, iv: inout [UInt8], _ data: [UInt8], encrypt: Bool) -> [UInt8] {
        let count = data.count
        var used: Int32 = 0
        guard count > 0 else { return [] }
        // All of it is written over.
        var output = data
        switch mode {
        case .cfb: CRYPTO_cfb128_encrypt(data, &output, count, pointer, &iv, &used, encrypt ? 1 : 0, encryptBlock)
        case .ofb: CRYPTO_ofb128_encrypt(data, &output, count, pointer, &iv, &used, encryptBlock)
        case .ctr: applyCTR(data, &output, &iv)
        case .cbc where encrypt: CRYPTO_cbc128_encrypt(data, &output, count, pointer, &iv, encryptBlock)
        case .cbc: CRYPTO_cbc128_decrypt(data, &output, count, pointer, &iv, decryptBlock)
        case .ecb: applyECB(data, &output, encrypt ? encryptBlock : decryptBlock)
        }
        return output
    }

    private func applyCTR(_ data: [UInt8], _ output: UnsafeMutablePointer<UInt8>, _ counter: inout [UInt8]) {
        var keyStream = [UInt8](repeating: 0, count: aesBlockSize)
        var used: UInt32 = 0
        CRYPTO_ctr128_encrypt(data, output, data.count, pointer, &counter, &keyStream, &used, encryptBlock)
        wipe(&keyStream)
    }

    private func applyECB(_ data: [UInt8], _ output: UnsafeMutablePointer<UInt8>, _ block: block128_f) {
        data.withUnsafeBufferPointer { input in
            for offset in stride(from: 0, to: input.count, by: aesBlockSize) {
                block(input.baseAddress.map { $0 + offset }, output + offset, pointer)
            }
        }
    }
}

/// One sealing or opening: the owner of a GCM128_CONTEXT.
private final class GCM {
    private let schedule: AESKeySchedule
    // SAFETY: owned; the context points into `schedule`, which lives as long.
    private let context: OpaquePointer

    init(_ key: [UInt8], nonce: [UInt8], associated: [UInt8]) {
        precondition(key.count == 32 && nonce.count == 12, "AES-256-GCM key or nonce size")
        schedule = AESKeySchedule(key)
        guard let context = CRYPTO_gcm128_new(schedule.pointer, encryptBlock) else { outOfMemory() }
        self.context = context
        CRYPTO_gcm128_setiv(context, nonce, nonce.count)
        CRYPTO_gcm128_aad(context, associated, associated.count)
    }

    deinit { CRYPTO_gcm128_release(context) }

    /// The whole text at once.
    func apply(_ data: [UInt8], encrypt: Bool) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: data.count)
        let status = encrypt
            ? CRYPTO_gcm128_encrypt(context, data, &output, data.count) : CRYPTO_gcm128_decrypt(context, data, &output, data.count)
        precondition(status == 0, "longer than GCM allows")
        return output
    }

    func tag() -> [UInt8] {
        var tag = [UInt8](repeating: 0, count: aeadTagSize)
        CRYPTO_gcm128_tag(context, &tag, tag.count)
        return tag
    }
}

/// libcrypto answers nil only when memory is at an end; nothing sensible can follow.
package func outOfMemory() -> Never { fatalError("libcrypto: out of memory") }
