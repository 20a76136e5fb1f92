// The values of a policy session's nonceTPM. The checker draws what they follow from, so a proxy cannot choose them: what somebody agreed to for
// one session's nonce (Part 3, 23.2.2) holds in no other session.
import CryptoBase
import TPMWire
import Wire

/// One after the other: SHA-512 of domain, seed and number, cut to size. The seed is in the session's token, and the guest sees no more than the values.
package struct SessionNonces: WireCodable, Sendable, Equatable {
    private static let seedSize = 32
    private static let domain = Array("paratpm session nonce v1".utf8)
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
        Array(digest(.sha512, Self.domain, seed, rolls.wire).prefix(Int(size)))
    }

    package init(from reader: inout WireReader) throws(WireError) {
        seed = try reader.bytes(Self.seedSize)
        size = try reader.u8()
    }
    package func encode(to writer: inout WireWriter) {
        writer.raw(seed)
        writer.u8(size)
    }
}
