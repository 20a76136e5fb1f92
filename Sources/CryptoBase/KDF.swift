// Key derivation (Part 1, 11.4.10) and the mask generation of RSA schemes (Part 1, B.4).
import TPMWire
import Wire

/// KDFa (Part 1, 11.4.10.2): SP 800-108 in counter mode with HMAC.
/// - Parameters:
///   - label: without its terminating NUL, which is added.
///   - bits: the size of the result. Bits above it in the first byte are cleared.
/// - Returns: (bits + 7) / 8 bytes.
package func kdfa(
    _ hash: HashAlgorithm, key: [UInt8], label: String, contextU: [UInt8] = [], contextV: [UInt8] = [], bits: Int
) -> [UInt8] {
    kdfa(HMACContext(hash, key: key), label: label, contextU: contextU, contextV: contextV, bits: bits)
}

/// KDFa with the hash and the key of an HMAC that has nothing in it yet.
package func kdfa(
    _ keyed: HMACContext, label: String, contextU: [UInt8] = [], contextV: [UInt8] = [], bits: Int
) -> [UInt8] {
    expand(bits: bits) { counter in
        keyed.finished(with: WireWriter.bytes {
            $0.u32(counter)
            $0.raw(label.utf8)
            $0.u8(0)
            $0.raw(contextU)
            $0.raw(contextV)
            $0.u32(UInt32(bits))
        })
    }
}

/// KDFe (Part 1, 11.4.10.3): SP 800-56A with a hash.
/// - Parameters:
///   - z: the x-coordinate of the shared point, of the curve's field size.
///   - label: without its terminating NUL, which is added ("Use" in the standard).
///   - partyU, partyV: x-coordinates of the ephemeral and of the static public point.
/// - Returns: (bits + 7) / 8 bytes.
package func kdfe(
    _ hash: HashAlgorithm, z: [UInt8], label: String, partyU: [UInt8], partyV: [UInt8], bits: Int
) -> [UInt8] {
    let label = Array(label.utf8) + [0]
    return expand(bits: bits) { counter in digest(hash, counter.wire, z, label, partyU, partyV) }
}

/// MGF1 (RFC 8017, B.2.1)
/// - Returns: `count` bytes.
package func mgf1(_ hash: HashAlgorithm, seed: [UInt8], count: Int) -> [UInt8] {
    expand(bits: count * 8, from: 0) { counter in digest(hash, seed, counter.wire) }
}

/// Blocks under a rising counter, cut to `bits`.
private func expand(bits: Int, from first: UInt32 = 1, block: (UInt32) -> [UInt8]) -> [UInt8] {
    let count = (bits + 7) / 8
    var counter = first
    var result = block(counter)
    while result.count < count {
        counter += 1
        result += block(counter)
    }
    result.removeLast(result.count - count)
    if bits % 8 != 0 { result[0] &= 1 << (bits % 8) - 1 }
    return result
}
