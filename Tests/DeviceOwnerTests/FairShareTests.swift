// Whose turn it is at the chip, on a clock of the test's own.
import HostPolicy
import IPC
import SystemMap
import Testing

@testable import DeviceOwner

private let millisecond = 1_000_000
private let second = 1000 * millisecond

/// Guests that call one chip. Each asks again `think` after its answer; the chip takes `cost` for a call.
private struct Simulation {
    struct Caller {
        let guest: GuestID
        let cost: Int
        var think = 0
        var share = DeviceShare()
        var leavesAt = Int.max
        var asksAt = 0
        var calls = 0
        var chipTime = 0
        /// The longest that it waited for an answer.
        var latency = 0
    }
    var callers: [Caller]
    private var fair = FairShare()
    private(set) var now = 0
    /// The guests in the order in which they were served.
    private(set) var order: [Int] = []

    init(_ callers: [Caller]) { self.callers = callers }

    private mutating func account(of caller: Int) -> FairShare.Account {
        fair.account(of: callers[caller].guest, at: now) { [callers] in callers[caller].share }
    }

    mutating func run(until end: Int) {
        while now < end {
            let waiting = callers.indices.filter { callers[$0].asksAt <= now && now < callers[$0].leavesAt }
                .sorted { callers[$0].asksAt < callers[$1].asksAt }
            let nextArrival = callers.map(\.asksAt).filter { $0 > now }.min() ?? end
            guard !waiting.isEmpty else {
                now = min(end, nextArrival)
                continue
            }
            switch fair.next(waiting.map { account(of: $0) }, at: now) {
            case .later(let milliseconds): now = min(now + Int(milliseconds) * millisecond, max(nextArrival, now + 1))
            case .serve(let index):
                let caller = waiting[index]
                now += callers[caller].cost
                fair.end(account(of: caller), took: callers[caller].cost, at: now, inTurn: true)
                order.append(caller)
                callers[caller].calls += 1
                callers[caller].chipTime += callers[caller].cost
                callers[caller].latency = max(callers[caller].latency, now - callers[caller].asksAt)
                callers[caller].asksAt = now + callers[caller].think
            }
        }
    }
}

struct FairShareTests {
    private static func guest(_ number: UInt8) -> GuestID { GuestID([UInt8](repeating: number, count: GuestID.size))! }
    private func caller(_ number: UInt8, _ cost: Int, think: Int = 0, weight: Int = 100, rate: Int = 0) -> Simulation.Caller {
        var share = DeviceShare()
        (share.weight, share.operationsPerSecond) = (weight, rate)
        return Simulation.Caller(guest: Self.guest(number), cost: cost, think: think, share: share)
    }

    @Test func theChipsTimeIsSharedNotTheCalls() {
        var simulation = Simulation([caller(1, 2 * second, think: millisecond), caller(2, 5 * millisecond, think: millisecond)])
        simulation.run(until: 200 * second)
        let (keys, signatures) = (simulation.callers[0], simulation.callers[1])
        // The second also pays for the moments between its calls.
        #expect((90...110).contains(keys.chipTime / second), "\(keys.chipTime / second)")
        #expect((70...100).contains(signatures.chipTime / second), "\(signatures.chipTime / second)")
        #expect(signatures.latency <= 2 * second + 10 * millisecond, "at most one call of the other stands before one of its own")
    }

    @Test func weightsDivideTheTime() {
        var simulation = Simulation([
            caller(1, 100 * millisecond, think: millisecond, weight: 300), caller(2, 30 * millisecond, think: millisecond, weight: 100),
        ])
        simulation.run(until: 400 * second)
        #expect((270...310).contains(simulation.callers[0].chipTime / second), "\(simulation.callers[0].chipTime / second)")
    }

    @Test func oneAmongManyGreedyOnesIsNext() {
        var seldom = caller(10, millisecond, think: 100 * millisecond)
        seldom.asksAt = 100 * millisecond
        var simulation = Simulation((1...9).map { caller($0, second, think: millisecond) } + [seldom])
        simulation.run(until: 300 * second)
        #expect(simulation.callers[9].latency <= second + millisecond * 10, "only what runs already stands before it")
        let turns = simulation.order.indices.filter { simulation.order[$0] == 9 }
        #expect(zip(turns, turns.dropFirst()).allSatisfy { $1 - $0 <= 2 })
    }

    @Test func anIdleTimeSavesLittleUp() {
        var late = caller(2, 10 * millisecond, think: millisecond)
        late.asksAt = 100 * second
        var simulation = Simulation([caller(1, 10 * millisecond), late])
        simulation.run(until: 110 * second)
        let second = simulation.order.suffix(400)
        #expect((180...220).contains(second.count { $0 == 1 }))
    }

    @Test func theChipWaitsOnlyAMomentForOneThatHasGone() {
        var leaving = caller(2, millisecond, think: millisecond)
        leaving.leavesAt = 10 * second
        var simulation = Simulation([caller(1, second), leaving])
        simulation.run(until: 60 * second)
        #expect(simulation.callers[0].chipTime >= 54 * second)
    }

    @Test func whoLetsTheChipWaitPaysForIt() {
        var simulation = Simulation([caller(1, second), caller(2, millisecond / 10, think: 9 * millisecond)])
        simulation.run(until: 100 * second)
        #expect(simulation.callers[0].chipTime >= 45 * second, "half of the time, however little the other makes of its half")
    }

    @Test func aRateHoldsOnAnIdleChip() {
        var simulation = Simulation([caller(1, millisecond, rate: 50)])
        simulation.run(until: 10 * second)
        #expect((500...550).contains(simulation.callers[0].calls))
    }

    @Test func aRateOfOneGuestDelaysNobodyElse() {
        var simulation = Simulation([caller(1, millisecond, rate: 1), caller(2, millisecond)])
        simulation.run(until: 10 * second)
        #expect(simulation.callers[0].calls <= 11)
        #expect(simulation.callers[1].calls >= 9900)
    }

    // MARK: Buckets

    @Test func aBucketHoldsAPeriodsTokensAndFillsEvenly() {
        var bucket = RateLimit()
        bucket.set(6, per: 60, at: 1000)
        #expect((0..<7).map { _ in bucket.take(at: 1000) } == [true, true, true, true, true, true, false])
        #expect(bucket.wait(at: 1000) == 10)
        #expect([1009, 1010, 1010].map { bucket.take(at: $0) } == [false, true, false])
        #expect((0..<7).map { _ in bucket.take(at: 5000) } == [true, true, true, true, true, true, false])
    }

    @Test func aNewRateCountsAtOnce() {
        var bucket = RateLimit()
        #expect((0..<1000).map { _ in bucket.take(at: 5) }.allSatisfy { $0 }, "none is no limit")
        bucket.set(1, per: 60, at: 5)
        #expect([5, 6].map { bucket.take(at: $0) } == [true, false])
        bucket.set(60, per: 60, at: 6)
        #expect([10].map { bucket.take(at: $0) } == [true])
        bucket.set(0, per: 60, at: 10)
        #expect(bucket.wait(at: 10) == 0)
    }

    @Test func keysAreCountedForEachGuestByItself() {
        var fair = FairShare()
        var share = DeviceShare()
        share.keyGenerationsPerMinute = 2
        let accounts = (1...2).map { number in fair.account(of: Self.guest(number), at: 0) { [share] in share } }
        #expect((0..<3).map { _ in fair.takeKey(accounts[0], at: 0) } == [true, true, false])
        #expect([0].map { fair.takeKey(accounts[1], at: $0) } == [true])
        #expect([30, 31].map { fair.takeKey(accounts[0], at: $0 * second) } == [true, false])
    }
}
