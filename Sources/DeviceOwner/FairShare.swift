// Whose turn it is at the chip: guests are served in proportion to their weights, measured in the chip's time, which is known only
// after a call. So each guest has a meter of what it used, divided by its weight, and the lowest meter is next.
import HostPolicy
import IPC
import SystemMap

/// Times are nanoseconds of a clock that only runs forward.
package struct FairShare {
    /// How long the chip waits for a guest that has just been served and is far behind another that waits: one that asks again as soon
    /// as it has its answer shall not lose its share to one that always waits. It pays for that time.
    package static let patience = 10_000_000
    /// How far behind it must be.
    package static let lead = 10 * patience
    /// What a guest saves up, at most, while it does not ask: so one that asks seldom is next, and one that comes after hours does not
    /// have the chip for hours.
    package static let saved = second

    /// What one guest has had.
    package final class Account {
        package let guest: GuestID
        private var weight = DeviceShare().weight
        fileprivate var meter: Int
        fileprivate var operations = RateLimit()
        fileprivate var keys = RateLimit()
        /// The end of the last call
        fileprivate var servedAt: Int?

        fileprivate init(_ guest: GuestID, meter: Int) {
            self.guest = guest
            self.meter = meter
        }

        /// What the guest's policy gives it from now on.
        package func obey(_ share: DeviceShare, at now: Int) {
            weight = max(1, share.weight)
            operations.set(share.operationsPerSecond, per: second, at: now)
            keys.set(share.keyGenerationsPerMinute, per: 60 * second, at: now)
        }

        fileprivate func charge(_ nanoseconds: Int) { meter += nanoseconds * DeviceShare().weight / weight }
    }
    private var accounts: [GuestID: Account] = [:]
    /// The meter of the guest that was served last.
    private var floor = 0
    /// For whom the chip waits.
    private var reserved: (account: Account, since: Int)?

    package init() {}

    /// The guest's account, opened where there is none.
    /// - Parameter share: what its policy gives it.
    package mutating func account(of guest: GuestID, at now: Int, share: () -> DeviceShare) -> Account {
        if let account = accounts[guest] { return account }
        let account = Account(guest, meter: floor - Self.saved)
        account.obey(share(), at: now)
        accounts[guest] = account
        return account
    }

    /// The policy has changed.
    package func obey(at now: Int, _ share: (GuestID) -> DeviceShare) {
        for account in accounts.values { account.obey(share(account.guest), at: now) }
    }

    package mutating func forget(_ guest: GuestID) { accounts[guest] = nil }

    /// Whose turn it is, which begins now.
    /// - Parameter waiting: who waits longest stands first.
    package mutating func next(_ waiting: [Account], at now: Int) -> Turn {
        settle(at: now)
        var best: Int?
        var pause = Int.max
        for (index, account) in waiting.enumerated() {
            account.meter = max(account.meter, floor - Self.saved)
            let wait = account.operations.wait(at: now)
            pause = min(pause, wait)
            guard wait == 0 else { continue }
            if let best, account.meter >= waiting[best].meter { continue }
            best = index
        }
        guard let best else { return .later(Self.milliseconds(pause)) }
        let chosen = waiting[best]
        if let (favourite, pause) = favourite(before: chosen.meter, at: now, except: waiting) {
            reserved = (favourite, now)
            return .later(Self.milliseconds(pause))
        }
        floor = chosen.meter
        _ = chosen.operations.take(at: now)
        return .serve(best)
    }

    /// A call of the guest's ended, which took the chip so long.
    /// - Parameter inTurn: it had waited for its turn.
    package func end(_ account: Account, took nanoseconds: Int, at now: Int, inTurn: Bool) {
        account.charge(nanoseconds)
        if inTurn { account.servedAt = now }
    }

    /// Whether a call may be made that cannot wait for its turn.
    package func takeOperation(_ account: Account, at now: Int) -> Bool { account.operations.take(at: now) }

    /// Whether the guest may have another key made.
    package func takeKey(_ account: Account, at now: Int) -> Bool { account.keys.take(at: now) }

    /// Whoever the chip waited for pays for it.
    private mutating func settle(at now: Int) {
        guard let reserved else { return }
        self.reserved = nil
        reserved.account.charge(min(now - reserved.since, Self.patience))
    }

    /// Who should be served before a guest with this meter, and will probably ask within the pause.
    private func favourite(before meter: Int, at now: Int, except waiting: [Account]) -> (Account, pause: Int)? {
        for account in accounts.values where meter - account.meter >= Self.lead {
            guard let servedAt = account.servedAt, now - servedAt < Self.patience, !waiting.contains(where: { $0 === account })
            else { continue }
            let pause = servedAt + Self.patience - now
            if account.operations.wait(at: now) <= pause { return (account, pause) }
        }
        return nil
    }

    private static func milliseconds(_ nanoseconds: Int) -> Int32 { Int32(clamping: (nanoseconds + 999_999) / 1_000_000) }
}

private let second = 1_000_000_000
