// The log of an instance with a directory of its own: what its services say on standard error goes there too, with the time.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

extension Instance {
    /// Where `paratpmctl run` keeps what it and its services said; the system-wide instance has the journal.
    var logFile: String { stateDirectory + "/log" }
}

/// From here on standard error of this process and of its children is copied by a child of its own, which ends after the last
/// of them.
final class InstanceLog {
    private let console: Descriptor
    private let copier: pid_t

    init(_ instance: Instance) throws(Failure) {
        let path = instance.logFile
        let console = Descriptor(owning: csystem_fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3))
        guard console.raw >= 0, let (reader, writer) = pipe() else { throw .system(.software, "cannot make a pipe") }
        let child = csystem_fork()
        if child == 0 {
            dup2(console.raw, STDERR_FILENO)
            guard csystem_close_from(3, UInt32(reader.raw)) == 0 else { _exit(EX_OSERR) }
            var copier = Copier(path)
            copier.run(reader.raw)
        }
        guard child > 0, dup2(writer.raw, STDERR_FILENO) >= 0 else { throw .system(.software, "cannot start the log") }
        self.console = console
        copier = child
        LogSink.look()
    }

    /// When all children have ended: what they said is in the log, and standard error is what it was.
    func end() {
        dup2(console.raw, STDERR_FILENO)
        while waitpid(copier, nil, 0) < 0 && errno == EINTR {}
    }
}

/// A pipe's two ends.
func pipe() -> (reader: Descriptor, writer: Descriptor)? {
    var raws: [Int32] = [-1, -1]
    guard Glibc.pipe(&raws) == 0 else { return nil }
    for raw in raws { _ = csystem_fcntl(raw, F_SETFD, FD_CLOEXEC) }
    return (Descriptor(owning: raws[0]), Descriptor(owning: raws[1]))
}

private struct Copier {
    /// One former log is kept beside the log; each has at most this many bytes, and a line.
    private static let sizeMax: off_t = 4 << 20

    private let path: String
    private var rest: [UInt8] = []

    init(_ path: String) { self.path = path }

    /// Until nobody is there any more who could say something.
    mutating func run(_ source: Int32) -> Never {
        csystem_set_name("paratpmctl-log")
        // A signal to the whole group is for the others, whose last words are still to come.
        for number in [SIGINT, SIGTERM, SIGHUP] { signal(number, SIG_IGN) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(source, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { _exit(0) }
            _ = write(STDERR_FILENO, buffer, count)
            rest += buffer[..<count]
            takeLines()
        }
    }

    private mutating func takeLines() {
        guard let end = rest.lastIndex(of: 0x0A) else { return }
        let lines = rest[...end].split(separator: 0x0A).map { LogEntry.time(time(nil)) + " " + String(decoding: $0, as: UTF8.self) + "\n" }
        rest.removeSubrange(...end)
        append(Array(lines.joined().utf8))
    }

    private func append(_ bytes: [UInt8]) {
        var status = stat()
        if stat(path, &status) == 0, status.st_size > Self.sizeMax { rename(path, path + ".1") }
        let raw = csystem_open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o600)
        guard raw >= 0 else { return }
        let file = Descriptor(owning: raw)
        _ = write(file.raw, bytes, bytes.count)
    }
}
