// A profile's files as a Landlock ruleset.
import CSystem
import Glibc

extension Profile {
    /// Denies everything that this kernel's Landlock knows, grants the profile's files. Sockets in the abstract name space and
    /// processes outside are out of reach, where the kernel can do that (version 6).
    /// - Parameter version: Landlock's.
    func restrictFiles(_ version: Int32) throws(SandboxError) {
        let denied = Self.rights(version)
        let ruleset = csystem_landlock_ruleset(denied, version >= 6 ? Self.allScopes : 0)
        guard ruleset >= 0 else { throw .failed("Landlock", errno) }
        defer { close(ruleset) }
        for file in files {
            try step("access to \(file.path)", csystem_landlock_grant(ruleset, file.path, file.rights.rawValue & denied))
        }
        try step("Landlock", csystem_landlock_restrict(ruleset))
    }

    /// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL
    private static let allScopes: UInt64 = 1 << 0 | 1 << 1

    /// All access rights of a version: 13 at first, then REFER, TRUNCATE, IOCTL_DEV.
    private static func rights(_ version: Int32) -> UInt64 {
        var rights: UInt64 = 1 << 13 - 1
        if version >= 2 { rights |= 1 << 13 }
        if version >= 3 { rights |= 1 << 14 }
        if version >= 5 { rights |= 1 << 15 }
        return rights
    }
}
