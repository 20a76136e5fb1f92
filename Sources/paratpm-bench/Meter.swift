// What of a guest's command is whose, as the services count it: commands and time of the chip, calls of the policy checker.
import IPC
import SystemMap

/// On average, of one command
struct Cost {
    var chipCommands = 0.0
    var policyCalls = 0.0
}

final class Meter {
    private let device: Channel
    private let policy: Channel
    /// Few: the counts of a steady state are all alike.
    private static let rounds = 4

    init(_ instance: Instance) throws(BenchError) {
        do throws(IPCError) {
            device = try Channel.connect(instance.socket(.device))
            policy = try Channel.connect(instance.socket(.policy))
        } catch { throw BenchError("the services do not answer: \(error)") }
    }

    /// - Parameters:
    ///   - before: what each round needs, and is not counted.
    ///   - command: of the n-th round.
    func cost(before: (Int) throws(BenchError) -> Void, command: (Int) throws(BenchError) -> Void) throws(BenchError) -> Cost {
        var cost = Cost()
        for round in 0..<Self.rounds {
            try before(round)
            let (chip, calls) = try read()
            try command(round)
            let (chipAfter, callsAfter) = try read()
            cost.chipCommands += Double(chipAfter - chip) / Double(Self.rounds)
            cost.policyCalls += Double(callsAfter - calls) / Double(Self.rounds)
        }
        return cost
    }

    /// How long all the broker's commands took the chip until now.
    func chipMicroseconds() throws(BenchError) -> Int { try Self.value("chip-microseconds", of: device) }

    private func read() throws(BenchError) -> (chipCommands: Int, policyCalls: Int) {
        (try Self.value("commands", of: device), try Self.value("requests", of: policy))
    }

    private static func value(_ key: String, of service: Channel) throws(BenchError) -> Int {
        guard let report = try? service.call(StatusCall.self, Nothing()), let line = report.lines.first(where: { $0.key == key }),
            let value = Int(line.value)
        else { throw BenchError("a service does not say its \(key)") }
        return value
    }
}
