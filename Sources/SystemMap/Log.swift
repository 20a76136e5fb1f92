// Log lines: to standard error, with the priority prefix that the journal understands when it listens.
import Glibc

package enum LogPriority: Int, Sendable {
    case error = 3, warning = 4, notice = 5, info = 6
}

/// One line on standard error: "<priority>role: text" under systemd, "role: text" elsewhere.
/// Text that came from outside must be printable before it comes here; secrets never do.
package func log(_ priority: LogPriority, _ role: Role, _ text: String) {
    let prefix = getenv("JOURNAL_STREAM") != nil ? "<\(priority.rawValue)>" : ""
    let line = Array("\(prefix)\(role.rawValue): \(text)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
}

/// What strerror says, for messages.
package func describe(errno code: Int32) -> String {
    String(cString: strerror(code))
}
