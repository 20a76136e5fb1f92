// Small files that last: bounded reading without following links, and writing that is whole and durable or not at all.
import CSystem
import Glibc
import IPC
import SystemMap

package enum Files {
    /// The whole of a regular file; nil if there is none.
    /// - Parameter max: a larger file is damaged or foreign, and refused.
    package static func read(_ path: String, max: Int) throws(Failure) -> [UInt8]? {
        try readOwned(path, max: max)?.bytes
    }

    /// The same, and whose file it is.
    static func readOwned(_ path: String, max: Int) throws(Failure) -> (bytes: [UInt8], owner: uid_t)? {
        let raw = csystem_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
        guard raw >= 0 else {
            if errno == ENOENT { return nil }
            throw .system(.noInput, "open", path)
        }
        let file = Descriptor(owning: raw)
        var status = stat()
        guard fstat(file.raw, &status) == 0 else { throw .system(.io, "examine", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw Failure(.dataError, "\(path) is not a regular file; it was left alone") }
        guard status.st_size <= max else {
            throw Failure(.dataError, "\(path) is larger than such a file can be (\(status.st_size) bytes); it was left alone")
        }
        return (try contents(of: file, path, max: max), status.st_uid)
    }

    private static func contents(of file: Descriptor, _ path: String, max: Int) throws(Failure) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(file.raw, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .system(.io, "read", path) }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
            guard bytes.count <= max else { throw Failure(.dataError, "\(path) grows while it is read; it was left alone") }
        }
    }

    /// Writes a new file beside `path`, syncs it, gives it its name and syncs the directory.
    /// - Parameters:
    ///   - replacing: whether a file of that name may give way; otherwise it is an error.
    ///   - owner: the user that the file shall belong to, where that is not us.
    package static func write(
        _ path: String, _ bytes: [UInt8], mode: mode_t, replacing: Bool, owner: uid_t? = nil
    ) throws(Failure) {
        let (directory, name) = split(path)
        // No guest's name begins with a dot, so this is nobody's file.
        let temporary = "\(directory)/.\(name).new"
        unlink(temporary)
        do throws(Failure) {
            try create(temporary, bytes, mode: mode, owner: owner)
            // link(2) is the rename that never replaces.
            let named = replacing ? rename(temporary, path) : link(temporary, path)
            guard named == 0 else {
                if errno == EEXIST { throw Failure(.cannotCreate, "\(path) exists already") }
                throw .system(.cannotCreate, "create", path)
            }
            if !replacing { unlink(temporary) }
        } catch {
            unlink(temporary)
            throw error
        }
        try syncDirectory(directory)
    }

    private static func create(_ path: String, _ bytes: [UInt8], mode: mode_t, owner: uid_t?) throws(Failure) {
        let raw = csystem_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
        guard raw >= 0 else { throw .system(.cannotCreate, "create", path) }
        let file = Descriptor(owning: raw)
        var done = 0
        while done < bytes.count {
            // SAFETY: `done` is below the count, so the range is inside the array.
            let count = bytes.withUnsafeBytes { Glibc.write(file.raw, $0.baseAddress! + done, bytes.count - done) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw .system(.io, "write", path) }
            done += count
        }
        if let owner, fchown(file.raw, owner, gid_t.max) != 0 { throw .system(.cannotCreate, "give away", path) }
        guard fchmod(file.raw, mode) == 0, fsync(file.raw) == 0 else { throw .system(.io, "sync", path) }
    }

    /// Removes a file, durably. One that is not there is removed already.
    package static func remove(_ path: String) throws(Failure) {
        guard unlink(path) == 0 else {
            if errno == ENOENT { return }
            throw .system(.io, "remove", path)
        }
        try syncDirectory(split(path).directory)
    }

    /// Makes a directory and those above it that are missing (they get mode 0755).
    /// - Parameter mode: for the directory itself, if it is made now.
    package static func makeDirectory(_ path: String, mode: mode_t) throws(Failure) {
        if mkdir(path, mode) == 0 { return try syncDirectory(split(path).directory) }
        switch errno {
        case EEXIST:
            var status = stat()
            guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                throw Failure(.cannotCreate, "\(path) is in the way: a directory is needed there")
            }
        case ENOENT where split(path).directory != path:
            try makeDirectory(split(path).directory, mode: 0o755)
            guard mkdir(path, mode) == 0 || errno == EEXIST else { throw .system(.cannotCreate, "make the directory", path) }
            try syncDirectory(split(path).directory)
        default: throw .system(.cannotCreate, "make the directory", path)
        }
    }

    /// The names in a directory, in order; none if there is no such directory.
    package static func list(_ path: String) throws(Failure) -> [String] {
        guard let directory = opendir(path) else {
            if errno == ENOENT { return [] }
            throw .system(.noInput, "read the directory", path)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            // SAFETY: d_name is a C string inside the entry, which lives until the next readdir.
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private static func syncDirectory(_ path: String) throws(Failure) {
        let raw = csystem_open(path, O_RDONLY | O_DIRECTORY, 0)
        guard raw >= 0 else { throw .system(.io, "open", path) }
        let directory = Descriptor(owning: raw)
        guard fsync(directory.raw) == 0 else { throw .system(.io, "sync", path) }
    }

    private static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        let directory = path[..<slash]
        return (directory.isEmpty ? "/" : String(directory), String(path[path.index(after: slash)...]))
    }

    /// This process's executable, links resolved.
    package static func ownExecutable() -> String? {
        var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = path.withUnsafeMutableBufferPointer { buffer in
            // SAFETY: readlink writes no more than the buffer's size, and CChar has the layout of UInt8.
            buffer.withMemoryRebound(to: CChar.self) { $0.baseAddress.map { readlink("/proc/self/exe", $0, buffer.count) } ?? -1 }
        }
        return count > 0 ? String(decoding: path[..<count], as: UTF8.self) : nil
    }
}
