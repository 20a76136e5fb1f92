// What each guest has had of the chip since this process started, as paratpmctl status shows it.
import SystemMap

struct ChipUse {
    var requests = 0
    /// Commands of the chip
    var commands = 0
    var nanoseconds = 0

    mutating func add(_ before: ChipStatistics, _ after: ChipStatistics) {
        requests += 1
        commands += after.commands - before.commands
        nanoseconds += after.nanoseconds - before.nanoseconds
    }

    var lines: [(key: String, value: String)] {
        [("requests", String(requests)), ("chip-commands", String(commands)), ("chip-microseconds", String(nanoseconds / 1000))]
    }
}

extension Device {
    /// Runs one request on a guest's account.
    func charge<R, E>(_ guest: GuestID, _ request: () throws(E) -> R) throws(E) -> R {
        let before = chip.statistics
        defer { uses[guest, default: ChipUse()].add(before, chip.statistics) }
        return try request()
    }

    /// - Parameter queued: calls that wait for their turn.
    func guestStatus(after former: [UInt8], queued: [GuestID: Int]) -> GuestReports {
        GuestReports(uses.keys, after: former) { (uses[$0]?.lines ?? []) + [("queued", String(queued[$0] ?? 0))] }
    }
}
