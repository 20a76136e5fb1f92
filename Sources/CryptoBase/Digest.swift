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

/// H(bytes)
package func digest(_ hash: HashAlgorithm, _ bytes: [UInt8]) -> [UInt8] {
    var context = HashContext(hash)
    context.update(bytes)
    return context.finished()
}

/// HMAC(key, parts[0] || parts[1] || …) (Part 1, 11.4.3; RFC 2104)
package func hmac(_ hash: HashAlgorithm, key: [UInt8], _ parts: [UInt8]...) -> [UInt8] {
    var context = HMACContext(hash, key: key)
    for part in parts { context.update(part) }
    return context.finished()
}

/// A digest in progress. A value: a copy goes its own way.
package struct HashContext: Sendable {
    package let hash: HashAlgorithm
    /// A SHA_CTX, SHA256_CTX or SHA512_CTX, as `hash` has it (SHA-384 runs in a SHA-512 context), in the memory of the largest.
    /// libcrypto's low-level contexts are plain memory, so a copy is a copy and nothing needs freeing.
    private var state = SHA512_CTX()

    package init(_ hash: HashAlgorithm) {
        self.hash = hash
        switch hash {
        case .sha1: with(SHA_CTX.self) { _ = SHA1_Init($0) }
        case .sha256: with(SHA256_CTX.self) { _ = SHA256_Init($0) }
        case .sha384: with(SHA512_CTX.self) { _ = SHA384_Init($0) }
        case .sha512: with(SHA512_CTX.self) { _ = SHA512_Init($0) }
        }
    }

    // SAFETY: each of the three is trivial, and no larger nor more aligned than SHA512_CTX; `hash` never changes.
    private mutating func with<Context>(_: Context.Type, _ body: (UnsafeMutablePointer<Context>) -> Void) {
        withUnsafeMutableBytes(of: &state) { $0.baseAddress?.withMemoryRebound(to: Context.self, capacity: 1, body) }
    }

    package mutating func update(_ bytes: [UInt8]) { update(bytes, bytes.count) }

    /// - Parameter count: as many bytes as can be read there.
    fileprivate mutating func update(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
        switch hash {
        case .sha1: with(SHA_CTX.self) { _ = SHA1_Update($0, bytes, count) }
        case .sha256: with(SHA256_CTX.self) { _ = SHA256_Update($0, bytes, count) }
        case .sha384, .sha512: with(SHA512_CTX.self) { _ = SHA512_Update($0, bytes, count) }
        }
    }

    /// The digest of everything so far; the context itself can go on.
    package func finished() -> [UInt8] { writtenBytes(hash.digestSize) { finish(to: $0) } }

    // SAFETY: a final call writes exactly the digest of the context's hash; SHA512_Final knows SHA-384 by md_len.
    fileprivate func finish(to result: UnsafeMutablePointer<UInt8>) {
        var copy = self
        switch hash {
        case .sha1: copy.with(SHA_CTX.self) { _ = SHA1_Final(result, $0) }
        case .sha256: copy.with(SHA256_CTX.self) { _ = SHA256_Final(result, $0) }
        case .sha384, .sha512: copy.with(SHA512_CTX.self) { _ = SHA512_Final(result, $0) }
        }
    }
}

/// The saved form: TPM_ALG_ID, bytes hashed so far (64 bits), chaining value, then the bytes of the unfinished block.
extension HashContext {
    package var saved: [UInt8] {
        var writer = WireWriter(capacity: 256)
        writer.value(hash)
        switch hash {
        case .sha1:
            let context = load(SHA_CTX.self)
            writer.u64((UInt64(context.Nh) << 32 | UInt64(context.Nl)) / 8)
            for word in [context.h0, context.h1, context.h2, context.h3, context.h4] { writer.u32(word) }
            writer.raw(Self.bytes(of: context.data).prefix(Int(context.num)))
        case .sha256:
            let context = load(SHA256_CTX.self)
            writer.u64((UInt64(context.Nh) << 32 | UInt64(context.Nl)) / 8)
            for word in Self.words(context.h, of: UInt32.self) { writer.u32(word) }
            writer.raw(Self.bytes(of: context.data).prefix(Int(context.num)))
        case .sha384, .sha512:
            writer.u64(state.Nh << 61 | state.Nl / 8)
            for word in Self.words(state.h, of: UInt64.self) { writer.u64(word) }
            writer.raw(Self.bytes(of: state.u.p).prefix(Int(state.num)))
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
        switch hash {
        case .sha1:
            var context = load(SHA_CTX.self)
            (context.h0, context.h1, context.h2) = (try reader.u32(), try reader.u32(), try reader.u32())
            (context.h3, context.h4) = (try reader.u32(), try reader.u32())
            (context.Nh, context.Nl) = (UInt32(truncatingIfNeeded: bits >> 32), UInt32(truncatingIfNeeded: bits))
            Self.fill(&context.data, try reader.bytes(pending))
            context.num = UInt32(pending)
            with(SHA_CTX.self) { $0.pointee = context }
        case .sha256:
            var context = load(SHA256_CTX.self)
            Self.fill(&context.h, try Self.read(UInt32.self, from: &reader))
            (context.Nh, context.Nl) = (UInt32(truncatingIfNeeded: bits >> 32), UInt32(truncatingIfNeeded: bits))
            Self.fill(&context.data, try reader.bytes(pending))
            context.num = UInt32(pending)
            with(SHA256_CTX.self) { $0.pointee = context }
        case .sha384, .sha512:
            Self.fill(&state.h, try Self.read(UInt64.self, from: &reader))
            (state.Nh, state.Nl) = (0, bits)
            Self.fill(&state.u, try reader.bytes(pending))
            state.num = UInt32(pending)
        }
    }

    // SAFETY: as for `with`.
    private func load<Context>(_: Context.Type) -> Context { withUnsafeBytes(of: state) { $0.load(as: Context.self) } }

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
        // The inner digest stands where the outer one will.
        writtenBytes(hash.digestSize) { result in
            inner.finish(to: result)
            var outer = outer
            outer.update(result, hash.digestSize)
            outer.finish(to: result)
        }
    }

    func finished(with bytes: [UInt8]) -> [UInt8] {
        var context = self
        context.update(bytes)
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

    /// HMAC(key, bytes)
    package func mac(_ bytes: [UInt8]) -> [UInt8] { context.finished(with: bytes) }
}
