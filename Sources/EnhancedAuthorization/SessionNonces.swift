// The values of a policy session's nonceTPM. The checker draws what they follow from, so a proxy cannot choose them: what somebody agreed to for
// one session's nonce (Part 3, 23.2.2) holds in no other session.
import CryptoBase
import TPMWire
import Wire

/// One after the other: a digest of domain, seed and number, cut to size (SHA-256's where that is long enough). The seed is in the session's
/// token, and the guest sees no more than the values.
package struct SessionNonces: WireCodable, Sendable, Equatable {
    private static let seedSize = 32
    private static let domain = Array("paratpm nonce 2".utf8)
    private let seed: [UInt8]
    private let size: UInt8

    /// - Parameter size: in bytes; nil comes of one that is none of nonceTPM (Part 3, 11.1).
    package init?(size: UInt8, hash: HashAlgorithm) {
        guard (16...hash.digestSize).contains(Int(size)) else { return nil }
        seed = randomBytes(Self.seedSize)
        self.size = size
    }

    /// nonceTPM after so many rolls
    package subscript(_ rolls: UInt64) -> [UInt8] {
        let hash = Int(size) <= HashAlgorithm.sha256.digestSize ? HashAlgorithm.sha256 : .sha512
        var value = digest(hash, WireWriter.bytes {
            $0.raw(Self.domain)
            $0.raw(seed)
            $0.u64(rolls)
        })
        value.removeLast(value.count - Int(size))
        return value
    }

    package init(from reader: inout WireReader) throws(WireError) {
        seed = try reader.bytes(Self.seedSize)
        size = try reader.u8()
        guard size <= HashAlgorithm.largestDigest else { throw .oversized }
    }
    package func encode(to writer: inout WireWriter) {
        writer.raw(seed)
        writer.u8(size)
    }
}
