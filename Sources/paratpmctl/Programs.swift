// Where the other executables are: ours beside this one, and the real swtpm for the simulated chip.
import Glibc
import GuestIdentity
import SystemMap

enum Programs {
    /// One of ours: beside paratpmctl, or in ../libexec/paratpm.
    static func own(_ role: Role) throws(Failure) -> String {
        guard let here = resolved("/proc/self/exe").map(directory(of:)) else { throw .system(.software, "/proc/self/exe") }
        let candidates = ["\(here)/\(role.rawValue)", "\(directory(of: here))/libexec/paratpm/\(role.rawValue)"]
        if let found = candidates.first(where: isExecutable) { return found }
        throw Failure(.unavailable, "\(role.rawValue) is neither in \(candidates.joined(separator: " nor "))"
            + ": build it, or install it beside paratpmctl")
    }

    /// The first swtpm on PATH that is not our drop-in: a link of that name to paratpm-guest.
    static func realSwtpm() throws(Failure) -> String {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        let candidates = path.split(separator: ":").map { "\($0)/swtpm" }.filter(isExecutable)
        if let found = candidates.first(where: { resolved($0)?.hasSuffix("/" + Role.guest.rawValue) == false }) { return found }
        throw Failure(.unavailable, "no swtpm on PATH to be the simulated chip\(candidates.isEmpty ? "" : " but our own drop-in")"
            + ": install the package swtpm, or name a chip with --chip, such as device:/dev/tpm0")
    }

    private static func isExecutable(_ path: String) -> Bool { access(path, X_OK) == 0 }

    private static func resolved(_ path: String) -> String? {
        guard let result = realpath(path, nil) else { return nil }
        defer { free(result) }
        return String(cString: result)
    }

    private static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }
}
