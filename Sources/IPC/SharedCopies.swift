// A memory file in which one process writes a record and others read it: of its two copies one is whole at any time.
import CSystem
import Glibc

/// File: u32 sequence and, up to `header`, what else its owner puts there; then two copies of the record, of which number `sequence & 1` counts
/// (csystem_copies_publish).
package struct SharedCopies: ~Copyable {
    package static let header = 64
    /// The file's first bytes, of which there are `size`.
    package let memory: UnsafeMutableRawPointer
    private let size: Int

    /// The size of each copy in a file of that size.
    package static func copySize(_ size: Int) -> Int { (size - header) / 2 }

    /// Maps a file of that size; nil: it cannot be mapped, for writing perhaps.
    package init?(_ file: Descriptor, size: Int, writable: Bool) {
        let address = mmap(nil, size, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, file.raw, 0)
        guard let address, address != MAP_FAILED else { return nil }
        memory = address
        self.size = size
    }
    deinit { munmap(memory, size) }

    // SAFETY: the file was mapped whole, and its owner sealed its size: the sequence and both copies are within it.
    private var counter: UnsafeMutablePointer<UInt32> { memory.assumingMemoryBound(to: UInt32.self) }
    private var copies: UnsafeMutableRawPointer { memory + Self.header }
    private var stride: Int { Self.copySize(size) }

    /// Rises with every record.
    package var sequence: UInt32 { counter.pointee }

    /// A number of the last whole record, in native byte order, at a multiple of its size.
    package func number<N: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as _: N.Type) -> N {
        precondition(offset + MemoryLayout<N>.size <= stride)
        return (copies + Int(sequence & 1) * stride).load(fromByteOffset: offset, as: N.self)
    }

    /// What `take` makes of the last whole record; nil only while records follow one another faster than one can read.
    /// - Parameter take: may see a record that is not whole. What it makes of that is dropped.
    package func read<R>(_ take: (UnsafeRawBufferPointer) -> R) -> R? {
        for _ in 0..<100_000 {
            let now = csystem_copies_begin(counter)
            let result = take(UnsafeRawBufferPointer(start: copies + Int(now & 1) * stride, count: stride))
            if csystem_copies_unchanged(counter, now) != 0 { return result }
        }
        return nil
    }

    /// A new record: all of it, or should we die meanwhile none of it.
    /// - Parameter fill: writes it to the copy that nobody reads.
    package func write(_ fill: (UnsafeMutableRawPointer) -> Void) {
        fill(copies + Int((sequence &+ 1) & 1) * stride)
        csystem_copies_publish(counter)
    }
}

extension Descriptor {
    /// A new memory file of that size; nil when the system has no memory or no descriptors left. Whoever writes maps it before it is sealed.
    package static func memoryFile(_ name: String, size: Int) -> Descriptor? {
        let raw = csystem_memfd(name)
        guard raw >= 0 else { return nil }
        let file = Descriptor(owning: raw)
        return ftruncate(raw, off_t(size)) == 0 ? file : nil
    }

    /// From now on whoever receives the file can read and map it, and neither write nor resize it.
    package func seal() -> Bool { csystem_seal(raw) == 0 }

    /// From now on nobody can resize the file: what is mapped of it stays there.
    package func sealSize() -> Bool { csystem_seal_size(raw) == 0 }
}
