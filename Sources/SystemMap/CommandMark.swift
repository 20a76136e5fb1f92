// Whether a command of the guest was taken and has no answer yet: in memory that outlives the proxy, for the one that takes its place.
import Glibc
import IPC

/// A page that the door makes, hands to one proxy after another, and never looks at.
package struct CommandMark {
    // SAFETY: mapped until the process ends; the file's size is sealed, so the byte is always there.
    private let byte: UnsafeMutablePointer<UInt8>
    private static let taken: UInt8 = 1 << 0
    private static let framed: UInt8 = 1 << 1
    private static let size = 4096

    /// Its memory file; nil when the system has no memory or no descriptors left.
    package static func makeFile() -> Descriptor? {
        guard let file = Descriptor.memoryFile("paratpm-mark", size: size), file.sealSize() else { return nil }
        return file
    }

    /// Maps the page, for as long as the process lives.
    package init?(_ file: Descriptor) {
        let address = mmap(nil, Self.size, PROT_READ | PROT_WRITE, MAP_SHARED, file.raw, 0)
        guard let address, address != MAP_FAILED else { return nil }
        byte = address.assumingMemoryBound(to: UInt8.self)
    }

    /// Set before a command is read from the connection; cleared before its response is written.
    package var isTaken: Bool {
        get { byte.pointee & Self.taken != 0 }
        nonmutating set { set(Self.taken, newValue) }
    }
    /// Whether the last command, and so its response, has swtpm's header.
    package var isFramed: Bool {
        get { byte.pointee & Self.framed != 0 }
        nonmutating set { set(Self.framed, newValue) }
    }

    private func set(_ bit: UInt8, _ isSet: Bool) {
        if isSet { byte.pointee |= bit } else { byte.pointee &= ~bit }
    }
}
