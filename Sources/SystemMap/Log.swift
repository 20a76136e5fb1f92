// Log lines: to standard error, with the priority prefix that the journal understands when it listens; and events.
import CSystem
import Glibc
import IPC

package enum LogPriority: Int, Sendable {
    case error = 3, warning = 4, notice = 5, info = 6
}

/// One line on standard error: "<priority>role: text" under systemd, "role: text" elsewhere.
/// Text that came from outside must be printable before it comes here; secrets never do.
package func log(_ priority: LogPriority, _ role: Role, _ text: String) {
    let prefix = LogSink.isJournal ? "<\(priority.rawValue)>" : ""
    let line = Array("\(prefix)\(LogSink.prefix)\(role.rawValue): \(text)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
}

/// Events that administrators watch for, by names that do not change (docs/policy.md lists them).
package enum LogEvent: String, CaseIterable, Sendable {
    /// One value of a guest's policy is another since a reload.
    case policyChanged = "policy-changed"
    /// A compiled policy was not taken over; the old one stays in force.
    case policyRejected = "policy-rejected"
    /// A guest's platform claimed a locality that its policy takes away.
    case localityRefused = "locality-refused"
    /// A door proved its guest's identity, and the policy does not let its user be that guest.
    case doorRefused = "door-refused"
    /// A guest asked for a deep quote and got none: the policy denies it, it asks too often, or the host has no identity.
    case deepQuoteRefused = "deep-quote-refused"
    /// Somebody started `swtpm` who may not make guests.
    case enrolmentRefused = "enrolment-refused"
    /// A guest called a command that its policy takes away.
    case commandRefused = "command-refused"
    /// A guest named an algorithm, a curve or a key size that its policy takes away.
    case algorithmRefused = "algorithm-refused"
    /// A guest wanted more of something than its policy gives.
    case quotaReached = "quota-reached"
    /// A guest holds more of something than its policy gives since it changed; it keeps that.
    case quotaExceeded = "quota-exceeded"
}

/// An event's line: "event=NAME guest=NAME key=value …". Values are quoted where they hold spaces. The journal gets each as a field
/// too: MESSAGE_ID, PARATPM_EVENT, PARATPM_GUEST, PARATPM_KEY…
package func log(
    _ priority: LogPriority, _ role: Role, _ event: LogEvent, guest: GuestName? = nil, _ fields: [(key: String, value: String)] = []
) {
    let all = [("event", event.rawValue)] + (guest.map { [("guest", $0.text)] } ?? []) + fields.map { ($0.key, $0.value) }
    let words = all.map { key, value in "\(key)=" + (value.contains(" ") || value.isEmpty ? "\"\(value)\"" : value) }
    let text = words.joined(separator: " ")
    if let journal = LogSink.journal {
        let entry = JournalEntry(priority, role, event, text, all).bytes
        if csystem_send(journal.raw, entry, entry.count, nil, 0, 0) == entry.count { return }
    }
    log(priority, role, text)
}

/// Keeps one guest from filling the log: a few lines at once, then one in a while, which says how many are missing.
package struct LogLimiter {
    private static let burst = 5
    /// Seconds until another line may be written.
    private static let pause = 10

    private struct Account {
        var left = LogLimiter.burst
        var since: Int
        var dropped = 0
    }
    private var accounts: [String: Account] = [:]
    /// Guests that are remembered; past it all are forgotten, which costs a few lines.
    private static let accountsMax = 4096

    package init() {}

    /// - Returns: nil: do not write it. Otherwise how many lines were not written before it.
    /// - Parameter now: seconds of a clock that only runs forward.
    package mutating func admit(_ account: String, now: Int) -> Int? {
        if accounts.count >= Self.accountsMax { accounts = [:] }
        var entry = accounts[account] ?? Account(since: now)
        let earned = max(0, now - entry.since) / Self.pause
        entry.left = min(Self.burst, entry.left + earned)
        entry.since += earned * Self.pause
        defer { accounts[account] = entry }
        guard entry.left > 0 else {
            entry.dropped += 1
            return nil
        }
        if entry.left == Self.burst { entry.since = now }
        entry.left -= 1
        defer { entry.dropped = 0 }
        return entry.dropped
    }

    /// Writes an event that a guest can cause as often as it likes.
    package mutating func log(
        _ priority: LogPriority, _ role: Role, _ event: LogEvent, guest: GuestName, _ fields: [(key: String, value: String)] = []
    ) {
        guard let dropped = admit(guest.text, now: milliseconds() / 1000) else { return }
        let missing = dropped == 0 ? [] : [(key: "suppressed", value: String(dropped))]
        SystemMap.log(priority, role, event, guest: guest, fields + missing)
    }
}

/// What strerror says, for messages.
package func describe(errno code: Int32) -> String {
    String(cString: strerror(code))
}
