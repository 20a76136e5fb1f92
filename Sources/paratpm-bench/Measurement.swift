// Measuring: the same operation on several TPMs in turn, and the quantiles of what it took.
import IPC
import TPMWire

/// Quantiles, in microseconds.
struct Times {
    let p50: Double
    let p99: Double

    /// - Parameter nanoseconds: at least one.
    init(_ nanoseconds: [Int]) {
        let sorted = nanoseconds.sorted()
        func quantile(_ q: Double) -> Double { Double(sorted[min(sorted.count - 1, Int(q * Double(sorted.count)))]) / 1000 }
        p50 = quantile(0.5)
        p99 = quantile(0.99)
    }
}

/// Rounds
private let turnLength = 10

struct Row {
    let name: String
    let code: TPMCommandCode
    /// In the order of the TPMs.
    let times: [Times]
    /// Of the guest's, in the steady state.
    let cost: Cost
    /// Where no two of the chip's commands are alike: what the guest's took, and what of it the chip. Microseconds, on average.
    let share: (guest: Double, chip: Double)?
}

/// One operation on all TPMs in turn (and another one first each time), so that whatever else the machine does falls on all alike.
/// A turn is several commands one behind the other, as a TPM's clients send them: after each single one the caches would hold other
/// TPMs, which no host has on its processor between two commands of a guest.
final class Series {
    private let operation: Operation
    /// The last of them is the guest's, whose costs the meter reads.
    private let tpms: [TPMClient]
    private let meter: Meter
    /// Nanoseconds
    private var samples: [[Int]]
    private var chipMicroseconds = 0
    private var cost = Cost()

    init(_ operation: Operation, on tpms: [TPMClient], _ meter: Meter) {
        self.operation = operation
        self.tpms = tpms
        self.meter = meter
        samples = [[Int]](repeating: [], count: tpms.count)
    }

    func run(lap: Int) throws(BenchError) {
        var prepared: [Prepared] = []
        for tpm in tpms { prepared.append(try operation.prepare(tpm)) }
        let rounds = lap * operation.rounds / operation.laps..<(lap + 1) * operation.rounds / operation.laps
        for (count, first) in stride(from: rounds.lowerBound - operation.warmUp, to: rounds.upperBound, by: turnLength).enumerated() {
            for turn in tpms.indices {
                let i = (turn + count) % tpms.count
                for round in first..<min(first + turnLength, rounds.upperBound) {
                    try measure(round, prepared[i], on: i, isWarmUp: round < rounds.lowerBound)
                }
            }
        }
        if lap == operation.laps - 1, let guest = tpms.last { cost = try meter.cost(of: operation, prepared[tpms.count - 1], on: guest) }
        for (tpm, prepared) in zip(tpms, prepared) {
            for object in prepared.objects { try tpm.flush(object) }
        }
    }

    private func measure(_ round: Int, _ prepared: Prepared, on tpm: Int, isWarmUp: Bool) throws(BenchError) {
        let isShared = operation.searchesPrimes && tpm == tpms.count - 1 && !isWarmUp
        let before = isShared ? try meter.chipMicroseconds() : 0
        let taken = try time(prepared, round, tpms[tpm], operation.code)
        if isShared { chipMicroseconds += try meter.chipMicroseconds() - before }
        if !isWarmUp { samples[tpm].append(taken) }
    }

    var row: Row {
        let rounds = Double(operation.rounds)
        let share = operation.searchesPrimes
            ? (guest: Double(samples[tpms.count - 1].reduce(0, +)) / 1000 / rounds, chip: Double(chipMicroseconds) / rounds) : nil
        return Row(name: operation.name, code: operation.code, times: samples.map { Times($0) }, cost: cost, share: share)
    }
}

extension Meter {
    fileprivate func cost(of operation: Operation, _ prepared: Prepared, on guest: TPMClient) throws(BenchError) -> Cost {
        try cost { (_) throws(BenchError) in
            for message in prepared.before { _ = try guest.run(message) }
        } command: { (round) throws(BenchError) in
            let message = try guest.decoded(try guest.exchange(prepared.command(operation.rounds + round)), of: operation.code)
            if prepared.flushes { try guest.flush(try guest.handle(of: message)) }
        }
    }
}

private func time(_ prepared: Prepared, _ round: Int, _ tpm: TPMClient, _ code: TPMCommandCode) throws(BenchError) -> Int {
    let command = prepared.command(round)
    for message in prepared.before { _ = try tpm.run(message) }
    let start = nanoseconds()
    let response = try tpm.exchange(command)
    let taken = nanoseconds() - start
    let message = try tpm.decoded(response, of: code)
    if prepared.flushes { try tpm.flush(try tpm.handle(of: message)) }
    return taken
}
