// What /proc says about a process (proc(5)).
import Glibc
import GuestIdentity

struct ProcessFacts {
    let pid: pid_t
    let name: String
    /// Resident memory in kB
    let memory: Int
    /// Time on processors, in milliseconds
    let processorTime: Int
    /// Seconds since it was started
    let age: Int

    /// nil: there is no such process.
    init?(_ pid: pid_t) {
        guard let status = Self.text("/proc/\(pid)/stat"), let close = status.lastIndex(of: ")"), let open = status.firstIndex(of: "("),
            open < close, let up = Self.text("/proc/uptime")?.split(separator: ".").first.flatMap({ Int($0) })
        else { return nil }
        // Behind the name: state, ppid, …; utime and stime are the 14th and 15th of all, starttime is the 22nd, rss the 24th.
        let fields = status[status.index(after: close)...].split(separator: " ").map { Int($0) ?? 0 }
        let ticks = max(1, sysconf(Int32(_SC_CLK_TCK)))
        guard fields.count > 21 else { return nil }
        self.pid = pid
        name = String(status[status.index(after: open)..<close])
        memory = fields[21] * Int(getpagesize()) / 1024
        processorTime = (fields[11] + fields[12]) * 1000 / ticks
        age = max(0, up - fields[19] / ticks)
    }

    /// Processes that it started and that live.
    static func children(of pid: pid_t) -> [pid_t] {
        (text("/proc/\(pid)/task/\(pid)/children") ?? "").split(separator: " ").compactMap { pid_t($0) }
    }

    private static func text(_ path: String) -> String? {
        guard let bytes = try? Files.read(path, max: 1 << 16) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    var json: JSON {
        .object([("pid", .number(Int(pid))), ("memory-kB", .number(memory)), ("processor-ms", .number(processorTime)), ("age-seconds", .number(age))])
    }
}
