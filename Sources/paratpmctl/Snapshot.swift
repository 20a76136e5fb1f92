// What the services and /proc say at one moment: of the services themselves, of the chip, of the guests.
import Glibc
import GuestIdentity
import IPC
import SystemMap

struct ServiceState {
    /// Seconds that a service has to answer.
    private static let patience = 5

    let service: ServiceName
    private(set) var process: ProcessFacts?
    private(set) var lines: [(key: String, value: String)] = []
    /// Why it says nothing.
    private(set) var problem: String?
    /// Of each guest, what it knows: key and value.
    private(set) var guests: [GuestID: [String: String]] = [:]

    init(_ service: ServiceName, _ instance: Instance) {
        self.service = service
        do throws(IPCError) {
            let channel = try Channel.connect(instance.socket(service), timeout: Self.patience)
            process = Peer(of: channel.descriptor.raw).flatMap { ProcessFacts($0.pid) }
            lines = try channel.call(StatusCall.self, Nothing()).lines
            // paratpm-policy keeps nothing of a guest (D8).
            if service != .policy { try readGuests(channel) }
        } catch {
            problem = explain(error)
        }
    }

    private mutating func readGuests(_ channel: Channel) throws(IPCError) {
        var former = Blob([])
        while true {
            let page = try channel.call(GuestStatusCall.self, former)
            for (id, report) in page.guests { guests[id] = Dictionary(report.lines.map { ($0.key, $0.value) }) { $1 } }
            guard page.hasMore, let last = page.guests.last else { return }
            former = Blob(last.id.bytes)
        }
    }

    func number(_ key: String) -> Int? { lines.first { $0.key == key }.flatMap { Int($0.value) } }
}

struct GuestState {
    let registration: Registration
    let door: ProcessFacts?
    let proxy: ProcessFacts?
    /// What paratpm-pcr and paratpm-device know of it.
    let facts: [String: String]

    init(_ registration: Registration, _ services: [ServiceState]) {
        self.registration = registration
        facts = services.reduce(into: [:]) { facts, service in
            facts.merge(service.guests[registration.guest] ?? [:]) { $1 }
        }
        let pid = facts["door"].flatMap { pid_t($0) }
        // The number may be another process's by now.
        door = pid.flatMap(ProcessFacts.init).flatMap { $0.name.hasPrefix(Role.guest.rawValue) || $0.name.hasPrefix("swtpm") ? $0 : nil }
        let spawners = door.map { ProcessFacts.children(of: $0.pid) } ?? []
        proxy = spawners.flatMap(ProcessFacts.children).lazy.compactMap(ProcessFacts.init).first
    }

    var state: String {
        guard door != nil else { return "stopped" }
        return facts["started"] == "yes" ? "started" : "running"
    }
    var memory: Int { (door?.memory ?? 0) + (proxy?.memory ?? 0) }
    var chipMilliseconds: Int { facts["chip-microseconds"].flatMap { Int($0) }.map { $0 / 1000 } ?? 0 }

    var json: [(String, JSON)] {
        let own: [(String, JSON)] = [
            ("name", .string(registration.name.text)), ("id", .string(registration.guest.hex)), ("state", .string(state)),
        ]
        let processes = [("door", door), ("proxy", proxy)].map { ($0.0, $0.1?.json ?? .null) }
        let numbers = facts.filter { $0.key != "door" && $0.key != "started" }.sorted { $0.key < $1.key }
        return own + processes + numbers.map { ($0.key, Int($0.value).map { .number($0) } ?? .string($0.value)) }
    }
}

struct Snapshot {
    let instance: Instance
    let services: [ServiceState]
    let guests: [GuestState]
    /// Why the guests cannot be listed.
    let problem: String?

    init(_ instance: Instance) {
        self.instance = instance
        let services = ServiceName.allCases.map { ServiceState($0, instance) }
        self.services = services
        do throws(Failure) {
            guests = try GuestEnrolment.list(instance).map { GuestState($0, services) }
            problem = nil
        } catch {
            guests = []
            problem = error.message
        }
    }

    var isWhole: Bool { problem == nil && services.allSatisfy { $0.problem == nil } }

    /// Per cent of the time that the chip was at work for us: since `former`, or since paratpm-device was started.
    func load(since former: Snapshot?) -> Int? {
        guard let device = services.first(where: { $0.service == .device }), let busy = device.number("chip-microseconds"),
            let process = device.process
        else { return nil }
        let before = former?.services.first { $0.service == .device }
        if let before, before.process?.pid == process.pid, let then = before.number("chip-microseconds"), let passed = former?.age(at: self) {
            return min(100, (busy - then) * 100 / max(1, passed))
        }
        return min(100, busy / 10_000 / max(1, process.age))
    }

    private let moment = nanoseconds() / 1000

    /// Microseconds between this snapshot and a later one
    private func age(at later: Snapshot) -> Int { later.moment - moment }
}
