// Users and groups by name.
import Glibc

/// /etc/passwd and /etc/group, read directly: a static executable has no other name services.
package enum UserDatabase {
    package struct User: Equatable {
        package let uid: uid_t
        package let gid: gid_t
    }

    package static func user(_ name: String) -> User? {
        let fields = line(name, in: "/etc/passwd")
        guard fields.count >= 4, let uid = UInt32(fields[2]), let gid = UInt32(fields[3]) else { return nil }
        return User(uid: uid, gid: gid)
    }

    package static func user(id: uid_t) -> User? {
        for fields in lines("/etc/passwd") where fields.count >= 4 && UInt32(fields[2]) == id {
            if let gid = UInt32(fields[3]) { return User(uid: id, gid: gid) }
        }
        return nil
    }

    package static func group(_ name: String) -> gid_t? {
        let fields = line(name, in: "/etc/group")
        return fields.count >= 3 ? UInt32(fields[2]) : nil
    }

    private static func line(_ name: String, in path: String) -> [String] {
        lines(path).first { $0.first == name } ?? []
    }

    private static func lines(_ path: String) -> [[String]] {
        guard let bytes = try? Files.read(path, max: 1 << 20) else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        }
    }
}
