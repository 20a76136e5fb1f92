// CMAC with AES (SP 800-38B), in parts, with a state that can be saved.
import Wire

/// A CMAC in progress. A value: a copy goes its own way.
package struct CMACContext: Sendable {
    private let key: Secret
    /// The CBC chain over all whole blocks but the last.
    private var chain = [UInt8](repeating: 0, count: aesBlockSize)
    /// The last bytes, at most one block: only at the end it is known how they count.
    private var pending: [UInt8] = []

    /// nil unless the key has 16, 24 or 32 bytes.
    package init?(key: [UInt8]) {
        guard [16, 24, 32].contains(key.count) else { return nil }
        self.key = Secret(key)
    }

    package mutating func update(_ bytes: [UInt8]) {
        pending += bytes
        let whole = max(0, pending.count - 1) / aesBlockSize * aesBlockSize
        guard whole > 0 else { return }
        _ = crypt(.cbc, Array(pending[..<whole]), &chain)
        pending.removeFirst(whole)
    }

    package func finished() -> [UInt8] {
        var noChain: [UInt8] = []
        // The subkeys K1 and K2: L = E(0), doubled once and twice.
        var subkey = Self.doubled(crypt(.ecb, [UInt8](repeating: 0, count: aesBlockSize), &noChain))
        defer { wipe(&subkey) }
        var last = pending
        if last.count < aesBlockSize {
            subkey = Self.doubled(subkey)
            last.append(0x80)
            last.append(contentsOf: repeatElement(0, count: aesBlockSize - last.count))
        }
        var chain = chain
        return crypt(.cbc, zip(last, subkey).map { $0 ^ $1 }, &chain)
    }

    private func crypt(_ mode: AESMode, _ data: [UInt8], _ iv: inout [UInt8]) -> [UInt8] {
        var bytes = key.bytes
        defer { wipe(&bytes) }
        guard let result = aes(mode, key: bytes, iv: &iv, data, encrypt: true) else {
            preconditionFailure("whole blocks and a key that was checked")
        }
        return result
    }

    /// Multiplied by x in GF(2^128).
    private static func doubled(_ block: [UInt8]) -> [UInt8] {
        var result = block.indices.map { block[$0] << 1 | ($0 + 1 < block.count ? block[$0 + 1] >> 7 : 0) }
        if let top = block.first, top & 0x80 != 0 { result[result.count - 1] ^= 0x87 }
        return result
    }

    /// The saved form: key, chain and unfinished bytes. It is as secret as the key.
    package var saved: [UInt8] {
        var writer = WireWriter()
        writer.sized16(key.bytes)
        writer.raw(chain)
        writer.sized16(pending)
        return writer.bytes
    }

    package init?(saved: [UInt8]) {
        var reader = WireReader(saved)
        guard let key = try? reader.sized16(), let chain = try? reader.bytes(aesBlockSize),
            let pending = try? reader.sized16(max: aesBlockSize), reader.isAtEnd
        else { return nil }
        self.init(key: key)
        self.chain = chain
        self.pending = pending
    }
}
