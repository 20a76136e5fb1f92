// Whose turn it is at the chip: guests are served in proportion to their weights, measured in the chip's time, which is known only
// after a call. So each guest has a meter of what it used, divided by its weight, and the lowest meter is next.
import HostPolicy
import IPC
import SystemMap

/// Times are nanoseconds of a clock that only runs forward.
package struct FairShare: Sendable {
    /// How long the chip waits for a guest that has just been served and is far behind another that waits: one that asks again as soon
    /// as it has its answer shall not lose its share to one that always waits. It pays for that time.
    package static let patience = 10_000_000
    /// How far behind it must be.
    package static let lead = 10 * patience
    /// What a guest saves up, at most, while it does not ask: so one that asks seldom is next, and one that comes after hours does not
    /// have the chip for hours.
    package static let saved = second

    private struct Account {
        var share = DeviceShare()
        var meter = 0
        var operations = RateLimit()
        var keys = RateLimit()
        /// The end of the last call
        var servedAt: Int?

        mutating func charge(_ nanoseconds: Int) { meter += nanoseconds * DeviceShare().weight / max(1, share.weight) }
    }
    private var accounts: [GuestID: Account] = [:]
    /// The meter of the guest that was served last.
    private var floor = 0
    /// For whom the chip waits.
    private var reserved: (guest: GuestID, since: Int)?
    private static let second = 1_000_000_000

    package init() {}

    /// Whose turn it is, which begins now.
    /// - Parameter waiting: with what their policy gives them; who waits longest stands first.
    package mutating func next(_ waiting: [(guest: GuestID, share: DeviceShare)], at now: Int) -> Turn {
        settle(at: now)
        for (guest, share) in waiting {
            admit(guest, share, at: now)
            let meter = max(meter(guest), floor - Self.saved)
            accounts[guest]?.meter = meter
        }
        let pauses = waiting.map { accounts[$0.guest]?.operations.wait(at: now) ?? 0 }
        guard let best = waiting.indices.filter({ pauses[$0] == 0 }).min(by: { meter(waiting[$0].guest) < meter(waiting[$1].guest) })
        else { return .later(Self.milliseconds(pauses.min() ?? 0)) }
        let guest = waiting[best].guest
        if let favourite = favourite(before: meter(guest), at: now, except: waiting.map { $0.guest }) {
            reserved = (favourite.guest, now)
            return .later(Self.milliseconds(favourite.pause))
        }
        floor = meter(guest)
        _ = accounts[guest]?.operations.take(at: now)
        return .serve(best)
    }

    /// A call of the guest's ended, which took the chip so long.
    /// - Parameter inTurn: it had waited for its turn.
    package mutating func end(_ guest: GuestID, took nanoseconds: Int, at now: Int, inTurn: Bool) {
        accounts[guest, default: Account(meter: floor - Self.saved)].charge(nanoseconds)
        if inTurn { accounts[guest]?.servedAt = now }
    }

    /// Whether a call may be made that cannot wait for its turn.
    package mutating func takeOperation(_ guest: GuestID, _ share: DeviceShare, at now: Int) -> Bool {
        admit(guest, share, at: now)
        return accounts[guest]?.operations.take(at: now) ?? true
    }

    /// Whether the guest may have another key made.
    package mutating func takeKey(_ guest: GuestID, _ share: DeviceShare, at now: Int) -> Bool {
        admit(guest, share, at: now)
        return accounts[guest]?.keys.take(at: now) ?? true
    }

    package mutating func forget(_ guest: GuestID) { accounts[guest] = nil }

    private func meter(_ guest: GuestID) -> Int { accounts[guest]?.meter ?? floor - Self.saved }

    private mutating func admit(_ guest: GuestID, _ share: DeviceShare, at now: Int) {
        var account = accounts[guest] ?? Account(meter: floor - Self.saved)
        account.share = share
        account.operations.set(share.operationsPerSecond, per: Self.second, at: now)
        account.keys.set(share.keyGenerationsPerMinute, per: 60 * Self.second, at: now)
        accounts[guest] = account
    }

    /// Whoever the chip waited for pays for it.
    private mutating func settle(at now: Int) {
        guard let reserved else { return }
        self.reserved = nil
        accounts[reserved.guest]?.charge(min(now - reserved.since, Self.patience))
    }

    /// Who should be served before a guest with this meter, and will probably ask within the pause.
    private func favourite(before meter: Int, at now: Int, except waiting: [GuestID]) -> (guest: GuestID, pause: Int)? {
        for (guest, account) in accounts where meter - account.meter >= Self.lead && !waiting.contains(guest) {
            guard let servedAt = account.servedAt, now - servedAt < Self.patience else { continue }
            let pause = servedAt + Self.patience - now
            if account.operations.wait(at: now) <= pause { return (guest, pause) }
        }
        return nil
    }

    private static func milliseconds(_ nanoseconds: Int) -> Int32 { Int32(clamping: (nanoseconds + 999_999) / 1_000_000) }
}
