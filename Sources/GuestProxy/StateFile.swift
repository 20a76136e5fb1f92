// The bytes of the state file: whole reads, whole writes, and the barrier between them.
import CSystem
import Glibc

/// An open file or block device. Tests put one in its place that can lose power.
package class StateFile {
    /// How much of it is in memory at a time where all of it is read or cleared, in bytes: a proxy's start pays for every page.
    static let piece = 64 * 1024
    private let descriptor: Int32
    /// Measured before the process confined itself; an errno where that went wrong.
    private let measured: Result<(bytes: Int, isFixed: Bool), JournalError>

    /// - Parameter descriptor: open for reading and writing, and nobody else's to write; it stays the caller's.
    package init(descriptor: Int32) {
        self.descriptor = descriptor
        measured = Result { () throws(JournalError) in try Self.measure(descriptor) }
    }

    /// Bytes that the file had when this began, or the block device, whose size is not ours to choose.
    package func size() throws(JournalError) -> (bytes: Int, isFixed: Bool) { try measured.get() }

    private static func measure(_ descriptor: Int32) throws(JournalError) -> (bytes: Int, isFixed: Bool) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .io("read the size of", errno) }
        guard status.st_mode & S_IFMT == S_IFBLK else { return (Int(status.st_size), false) }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw .io("read the size of", errno) }
        return (Int(end), true)
    }

    /// Gives an empty file its full size, all zero, and takes the space for it.
    package func extend(to size: Int) throws(JournalError) {
        if csystem_fallocate(descriptor, size) == 0 { return }
        guard errno == EOPNOTSUPP else { throw .io("extend", errno) }
        try writeZeros(at: 0, count: size)
    }

    /// Exactly `count` bytes.
    package func read(at offset: Int, count: Int) throws(JournalError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            // SAFETY: `done` < `count`, the buffer's size, which also bounds the read.
            let read = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress! + done, count - done, off_t(offset + done)) }
            if read < 0, errno == EINTR { continue }
            guard read > 0 else { throw .io("read", read < 0 ? errno : EIO) }
            done += read
        }
        return bytes
    }

    package func write(_ bytes: [UInt8], at offset: Int) throws(JournalError) {
        var done = 0
        while done < bytes.count {
            // SAFETY: `done` < `count`, the buffer's size, which also bounds the write.
            let written = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, off_t(offset + done)) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw .io("write", written < 0 ? errno : EIO) }
            done += written
        }
    }

    package func writeZeros(at offset: Int, count: Int) throws(JournalError) {
        let zeros = [UInt8](repeating: 0, count: min(count, Self.piece))
        for start in stride(from: 0, to: count, by: zeros.count) {
            try write(count - start < zeros.count ? Array(zeros[..<(count - start)]) : zeros, at: offset + start)
        }
    }

    /// What was written is on the medium when this returns.
    package func synchronize() throws(JournalError) {
        guard fdatasync(descriptor) == 0 else { throw .io("synchronize", errno) }
    }
}
