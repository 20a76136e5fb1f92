// Encryption of a command's or a response's first parameter (Part 1, 21).
import TPMWire

/// XOR obfuscation (Part 1, 21.2; 11.4.7.3). Its own inverse.
/// - Parameter key: sessionKey || authValue
package func parameterXOR(
    _ hash: HashAlgorithm, key: [UInt8], nonceNewer: [UInt8], nonceOlder: [UInt8], _ data: [UInt8]
) -> [UInt8] {
    let mask = kdfa(hash, key: key, label: "XOR", contextU: nonceNewer, contextV: nonceOlder, bits: data.count * 8)
    return xor(data, mask)
}

/// AES-CFB with a key and an IV of this one use (Part 1, 21.3).
/// - Parameters:
///   - keyBits: 128, 192 or 256.
///   - keyed: the session's hash, with sessionKey || authValue, and nothing in it yet.
package func parameterCFB(
    keyBits: Int, _ keyed: HMACContext, nonceNewer: [UInt8], nonceOlder: [UInt8], _ data: [UInt8], encrypt: Bool
) -> [UInt8] {
    var derived = kdfa(
        keyed, label: "CFB", contextU: nonceNewer, contextV: nonceOlder, bits: keyBits + aesBlockSize * 8)
    defer { wipe(&derived) }
    return aesCFB(keyAndIV: derived, data: data, encrypt: encrypt)
}

/// Of equal lengths.
package func xor(_ a: [UInt8], _ b: [UInt8]) -> [UInt8] { zip(a, b).map { $0 ^ $1 } }
