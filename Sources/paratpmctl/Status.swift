// `paratpmctl status`: the processes, the chip and the guests, once or again and again.
import ArgumentParser
import Glibc
import GuestIdentity
import IPC
import SystemMap

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the services, the chip with its limits and its load, and the guests.",
        discussion: """
            The load is the part of the time in which the chip worked for guests: since paratpm-device was started, and with --watch \
            since the time before. Exit status: 0 when all services answer, 69 otherwise.
            """)

    @OptionGroup var options: InstanceOptions
    @OptionGroup var output: OutputOptions
    @Flag(help: "Show it again and again: on a terminal in the same place.")
    var watch = false
    @Option(help: ArgumentHelp("Seconds between two times.", valueName: "seconds"))
    var interval: UInt32 = 2
    @Option(help: ArgumentHelp("With --watch: how many times (else until it is interrupted).", valueName: "number"))
    var count: Int?

    func validate() throws {
        guard interval > 0, count.map({ $0 > 0 }) ?? true else { throw ValidationError("--interval and --count begin with 1.") }
    }

    func run() throws {
        var former: Snapshot?
        var left = watch ? count : 1
        while true {
            let now = Snapshot(options.instance)
            show(now, since: former)
            left = left.map { $0 - 1 }
            if left == 0 { return try end(now) }
            former = now
            sleep(interval)
        }
    }

    private func end(_ last: Snapshot) throws {
        guard last.isWhole else { throw ArgumentParser.ExitCode(EX_UNAVAILABLE) }
    }

    private func show(_ now: Snapshot, since former: Snapshot?) {
        if output.json { print(now.json(since: former)) } else if watch && Terminal.isThere { Terminal.redraw(now.text(since: former)) } else {
            if former != nil { print() }
            now.text(since: former).forEach { print($0) }
        }
        fflush(nil)
    }
}

extension Snapshot {
    func text(since former: Snapshot?) -> [String] {
        var lines: [String] = []
        for service in services {
            lines.append("paratpm-\(service.service.rawValue): \(service.headline)")
            lines += service.lines.map { "  \($0.key): \($0.value)" }
            if service.service == .device, let load = load(since: former) { lines.append("  load: \(load) %") }
        }
        if let problem { return lines + ["guests: \(Terminal.coloured(problem, .red))"] }
        guard !guests.isEmpty else { return lines + ["no guests"] }
        let heading = ["GUEST", "STATE", "BOOTS", "LOCALITY", "PCR CHANGES", "REQUESTS", "CHIP ms", "QUEUED", "kB"]
        return lines + table([heading] + guests.map(\.row))
    }

    func json(since former: Snapshot?) -> JSON {
        .object([
            ("directory", .string(instance.stateDirectory)),
            ("services", .object(services.map { ($0.service.rawValue, $0.json) })),
            ("load-percent", load(since: former).map { .number($0) } ?? .null),
            ("guests", .array(guests.map { .object($0.json) })),
        ] + (problem.map { [("problem", .string($0))] } ?? []))
    }
}

extension ServiceState {
    fileprivate var headline: String {
        if let problem { return Terminal.coloured("down", .red) + " (\(problem))" }
        let facts = process.map { ", process \($0.pid), \($0.memory) kB, \($0.processorTime) ms of processors, for \($0.age) s" }
        return Terminal.coloured("up", .green) + (facts ?? "")
    }

    fileprivate var json: JSON {
        let state: [(String, JSON)] = [("up", .bool(problem == nil)), ("process", process?.json ?? .null)]
        return .object(state + (problem.map { [("problem", .string($0))] } ?? lines.map { ($0.key, .string($0.value)) }))
    }
}

extension GuestState {
    fileprivate var row: [String] {
        let keys = ["boots", "locality", "changes", "requests"].map { facts[$0] ?? "-" }
        return [registration.name.text, state] + keys + [String(chipMilliseconds), facts["queued"] ?? "-", door == nil ? "-" : String(memory)]
    }
}

/// An IPC error in words.
func explain(_ error: IPCError) -> String {
    switch error {
    case .disconnected: "it closed the connection"
    case .malformed: "its answer does not decode: paratpmctl and the service are of different versions"
    case .status(.notPermitted): "not permitted: run as root, or as the service's own user"
    case .status(let status): "it refused, with status 0x" + String(status.rawValue, radix: 16)
    case .system(ENOENT), .system(ECONNREFUSED): "not running"
    case .system(let code): describe(errno: code)
    case .timeout: "no answer in time"
    }
}
