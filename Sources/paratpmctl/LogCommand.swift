// `paratpmctl log`: the events that services and doors tell of, from the journal, or from the log of an instance of one's own.
import ArgumentParser
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Show the events in the log: refusals, changes of policy and the like.",
        discussion: """
            The events are explained in docs/policy.md, and by journalctl -x. The system-wide instance's are in the journal; an instance \
            with a directory of its own has the file DIR/log.
            """)

    @OptionGroup var options: InstanceOptions
    @Option(help: "Only of this guest.") var guest: GuestName?
    @Option(help: "Only this event.", completion: .list(LogEvent.allCases.map(\.rawValue))) var event: LogEvent?
    @Option(help: ArgumentHelp("Only since then: 2026-11-23T12:00:00Z.", valueName: "time")) var since: String?
    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("Only so many, the last ones.", valueName: "number")) var lines: Int?
    @Flag(help: "All that was said, not only events.") var all = false
    @Flag(name: .shortAndLong, help: "Go on, until it is interrupted.") var follow = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard since.map({ $0.count == 20 && $0.hasSuffix("Z") && $0.contains("T") }) ?? true else {
            throw ValidationError("--since takes a time in UTC such as 2026-11-23T12:00:00Z.")
        }
        guard lines.map({ $0 >= 0 }) ?? true else { throw ValidationError("--lines takes a number.") }
    }

    func run() throws {
        var held: [LogEntry] = []
        var reader: any LogSource = options.instance.isSystem ? try Journal(follow: follow) : try LogFile(options.instance, follow: follow)
        while let entries = try reader.next() {
            let wanted = entries.filter(isWanted)
            // The last ones are known at the end of what is there.
            if lines != nil && !reader.isAtEnd { held += wanted } else {
                (held + wanted).suffix(lines ?? .max).forEach(show)
                held = []
            }
        }
        held.suffix(lines ?? .max).forEach(show)
    }

    private func isWanted(_ entry: LogEntry) -> Bool {
        (all || entry.event != nil) && (event == nil || entry.event == event?.rawValue) && (guest == nil || entry.guest == guest?.text)
            && (since.map { entry.time >= $0 } ?? true)
    }

    private func show(_ entry: LogEntry) {
        print(output.json ? entry.json.description : entry.line)
        fflush(nil)
    }
}

extension LogEvent: ExpressibleByArgument {}

/// Where log entries come from, some at a time.
private protocol LogSource {
    /// nil: there are no more, and none will come.
    mutating func next() throws(Failure) -> [LogEntry]?
    /// Whether all that was there at the beginning has come.
    var isAtEnd: Bool { get }
}

/// What journalctl says of our units.
private struct Journal: LogSource {
    private let output: Descriptor
    private let child: pid_t
    private var export = JournalExport()
    private(set) var isAtEnd = false

    init(follow: Bool) throws(Failure) {
        let arguments = ["journalctl", "--quiet", "--no-pager", "--output=export", "--unit=paratpm-*"] + (follow ? ["--follow", "--lines=all"] : [])
        (child, output) = try Programs.start(arguments)
    }

    mutating func next() throws(Failure) -> [LogEntry]? {
        if !isAtEnd {
            // Nothing for a while is the end of what is there.
            var polled = pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0)
            isAtEnd = poll(&polled, 1, 1000) == 0
            if isAtEnd { return [] }
        }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = read(output.raw, &buffer, buffer.count)
        if count > 0 { return export.take(buffer[..<count]) }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        guard status == 0 else { throw Failure(.unavailable, "journalctl failed; its own messages say why") }
        return nil
    }
}

/// The file that `paratpmctl run` writes, and its predecessor.
private struct LogFile: LogSource {
    private static let largest = 8 << 20
    private let path: String
    private let follow: Bool
    private var seen = 0
    private var node: ino_t = 0
    private(set) var isAtEnd = false

    init(_ instance: Instance, follow: Bool) throws(Failure) {
        path = instance.logFile
        self.follow = follow
        guard access(path, F_OK) == 0 else { throw Failure(.noInput, "\(path) is missing: paratpmctl run makes it") }
    }

    mutating func next() throws(Failure) -> [LogEntry]? {
        if isAtEnd {
            guard follow else { return nil }
            usleep(500_000)
        }
        var entries: [LogEntry] = []
        if !isAtEnd { entries += Self.entries(try Files.read(path + ".1", max: Self.largest) ?? []) }
        isAtEnd = true
        var status = stat()
        guard stat(path, &status) == 0 else { return entries }
        // Another file has come into its place.
        if status.st_ino != node || status.st_size < seen { (node, seen) = (status.st_ino, 0) }
        let bytes = try Files.read(path, max: Self.largest) ?? []
        let whole = (bytes.lastIndex(of: 0x0A) ?? -1) + 1
        guard whole > seen else { return entries }
        entries += Self.entries(Array(bytes[seen..<whole]))
        seen = whole
        return entries
    }

    private static func entries(_ bytes: [UInt8]) -> [LogEntry] {
        bytes.split(separator: 0x0A).compactMap { LogEntry(line: String(decoding: $0, as: UTF8.self)) }
    }
}
