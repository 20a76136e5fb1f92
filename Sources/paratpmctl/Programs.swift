// Where the other executables are: ours beside this one, and the real swtpm for the simulated chip.
import Glibc
import GuestIdentity
import IPC
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

    /// Runs a program of the system's, found on PATH, and waits for its end.
    static func execute(_ arguments: [String]) throws(Failure) {
        let name = arguments.first ?? ""
        var pid: pid_t = 0
        let error = withCStrings(arguments) { posix_spawnp(&pid, name, nil, nil, $0, environ) }
        guard error == 0 else { throw .system(.unavailable, "cannot start \(name)", errno: error) }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else { throw Failure(.unavailable, "\(arguments.joined(separator: " ")) failed; its own messages say why") }
    }

    /// Starts a program of the system's, found on PATH, whose standard output is to be read.
    static func start(_ arguments: [String]) throws(Failure) -> (child: pid_t, output: Descriptor) {
        guard let (reader, writer) = pipe() else { throw .system(.software, "cannot make a pipe") }
        let name = arguments.first ?? ""
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, writer.raw, STDOUT_FILENO)
        var pid: pid_t = 0
        let error = withCStrings(arguments) { posix_spawnp(&pid, name, &actions, nil, $0, environ) }
        guard error == 0 else { throw .system(.unavailable, "cannot start \(name)", errno: error) }
        return (pid, reader)
    }

    /// What such a program says.
    static func output(_ arguments: [String]) throws(Failure) -> String {
        let (child, output) = try start(arguments)
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while case let count = read(output.raw, &buffer, buffer.count), count > 0 { bytes += buffer[..<count] }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else { throw Failure(.unavailable, "\(arguments.joined(separator: " ")) failed; its own messages say why") }
        return String(decoding: bytes, as: UTF8.self)
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
