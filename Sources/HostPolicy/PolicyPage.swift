// The page on which paratpm-policy shows a guest's proxy the guest's policy. It is read-only in the proxy and changes under it, so
// that a running guest obeys a new policy from its next command on, and a command costs no more than to look whether it changed.
import CSystem
import Glibc
import IPC
import SystemMap
import Wire

package final class PolicyPage {
    // File: u32 sequence; then two copies (csystem_copies_publish), each u32 count and so many bytes: sized16 name, GuestPolicy.
    private static let size = 4096
    private static let header = 64
    private static let copySize = (size - header) / 2
    private let memory: UnsafeMutableRawPointer

    /// Maps a page that paratpm-policy made.
    package convenience init?(_ descriptor: Descriptor) { self.init(descriptor, writable: false) }

    private init?(_ descriptor: Descriptor, writable: Bool) {
        let protection = PROT_READ | (writable ? PROT_WRITE : 0)
        let address = mmap(nil, Self.size, protection, MAP_SHARED, descriptor.raw, 0)
        guard let address, address != MAP_FAILED else { return nil }
        memory = address
    }
    deinit { munmap(memory, Self.size) }

    // SAFETY: every offset below is within `size`, which init mapped whole; paratpm-policy sealed the file's size.
    private var sequence: UnsafeMutablePointer<UInt32> { memory.assumingMemoryBound(to: UInt32.self) }
    private var copies: UnsafeMutableRawPointer { memory + Self.header }

    // MARK: In paratpm-policy

    /// A page, and its file for the proxy: sealed, so whoever receives it can map it but neither write nor resize it. nil when the
    /// system has no memory or no descriptors left.
    package static func make() -> (page: PolicyPage, file: Descriptor)? {
        let raw = csystem_memfd("paratpm-policy")
        guard raw >= 0 else { return nil }
        let file = Descriptor(owning: raw)
        // Our mapping comes before the seal, and is the last that may write.
        guard ftruncate(raw, off_t(size)) == 0, let page = PolicyPage(file, writable: true), csystem_seal(raw) == 0 else { return nil }
        return (page, file)
    }

    /// The policy in force from now on.
    package func write(_ policy: GuestPolicy, of guest: GuestName) {
        var writer = WireWriter()
        writer.sized16(Array(guest.text.utf8))
        writer.value(policy)
        let bytes = writer.bytes
        precondition(bytes.count <= Self.copySize - 4, "a policy fits in a page")
        let copy = copies + Int((sequence.pointee &+ 1) & 1) * Self.copySize
        copy.storeBytes(of: UInt32(bytes.count), as: UInt32.self)
        bytes.withUnsafeBytes { source in
            if let base = source.baseAddress { (copy + 4).copyMemory(from: base, byteCount: source.count) }
        }
        csystem_copies_publish(sequence)
    }

    // MARK: In the proxy

    /// Rises with every policy.
    package var generation: UInt32 { sequence.pointee }

    /// nil: it is no policy that this version knows.
    package func read() -> (guest: GuestName, policy: GuestPolicy)? {
        var copy = [UInt8](repeating: 0, count: Self.copySize)
        guard csystem_copies_read(sequence, copies, Self.copySize, &copy, copy.count, 100_000) == 0 else { return nil }
        let count = copy.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
        guard count <= Self.copySize - 4 else { return nil }
        var reader = WireReader(copy[4..<4 + Int(count)])
        guard let text = try? reader.text(max: 63), let guest = GuestName(text), let policy = try? reader.value(GuestPolicy.self),
            reader.isAtEnd
        else { return nil }
        return (guest, policy)
    }
}
