// Secret bytes, constant-time comparison and the system's random numbers.
import CCrypto
import Glibc

/// Secret bytes that never change: wiped when dropped, compared in constant time, never printed.
package final class Secret: Sendable {
    // SAFETY: written once in init, only read until deinit, and never handed out.
    private nonisolated(unsafe) let storage: UnsafeMutableRawBufferPointer

    package static let empty = Secret([])

    /// Takes a copy; the caller still owns (and may `wipe`) its own array.
    package init(_ bytes: [UInt8]) {
        storage = .allocate(byteCount: bytes.count, alignment: 1)
        storage.copyBytes(from: bytes)
    }

    deinit {
        OPENSSL_cleanse(storage.baseAddress, storage.count)
        storage.deallocate()
    }

    package var count: Int { storage.count }
    package var isEmpty: Bool { storage.isEmpty }

    /// A copy, to hand to the functions of this module.
    package var bytes: [UInt8] { Array(storage) }
}

extension Secret: Equatable {
    package static func == (a: Secret, b: Secret) -> Bool {
        a.count == b.count && CRYPTO_memcmp(a.storage.baseAddress, b.storage.baseAddress, a.count) == 0
    }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "Secret(\(count) bytes)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// Overwrites the array's own storage with zeros. An array that shares its storage with another
/// is copied first, so wipe the last owner.
package func wipe(_ bytes: inout [UInt8]) {
    bytes.withUnsafeMutableBytes { OPENSSL_cleanse($0.baseAddress, $0.count) }
}

/// As many bytes as asked for, that a function writes: to the stack, where none of them stays. (Array(repeating:count:) looks its type up
/// each time, which costs as much as a block of SHA-256.)
func writtenBytes(_ count: Int, by write: (UnsafeMutablePointer<UInt8>) -> Void) -> [UInt8] {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: count) { buffer in
        guard let start = buffer.baseAddress else { return [] }
        write(start)
        defer { OPENSSL_cleanse(start, count) }
        return Array(buffer[..<count])
    }
}

/// Equality in a time that depends on the lengths only.
package func constantTimeEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
}

/// Bytes from the kernel's generator (getrandom(2)). The process keeps no generator state of its own.
package func randomBytes(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    bytes.withUnsafeMutableBytes { fillRandom($0) }
    return bytes
}

/// Fills `buffer`. Without random numbers nothing here is safe, so a kernel that refuses ends the process.
package func fillRandom(_ buffer: UnsafeMutableRawBufferPointer) {
    var done = 0
    while done < buffer.count {
        let read = getrandom(buffer.baseAddress! + done, buffer.count - done, 0)
        if read < 0 {
            precondition(errno == EINTR, "getrandom failed")
        } else {
            done += read
        }
    }
}
