// What came out, against the goals: as text and as JSON.
import TPMWire

/// Many of a kind at once.
struct Crowd {
    /// From exec to the first answered command: of a TPM that never ran before, and of one that did.
    let firstStart: Times
    let start: Times
    /// Of one, on average.
    let memory: Memory
}

struct Report {
    let operations: [Row]
    let stock: Crowd
    let guests: Crowd

    /// A measured value that should stay below a limit.
    private struct Goal {
        let value: Double
        let limit: Double
        let meaning: String
        var isMet: Bool { value <= limit }
        var verdict: String { isMet ? "met" : "MISSED" }
    }

    private func goal(_ row: Row) -> Goal {
        let (chip, stock, guest) = (row.times[0].p50, row.times[1].p50, row.times[2].p50)
        if let share = row.share { return Goal(value: share.guest, limit: 1.15 * share.chip + 60, meaning: "1.15 x its chip + 60") }
        switch (row.code, CommandTable.row(row.code)?.commandClass) {
        case (.createPrimary, _) where row.name == Operation.primaryAgain:
            return Goal(value: guest, limit: time(of: Operation.primaryFirst, 2) / 20, meaning: "1/20 of the first")
        case (.quote, _): return Goal(value: guest, limit: chip + 1000, meaning: "chip's quote + 1 ms")
        case (.unseal, _) where row.name == Operation.unsealGated:
            // One call more, of which each process's part goes through three sockets.
            return Goal(value: guest, limit: time(of: Operation.unsealUngated, 2) + 150, meaning: "ungated + 150 us")
        case (.pcrRead, _): return Goal(value: guest / stock, limit: 1.3, meaning: "1.3 x swtpm")
        case (.startAuthSession, _) where row.name.contains("NULL"), (_, .answered):
            return Goal(value: guest / stock, limit: 2, meaning: "2 x swtpm")
        default: return Goal(value: guest, limit: 1.15 * chip + 60, meaning: "1.15 x chip + 60 us")
        }
    }

    /// What the gate costs, whatever the times.
    private func costGoal(_ row: Row) -> Goal? {
        guard row.name == Operation.unsealGated, let ungated = operations.first(where: { $0.name == Operation.unsealUngated })?.cost else {
            return nil
        }
        let more = max(row.cost.chipCommands - ungated.chipCommands, row.cost.policyCalls - ungated.policyCalls - 1)
        return Goal(value: more, limit: 0, meaning: "ungated's, one call")
    }

    private func time(of name: String, _ tpm: Int) -> Double { operations.first { $0.name == name }?.times[tpm].p50 ?? 0 }

    private var memoryGoal: Goal {
        Goal(value: guests.memory.privateDirty, limit: stock.memory.privateDirty, meaning: "one swtpm's")
    }

    // MARK: Text

    var text: String {
        var lines = ["Round trips in microseconds, p50 / p99"]
        lines.append(columns("", "chip directly", "stock swtpm", "paratpm guest", "x swtpm", "goal", ""))
        for row in operations {
            let goal = goal(row)
            let cells = row.times.map { "\(short($0.p50)) / \(short($0.p99))" }
            lines.append(columns(
                row.name, cells[0], cells[1], cells[2], fixed(row.times[2].p50 / row.times[1].p50), goal.meaning, goal.verdict))
        }
        lines += ["", "One command of the guest, in the steady state"]
        lines.append(columns("", "chip commands", "policy's calls", "us: chip's / all", "", "goal", ""))
        for row in operations {
            let goal = costGoal(row)
            lines.append(columns(
                row.name, fixed(row.cost.chipCommands), fixed(row.cost.policyCalls),
                row.share.map { "\(short($0.chip)) / \(short($0.guest))" } ?? "", "", goal?.meaning ?? "", goal?.verdict ?? ""))
        }
        lines += ["", "One of \(Bench.crowd) at once"]
        lines.append(columns("", "", "stock swtpm", "paratpm guest", "x swtpm", "goal", ""))
        let (theirs, ours) = (stock.memory, guests.memory)
        lines.append(columns(
            "private dirty memory, kB", "", short(theirs.privateDirty), short(ours.privateDirty),
            fixed(ours.privateDirty / theirs.privateDirty), memoryGoal.meaning, memoryGoal.verdict))
        lines.append(columns(
            "PSS, kB", "", short(theirs.proportional), short(ours.proportional), fixed(ours.proportional / theirs.proportional), "", ""))
        for (name, time) in [("first start to answer, us", \Crowd.firstStart), ("later start to answer, us", \Crowd.start)] {
            let (theirs, ours) = (stock[keyPath: time].p50, guests[keyPath: time].p50)
            lines.append(columns(name, "", short(theirs), short(ours), fixed(ours / theirs), "", ""))
        }
        return lines.joined(separator: "\n")
    }

    private func columns(_ cells: String...) -> String {
        let widths = [34, 19, 19, 19, 8, 20, 6]
        let padded = zip(cells, widths).map { cell, width in cell + String(repeating: " ", count: max(1, width - cell.count)) }
        var line = padded.joined()
        while line.hasSuffix(" ") { line.removeLast() }
        return line
    }

    private func fixed(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let fraction = String(hundredths % 100)
        return "\(hundredths / 100)." + (fraction.count == 1 ? "0" : "") + fraction
    }

    private func short(_ value: Double) -> String { value < 100 ? fixed(value) : String(Int(value.rounded())) }

    // MARK: JSON

    var json: String {
        let rows = operations.map { row in
            let goal = goal(row)
            let names = ["chip", "swtpm", "guest"]
            let times = zip(names, row.times).map { "\"\($0)\": \(json($1))" }.joined(separator: ", ")
            let cost = "\"chip_commands\": \(fixed(row.cost.chipCommands)), \"policy_calls\": \(fixed(row.cost.policyCalls))"
            let share = row.share.map { "\"mean\": \(fixed($0.guest)), \"mean_of_its_chip\": \(fixed($0.chip)), " } ?? ""
            return "    {\"name\": \"\(row.name)\", \(times), \(cost), \(share)\"goal\": \"\(goal.meaning)\", \"met\": \(goal.isMet)}"
        }
        return """
            {
              "unit": "us",
              "operations": [
            \(rows.joined(separator: ",\n"))
              ],
              "crowd": {"size": \(Bench.crowd), "unit": "kB",
                "swtpm": \(json(stock)),
                "guest": \(json(guests)),
                "memory_goal_met": \(memoryGoal.isMet)}
            }
            """
    }

    private func json(_ times: Times) -> String { "{\"p50\": \(fixed(times.p50)), \"p99\": \(fixed(times.p99))}" }

    private func json(_ crowd: Crowd) -> String {
        let memory = crowd.memory
        return "{\"private_dirty\": \(fixed(memory.privateDirty)), \"pss\": \(fixed(memory.proportional)), "
            + "\"first_start_us\": \(json(crowd.firstStart)), \"start_us\": \(json(crowd.start))}"
    }
}
