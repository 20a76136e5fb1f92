// The page on which paratpm-policy shows a guest's proxy the guest's policy. It is read-only in the proxy and changes under it, so
// that a running guest obeys a new policy from its next command on, and a command costs no more than to look whether it changed.
import IPC
import SystemMap
import Wire

package final class PolicyPage {
    // Record: u32 count and so many bytes: sized16 name, GuestPolicy.
    private static let size = 4096
    private static let copySize = SharedCopies.copySize(size)
    private let copies: SharedCopies

    /// Maps a page that paratpm-policy made.
    package convenience init?(_ descriptor: Descriptor) { self.init(descriptor, writable: false) }

    private init?(_ descriptor: Descriptor, writable: Bool) {
        guard let copies = SharedCopies(descriptor, size: Self.size, writable: writable) else { return nil }
        self.copies = copies
    }

    // MARK: In paratpm-policy

    /// A page, and its file for the proxy, sealed. nil when the system has no memory or no descriptors left.
    package static func make() -> (page: PolicyPage, file: Descriptor)? {
        guard let file = Descriptor.memoryFile("paratpm-policy", size: size), let page = PolicyPage(file, writable: true), file.seal() else { return nil }
        return (page, file)
    }

    /// The policy in force from now on.
    package func write(_ policy: GuestPolicy, of guest: GuestName) {
        var writer = WireWriter()
        writer.sized16(Array(guest.text.utf8))
        writer.value(policy)
        let bytes = writer.bytes
        precondition(bytes.count <= Self.copySize - 4, "a policy fits in a page")
        copies.write { copy in
            copy.storeBytes(of: UInt32(bytes.count), as: UInt32.self)
            bytes.withUnsafeBytes { source in
                if let base = source.baseAddress { (copy + 4).copyMemory(from: base, byteCount: source.count) }
            }
        }
    }

    // MARK: In the proxy

    /// Rises with every policy.
    package var generation: UInt32 { copies.sequence }

    /// nil: it is no policy that this version knows.
    package func read() -> (guest: GuestName, policy: GuestPolicy)? {
        guard let copy = copies.read(Array.init) else { return nil }
        let count = copy.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
        guard count <= Self.copySize - 4 else { return nil }
        var reader = WireReader(copy[4..<4 + Int(count)])
        guard let text = try? reader.text(max: 63), let guest = GuestName(text), let policy = try? reader.value(GuestPolicy.self),
            reader.isAtEnd
        else { return nil }
        return (guest, policy)
    }
}
