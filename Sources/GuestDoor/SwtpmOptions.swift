// The "name=value,flag" lists that swtpm's options take.
import Glibc
import GuestIdentity

/// One option's list, against the names that it may have.
struct SwtpmOptions {
    enum Kind {
        case text, number, mode, flag
        /// A number, or a name from /etc/passwd or /etc/group.
        case user, group
    }
    private enum Value {
        case text(String)
        case number(Int)
    }
    private var values: [String: Value] = [:]

    /// - Parameters:
    ///   - text: the option's argument.
    ///   - name: what swtpm calls it in its messages: "ctrl".
    init(_ text: String, _ name: String, _ known: [String: Kind]) throws(UsageError) {
        for item in text.split(separator: ",") {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let key = parts.first, let kind = known[key], parts.count == 1 || !parts[1].isEmpty else {
                throw UsageError(swtpm: "Error parsing \(name) options: Unknown option '\(item)'")
            }
            let value = parts.count == 2 ? parts[1] : "true"
            guard let parsed = Self.parse(value, kind) else {
                throw UsageError(swtpm: "Error parsing \(name) options: invalid value '\(value)' for \(key)")
            }
            // As in swtpm, the first of several counts.
            if values[key] == nil { values[key] = parsed }
        }
    }

    private static func parse(_ value: String, _ kind: Kind) -> Value? {
        switch kind {
        case .text: .text(value)
        case .flag: .number(value == "1" || value.lowercased() == "true" ? 1 : 0)
        case .number: Int(value).flatMap { Int32(exactly: $0) }.map { .number(Int($0)) }
        case .mode: UInt16(value, radix: 8).flatMap { $0 <= 0o777 ? .number(Int($0)) : nil }
        case .user: (UInt32(value) ?? UserDatabase.user(value)?.uid).map { .number(Int($0)) }
        case .group: (UInt32(value) ?? UserDatabase.group(value)).map { .number(Int($0)) }
        }
    }

    func text(_ key: String) -> String? {
        if case .text(let text) = values[key] { text } else { nil }
    }
    func number(_ key: String) -> Int? {
        if case .number(let number) = values[key] { number } else { nil }
    }
    func flag(_ key: String) -> Bool { number(key) == 1 }
    /// A descriptor's number; negative counts as absent.
    func descriptor(_ key: String) -> Int32? {
        number(key).flatMap { $0 >= 0 ? Int32(exactly: $0) : nil }
    }
}

extension UsageError {
    /// swtpm ends with 1 whatever is wrong with its command line.
    init(swtpm message: String) { self.init(message: message, exit: EXIT_FAILURE) }
}
