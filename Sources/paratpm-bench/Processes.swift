// The programs under measurement: started, looked at, ended.
import CSystem
import Glibc

final class RunningProgram {
    let pid: pid_t
    private var ended = false

    /// - Parameter output: where its standard output and error go.
    init(_ path: String, _ arguments: [String], output: String) throws(BenchError) {
        let null = csystem_open("/dev/null", O_RDONLY, 0)
        let file = csystem_open(output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        defer {
            close(null)
            close(file)
        }
        let argv = ([path] + arguments).map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        pid = csystem_spawn(path, argv, environ, [null, file, file], [0, 1, 2], 3, SIGTERM)
        guard pid > 0 else { throw BenchError("cannot start \(path)") }
    }

    deinit {
        guard !ended else { return }
        kill(pid, SIGTERM)
        waitpid(pid, nil, 0)
    }

    /// Waits for its end: whether it exited with 0.
    func succeeded() -> Bool {
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        ended = true
        return status == 0
    }

    /// Memory of the process and of all its descendants, in kilobytes.
    func memory() throws(BenchError) -> Memory {
        var sum = Memory()
        for process in [pid] + Self.descendants(of: pid) {
            guard let rollup = Self.text("/proc/\(process)/smaps_rollup"), !rollup.isEmpty else {
                throw BenchError("/proc/\(process)/smaps_rollup cannot be read: run this as root")
            }
            for line in rollup.split(separator: "\n") {
                let words = line.split(separator: " ")
                guard words.count >= 2, let value = Double(words[1]) else { continue }
                if words[0] == "Private_Dirty:" { sum.privateDirty += value }
                if words[0] == "Pss:" { sum.proportional += value }
            }
        }
        return sum
    }

    private static func descendants(of parent: pid_t) -> [pid_t] {
        children(of: parent).flatMap { [$0] + descendants(of: $0) }
    }

    private static func children(of parent: pid_t) -> [pid_t] {
        guard let directory = opendir("/proc") else { return [] }
        defer { closedir(directory) }
        var found: [pid_t] = []
        while let entry = readdir(directory) {
            // SAFETY: d_name is a C string inside the entry, which lives until the next readdir.
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            // proc(5): pid (name) state ppid …
            guard let pid = pid_t(name), let stat = text("/proc/\(pid)/stat"), let close = stat.lastIndex(of: ")") else { continue }
            let fields = stat[stat.index(after: close)...].split(separator: " ")
            if fields.count > 1, pid_t(fields[1]) == parent { found.append(pid) }
        }
        return found
    }

    private static func text(_ path: String) -> String? {
        let raw = csystem_open(path, O_RDONLY, 0)
        guard raw >= 0 else { return nil }
        defer { close(raw) }
        var buffer = [UInt8](repeating: 0, count: 8192)
        let count = read(raw, &buffer, buffer.count)
        return count < 0 ? nil : String(decoding: buffer.prefix(count), as: UTF8.self)
    }
}

struct Memory {
    var privateDirty = 0.0
    /// PSS: shared pages counted by their share.
    var proportional = 0.0
}
