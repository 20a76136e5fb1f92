// The paddings of RSA schemes (Part 1, Annex B; RFC 8017). Decoders do the same work whatever the block holds.
import CryptoBase
import TPMWire

/// EME-PKCS1-v1_5 (Part 1, B.5; RFC 8017, 7.2.1): 00 02 random 00 message.
func pkcs1Pad(_ message: [UInt8], size: Int) throws(TPMRC) -> [UInt8] {
    guard message.count + 11 <= size else { throw .value }
    // Random bytes may not be zero: the few that are become 0x55.
    let filler = randomBytes(size - message.count - 3).map { $0 == 0 ? 0x55 : $0 }
    return [0, 2] + filler + [0] + message
}

func pkcs1Unpad(_ block: [UInt8]) throws(TPMRC) -> [UInt8] {
    guard block.count >= 11 else { throw .value }
    var wrong = block[0] | (block[1] ^ 2)
    let separator = firstIndex(in: block, from: 2) { isZero($0) }
    // At least eight bytes of filler, and a separator at all.
    wrong |= mask(separator < 10) | mask(separator >= block.count)
    guard wrong == 0 else { throw .value }
    return Array(block[(separator + 1)...])
}

/// EME-OAEP (Part 1, B.4; RFC 8017, 7.1.1) with the scheme's hash in both places.
/// - Parameter label: with its terminating NUL, if it has one.
func oaepPad(_ message: [UInt8], hash: HashAlgorithm, label: [UInt8], size: Int) throws(TPMRC) -> [UInt8] {
    let h = hash.digestSize
    guard size >= 2 * h + 2 else { throw .hash }
    guard message.count <= size - 2 * h - 2 else { throw .value }
    let zeros = [UInt8](repeating: 0, count: size - 2 * h - 2 - message.count)
    var data = digest(hash, label) + zeros + [1] + message
    defer { wipe(&data) }
    let seed = randomBytes(h)
    let maskedData = xor(data, mgf1(hash, seed: seed, count: data.count))
    return [0] + xor(seed, mgf1(hash, seed: maskedData, count: h)) + maskedData
}

func oaepUnpad(_ block: [UInt8], hash: HashAlgorithm, label: [UInt8]) throws(TPMRC) -> [UInt8] {
    let h = hash.digestSize
    guard block.count >= 2 * h + 2 else { throw .value }
    let maskedData = Array(block[(h + 1)...])
    let seed = xor(Array(block[1...h]), mgf1(hash, seed: maskedData, count: h))
    var data = xor(maskedData, mgf1(hash, seed: seed, count: maskedData.count))
    defer { wipe(&data) }
    let separator = firstIndex(in: data, from: h) { ~isZero($0) }
    var wrong = block[0] | mask(separator >= data.count)
    wrong |= mask(!constantTimeEqual(Array(data[..<h]), digest(hash, label)))
    wrong |= data[min(separator, data.count - 1)] ^ 1
    guard wrong == 0 else { throw .value }
    return Array(data[(separator + 1)...])
}

/// EMSA-PKCS1-v1_5 (Part 1, B.6; RFC 8017, 9.2): 00 01 FF… 00 DigestInfo.
func pkcs1Encode(_ digest: [UInt8], hash: HashAlgorithm, size: Int) throws(TPMRC) -> [UInt8] {
    let info = digestInfoPrefix(hash) + digest
    guard digest.count == hash.digestSize, info.count + 11 <= size else { throw .size }
    return [0, 1] + [UInt8](repeating: 0xFF, count: size - info.count - 3) + [0] + info
}

/// DER of a DigestInfo up to the digest (RFC 8017, 9.2, note 1).
private func digestInfoPrefix(_ hash: HashAlgorithm) -> [UInt8] {
    let identifier: [UInt8]
    switch hash {
    case .sha1: identifier = [0x2B, 0x0E, 0x03, 0x02, 0x1A]
    case .sha256: identifier = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01]
    case .sha384: identifier = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02]
    case .sha512: identifier = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03]
    }
    let size = UInt8(identifier.count)
    let digestSize = UInt8(hash.digestSize)
    return [0x30, size + digestSize + 8, 0x30, size + 4, 0x06, size] + identifier + [0x05, 0x00, 0x04, digestSize]
}

/// EMSA-PSS (Part 1, B.7; RFC 8017, 9.1.1) with the longest salt that fits.
/// - Parameter bits: one less than the modulus has.
func pssEncode(_ digest: [UInt8], hash: HashAlgorithm, bits: Int) throws(TPMRC) -> [UInt8] {
    let h = hash.digestSize
    let size = (bits + 7) / 8
    guard digest.count == h, size >= h + 2 else { throw .size }
    let salt = randomBytes(size - h - 2)
    let hashed = pssHash(digest, salt: salt, hash)
    var maskedData = xor([1] + salt, mgf1(hash, seed: hashed, count: size - h - 1))
    maskedData[0] &= pssTopMask(bits)
    return maskedData + hashed + [0xBC]
}

/// Accepts any length of salt.
func pssVerify(_ block: [UInt8], digest: [UInt8], hash: HashAlgorithm, bits: Int) -> Bool {
    let h = hash.digestSize
    guard digest.count == h, block.count == (bits + 7) / 8, block.count >= h + 2, block.last == 0xBC,
        block[0] & ~pssTopMask(bits) == 0
    else { return false }
    let split = block.count - h - 1
    let hashed = Array(block[split..<split + h])
    var data = xor(Array(block[..<split]), mgf1(hash, seed: hashed, count: split))
    data[0] &= pssTopMask(bits)
    guard let separator = data.firstIndex(where: { $0 != 0 }), data[separator] == 1 else { return false }
    return constantTimeEqual(hashed, pssHash(digest, salt: Array(data[(separator + 1)...]), hash))
}

private func pssHash(_ message: [UInt8], salt: [UInt8], _ hash: HashAlgorithm) -> [UInt8] {
    digest(hash, [UInt8](repeating: 0, count: 8), message, salt)
}

/// The bits of the first byte that belong to a block of `bits` bits.
private func pssTopMask(_ bits: Int) -> UInt8 { 0xFF >> UInt8((8 - bits % 8) % 8) }

// Without branches on secret bytes.

/// 0xFF if the byte is zero, else 0.
private func isZero(_ byte: UInt8) -> UInt8 { UInt8(truncatingIfNeeded: (Int(byte) - 1) >> 8) }

private func mask(_ condition: Bool) -> UInt8 { condition ? 0xFF : 0 }

/// The first index from `start` where `match` gives 0xFF, or the count; all bytes are looked at.
private func firstIndex(in bytes: [UInt8], from start: Int, where match: (UInt8) -> UInt8) -> Int {
    var found = bytes.count
    for index in (start..<bytes.count).reversed() {
        let all = Int(Int8(bitPattern: match(bytes[index])))
        found = (index & all) | (found & ~all)
    }
    return found
}
