// Measuring: the same operation on several TPMs in turn, and the quantiles of what it took.
import TPMWire

/// Quantiles, in microseconds.
struct Times {
    let p50: Double
    let p99: Double

    /// - Parameter nanoseconds: at least one.
    init(_ nanoseconds: [Int64]) {
        let sorted = nanoseconds.sorted()
        func quantile(_ q: Double) -> Double { Double(sorted[min(sorted.count - 1, Int(q * Double(sorted.count)))]) / 1000 }
        p50 = quantile(0.5)
        p99 = quantile(0.99)
    }
}

struct Row {
    let name: String
    let code: TPMCommandCode
    /// In the order of the TPMs.
    let times: [Times]
}

/// One operation on all TPMs, round by round in turn (and another one first each time), so that whatever else the
/// machine does falls on all alike.
func measure(_ operation: Operation, on tpms: [TPMClient]) throws(BenchError) -> Row {
    var prepared: [Prepared] = []
    for tpm in tpms { prepared.append(try operation.prepare(tpm)) }
    var samples = [[Int64]](repeating: [], count: tpms.count)
    for round in -operation.warmUp..<operation.rounds {
        for turn in tpms.indices {
            let i = (turn + max(0, round)) % tpms.count
            let taken = try time(prepared[i], round, tpms[i], operation.code)
            if round >= 0 { samples[i].append(taken) }
        }
    }
    for (tpm, prepared) in zip(tpms, prepared) {
        for object in prepared.objects { try tpm.flush(object) }
    }
    return Row(name: operation.name, code: operation.code, times: samples.map { Times($0) })
}

private func time(_ prepared: Prepared, _ round: Int, _ tpm: TPMClient, _ code: TPMCommandCode) throws(BenchError) -> Int64 {
    let command = prepared.command(round)
    for message in prepared.before { _ = try tpm.run(message) }
    let start = Clock.now()
    let response = try tpm.exchange(command)
    let taken = Clock.now() - start
    let message = try tpm.decoded(response, of: code)
    if prepared.flushes { try tpm.flush(try tpm.handle(of: message)) }
    return taken
}
