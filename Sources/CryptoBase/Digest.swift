// Digests and HMACs, whole and in parts, with states that can be saved (TPM2_ContextSave of a sequence).
import CCrypto
import TPMWire
import Wire

/// H(parts[0] || parts[1] || …)
package func digest(_ hash: HashAlgorithm, _ parts: [UInt8]...) -> [UInt8] {
    var context = HashContext(hash)
    for part in parts { context.update(part) }
    return context.finished()
}

/// HMAC(key, parts[0] || parts[1] || …) (Part 1, 11.4.3; RFC 2104)
package func hmac(_ hash: HashAlgorithm, key: [UInt8], _ parts: [UInt8]...) -> [UInt8] {
    HMACContext(hash, key: key).finished(with: parts)
}

/// A digest in progress. A value: a copy goes its own way.
package struct HashContext: Sendable {
    // libcrypto's low-level contexts are plain memory, so a copy is a copy and nothing needs freeing.
    // SHA-384 runs in a SHA-512 context.
    private enum State {
        case sha1(SHA_CTX)
        case sha256(SHA256_CTX)
        case sha512(SHA512_CTX)
    }

    package let hash: HashAlgorithm
    private var state: State

    package init(_ hash: HashAlgorithm) {
        self.hash = hash
        switch hash {
        case .sha1:
            var context = SHA_CTX()
            SHA1_Init(&context)
            state = .sha1(context)
        case .sha256:
            var context = SHA256_CTX()
            SHA256_Init(&context)
            state = .sha256(context)
        case .sha384:
            var context = SHA512_CTX()
            SHA384_Init(&context)
            state = .sha512(context)
        case .sha512:
            var context = SHA512_CTX()
            SHA512_Init(&context)
            state = .sha512(context)
        }
    }

    package mutating func update(_ bytes: [UInt8]) {
        switch state {
        case .sha1(var context):
            SHA1_Update(&context, bytes, bytes.count)
            state = .sha1(context)
        case .sha256(var context):
            SHA256_Update(&context, bytes, bytes.count)
            state = .sha256(context)
        case .sha512(var context):
            SHA512_Update(&context, bytes, bytes.count)
            state = .sha512(context)
        }
    }

    /// The digest of everything so far; the context itself can go on.
    package func finished() -> [UInt8] {
        // SAFETY: a final call writes exactly the digest of the context's hash; SHA512_Final knows SHA-384 by md_len.
        writtenBytes(hash.digestSize) { result in
            switch state {
            case .sha1(var context): SHA1_Final(result, &context)
            case .sha256(var context): SHA256_Final(result, &context)
            case .sha512(var context): SHA512_Final(result, &context)
            }
        }
    }
}

/// The saved form: TPM_ALG_ID, bytes hashed so far (64 bits), chaining value, then the bytes of the unfinished block.
extension HashContext {
    package var saved: [UInt8] {
        var writer = WireWriter(capacity: 256)
        writer.value(hash)
        switch state {
        case .sha1(let context):
            writer.u64((UInt64(context.Nh) << 32 | UInt64(context.Nl)) / 8)
            for word in [context.h0, context.h1, context.h2, context.h3, context.h4] { writer.u32(word) }
            writer.raw(Self.bytes(of: context.data).prefix(Int(context.num)))
        case .sha256(let context):
            writer.u64((UInt64(context.Nh) << 32 | UInt64(context.Nl)) / 8)
            for word in Self.words(context.h, of: UInt32.self) { writer.u32(word) }
            writer.raw(Self.bytes(of: context.data).prefix(Int(context.num)))
        case .sha512(let context):
            writer.u64(context.Nh << 61 | context.Nl / 8)
            for word in Self.words(context.h, of: UInt64.self) { writer.u64(word) }
            writer.raw(Self.bytes(of: context.u.p).prefix(Int(context.num)))
        }
        return writer.bytes
    }

    /// nil if the bytes are not a whole saved context.
    package init?(saved: [UInt8]) {
        var reader = WireReader(saved)
        do {
            self.init(try reader.value(HashAlgorithm.self))
            try restore(&reader)
            try reader.finish()
        } catch {
            return nil
        }
    }

    private mutating func restore(_ reader: inout WireReader) throws(WireError) {
        let length = try reader.u64()
        // The longest message of SHA-1 and SHA-256: 2^64 - 1 bits.
        guard length < 1 << 61 else { throw .oversized }
        let bits = length << 3
        let pending = Int(length % UInt64(hash.blockSize))
        switch state {
        case .sha1(var context):
            (context.h0, context.h1, context.h2) = (try reader.u32(), try reader.u32(), try reader.u32())
            (context.h3, context.h4) = (try reader.u32(), try reader.u32())
            (context.Nh, context.Nl) = (UInt32(truncatingIfNeeded: bits >> 32), UInt32(truncatingIfNeeded: bits))
            Self.fill(&context.data, try reader.bytes(pending))
            context.num = UInt32(pending)
            state = .sha1(context)
        case .sha256(var context):
            Self.fill(&context.h, try Self.read(UInt32.self, from: &reader))
            (context.Nh, context.Nl) = (UInt32(truncatingIfNeeded: bits >> 32), UInt32(truncatingIfNeeded: bits))
            Self.fill(&context.data, try reader.bytes(pending))
            context.num = UInt32(pending)
            state = .sha256(context)
        case .sha512(var context):
            Self.fill(&context.h, try Self.read(UInt64.self, from: &reader))
            (context.Nh, context.Nl) = (0, bits)
            Self.fill(&context.u, try reader.bytes(pending))
            context.num = UInt32(pending)
            state = .sha512(context)
        }
    }

    /// The eight words of a SHA-2 chaining value.
    private static func read<Word: FixedWidthInteger & UnsignedInteger>(
        _: Word.Type, from reader: inout WireReader
    ) throws(WireError) -> [Word] {
        var words: [Word] = []
        for _ in 0..<8 { words.append(try reader.integer(Word.self)) }
        return words
    }

    // SAFETY: C arrays are imported as tuples of trivial elements, whose memory is the array's. No access leaves the
    // tuple: reading takes its own size, writing stops at the shorter of the two.
    private static func bytes<Tuple>(of tuple: Tuple) -> [UInt8] { withUnsafeBytes(of: tuple) { Array($0) } }

    private static func words<Tuple, Word>(_ tuple: Tuple, of _: Word.Type) -> [Word] {
        withUnsafeBytes(of: tuple) { Array($0.bindMemory(to: Word.self)) }
    }

    private static func fill<Tuple, Element>(_ tuple: inout Tuple, _ elements: [Element]) {
        withUnsafeMutableBytes(of: &tuple) { target in
            elements.withUnsafeBytes { target.copyMemory(from: .init(rebasing: $0.prefix(target.count))) }
        }
    }
}

/// An HMAC in progress: the inner digest, and the outer one that has taken in the key.
package struct HMACContext: Sendable {
    private var inner: HashContext
    private let outer: HashContext

    package var hash: HashAlgorithm { inner.hash }

    package init(_ hash: HashAlgorithm, key: [UInt8]) {
        var block = [UInt8](repeating: Self.innerPad, count: hash.blockSize)
        defer { wipe(&block) }
        for (i, byte) in (key.count > hash.blockSize ? digest(hash, key) : key).enumerated() { block[i] ^= byte }
        inner = HashContext(hash)
        inner.update(block)
        for i in block.indices { block[i] ^= Self.innerPad ^ Self.outerPad }
        var outer = HashContext(hash)
        outer.update(block)
        self.outer = outer
    }

    private static let innerPad: UInt8 = 0x36
    private static let outerPad: UInt8 = 0x5C

    package mutating func update(_ bytes: [UInt8]) { inner.update(bytes) }

    package func finished() -> [UInt8] {
        var outer = outer
        outer.update(inner.finished())
        return outer.finished()
    }

    func finished(with parts: [[UInt8]]) -> [UInt8] {
        var context = self
        for part in parts { context.update(part) }
        return context.finished()
    }

    /// The saved form: inner and outer digest, each behind its size. It is as secret as the key.
    package var saved: [UInt8] {
        var writer = WireWriter(capacity: 512)
        writer.sized16(inner.saved)
        writer.sized16(outer.saved)
        return writer.bytes
    }

    package init?(saved: [UInt8]) {
        var reader = WireReader(saved)
        guard let first = try? reader.sized16(), let second = try? reader.sized16(), reader.isAtEnd,
            let inner = HashContext(saved: first), let outer = HashContext(saved: second), inner.hash == outer.hash
        else { return nil }
        self.inner = inner
        self.outer = outer
    }
}

/// The key of many HMACs: its two blocks are hashed once. Wiped when dropped, as a Secret is.
package final class HMACKey: Sendable {
    // SAFETY: written once in init, only read until deinit, and never handed out.
    private nonisolated(unsafe) let keyed: UnsafeMutablePointer<HMACContext>

    package init(_ hash: HashAlgorithm, _ key: [UInt8]) {
        keyed = .allocate(capacity: 1)
        keyed.initialize(to: HMACContext(hash, key: key))
    }

    deinit {
        // Contexts are plain memory: there is nothing to deinitialize.
        OPENSSL_cleanse(keyed, MemoryLayout<HMACContext>.size)
        keyed.deallocate()
    }

    /// An HMAC with nothing in it yet.
    package var context: HMACContext { keyed.pointee }

    /// HMAC(key, parts[0] || parts[1] || …)
    package func mac(_ parts: [UInt8]...) -> [UInt8] { context.finished(with: parts) }
}
