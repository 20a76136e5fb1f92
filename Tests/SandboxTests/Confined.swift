// Runs paratpm-confined, the process that tries things.
import CSystem
import Glibc
import RunningService
import SystemMap

struct Confined {
    struct Failure: Error { let output: String }

    let directory: TemporaryInstance

    init() throws {
        directory = try TemporaryInstance()
        for name in ["registry", "rules", "device", "sockets"] { mkdir("\(directory.path)/\(name)", 0o700) }
        for name in ["chip-node", "proxy", "precious"] { close(csystem_open("\(directory.path)/\(name)", O_CREAT, 0o700)) }
    }

    /// Where the build put a program: beside the test bundle, or below the package.
    static func program(_ name: String) -> String {
        let bundle = CommandLine.arguments[0].split(separator: "/").dropLast().joined(separator: "/")
        let besides = "/\(bundle)/\(name)"
        if access(besides, X_OK) == 0 { return besides }
        let package = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return "/\(package)/.build/debug/\(name)"
    }

    func outcomes(_ mode: String, _ role: ConfinedRole) throws -> [(name: String, outcome: String)] {
        let (status, output) = try run([mode, role.rawValue, directory.path])
        guard status == 0 else { throw Failure(output: output) }
        return output.split(separator: "\n").map { line in
            // "mmap PROT_EXEC signal 31": the outcome is a word, or two of which the first is "signal".
            let words = line.split(separator: " ").map(String.init)
            let count = words.dropLast().last == "signal" ? 2 : 1
            return (words.dropLast(count).joined(separator: " "), words.suffix(count).joined(separator: " "))
        }
    }

    /// Runs it to its end.
    func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let log = directory.path + "/output"
        let path = Self.program("paratpm-confined")
        let file = csystem_open(log, O_RDWR | O_CREAT | O_TRUNC, 0o600)
        let null = csystem_open("/dev/null", O_RDWR, 0)
        defer {
            close(file)
            close(null)
        }
        var argv = ([path] + arguments).map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        let pid = csystem_spawn(path, &argv, environ, [null, file, file], [0, 1, 2], 3, 0)
        var status: Int32 = 0
        guard pid > 0, waitpid(pid, &status, 0) == pid else { throw Failure(output: "\(path) does not start") }
        var output = [UInt8](repeating: 0, count: 1 << 16)
        let count = pread(file, &output, output.count, 0)
        return (status & 0x7F != 0 ? -1 : status >> 8 & 0xFF, String(decoding: output[..<max(0, count)], as: UTF8.self))
    }
}
