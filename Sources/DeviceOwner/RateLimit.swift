// A token bucket: so many in a period, of which all may come at once after a pause.

/// Times are nanoseconds of a clock that only runs forward.
package struct RateLimit: Sendable {
    private var count = 0
    /// From one token to the next; 0: there is no limit.
    private var interval = 0
    /// What a full bucket is worth.
    private var burst = 0
    /// When the bucket will be full again.
    private var full = 0

    package init() {}

    /// - Parameter count: tokens in a period; 0 is no limit. What was used counts under a new limit as well, as far as that forgets.
    package mutating func set(_ count: Int, per period: Int, at now: Int) {
        guard count != self.count else { return }
        self.count = count
        interval = count > 0 ? max(1, period / count) : 0
        burst = interval * count
        full = min(full, now + burst)
    }

    /// Nanoseconds until there is a token.
    package func wait(at now: Int) -> Int { interval == 0 ? 0 : max(0, max(full, now) + interval - burst - now) }

    /// False: there is none.
    package mutating func take(at now: Int) -> Bool {
        guard wait(at: now) == 0 else { return false }
        if interval > 0 { full = max(full, now) + interval }
        return true
    }
}
