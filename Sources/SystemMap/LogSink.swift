// Where log lines go: found out at the start of a process, before it confines itself.
import Glibc
import IPC

package enum LogSink {
    // SAFETY: written at the start of a process, while it has one thread; read afterwards.
    /// Whether standard error is the journal, which understands a priority before each line.
    nonisolated(unsafe) private(set) static var isJournal = false
    // SAFETY: as above.
    /// What somebody wants to have before each line (swtpm's --log prefix=).
    nonisolated(unsafe) package static var prefix = ""
    // SAFETY: as above.
    /// To the journal's own socket, which takes fields besides the text; nil: events are lines like the others.
    nonisolated(unsafe) static var journal: Descriptor?

    /// The variable in which a door tells its proxy the prefix.
    package static let prefixVariable = "PARATPM_LOG_PREFIX"
    private static let journalSocket = "/run/systemd/journal/socket"

    /// Looks where standard error goes: JOURNAL_STREAM names the journal's end of it (systemd.exec(5)).
    package static func look() {
        var status = stat()
        guard let stream = variable("JOURNAL_STREAM"), fstat(STDERR_FILENO, &status) == 0 else { return isJournal = false }
        isJournal = stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// Opens the way to the journal, where standard error goes there anyway.
    package static func connect() {
        guard isJournal else { return }
        let raw = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard raw >= 0 else { return }
        let descriptor = Descriptor(owning: raw)
        if withUnixAddress(journalSocket, { Glibc.connect(raw, $0, $1) }) == 0 { journal = descriptor }
    }
}

/// An entry in the journal's own protocol (systemd.io, "Native Journal Protocol"): a line "FIELD=value" for each field.
package struct JournalEntry {
    package private(set) var bytes: [UInt8] = []

    /// - Parameter fields: names of upper-case letters, digits and '_'. Values must not be secret.
    package init(_ fields: [(name: String, value: String)]) {
        for (name, value) in fields {
            // A newline would begin another field.
            bytes += Array(name.utf8) + [UInt8(ascii: "=")] + value.utf8.map { $0 == 0x0A ? 0x20 : $0 } + [0x0A]
        }
    }

    init(_ priority: LogPriority, _ role: Role, _ event: LogEvent, _ text: String, _ words: [(key: String, value: String)]) {
        let own = words.map { (name: Self.name($0.key), value: $0.value) }
        self.init([
            ("MESSAGE", text), ("MESSAGE_ID", event.messageID), ("PRIORITY", String(priority.rawValue)), ("SYSLOG_IDENTIFIER", role.rawValue),
        ] + own)
    }

    /// "old-value" is the field PARATPM_OLD_VALUE.
    private static func name(_ key: String) -> String {
        let bytes = key.utf8.map { byte in
            switch byte {
            case 0x61...0x7A: byte - 0x20
            case 0x30...0x39: byte
            default: UInt8(ascii: "_")
            }
        }
        return "PARATPM_" + String(decoding: bytes, as: UTF8.self)
    }
}

extension LogEvent {
    /// What the journal's catalog explains an event by (systemd/paratpm.catalog): made once, and never changed.
    package var messageID: String {
        switch self {
        case .policyChanged: "4509708a89f946c5aa022adeeb22df54"
        case .policyRejected: "5f9232f1201e45039a51b85a1cf7aa73"
        case .localityRefused: "25933541a1104da0b5ae52eb288676aa"
        case .doorRefused: "0bef777e9fa449eb9cf6c5f305754430"
        case .deepQuoteRefused: "21f8b28bbcfc483384a2aa86247b2a16"
        case .enrolmentRefused: "cffa689febf049f19b3f2d9910721946"
        case .commandRefused: "1314fe0ddf7a470d8efa6765d6259b16"
        case .algorithmRefused: "ebb18a2ebbd241da9be23afb80f43673"
        case .quotaReached: "29329c3fab86462da0f7dde916dd23a3"
        case .quotaExceeded: "0a277fab301e497b9c2d1c01e2960c2b"
        }
    }
}
