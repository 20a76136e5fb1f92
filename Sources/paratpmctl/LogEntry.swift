// One line of a log, with the event that it tells of, if it does.
import Glibc
import SystemMap

struct LogEntry {
    /// UTC: 2026-11-23T12:00:00Z
    let time: String
    /// The program that said it: paratpm-pcr
    let program: String
    /// As it was said.
    let text: String
    /// An event's name, and its values by name.
    let event: String?
    let values: [(key: String, value: String)]

    var guest: String? { values.first { $0.key == "guest" }?.value }

    init(time: String, program: String, text: String) {
        self.time = time
        self.program = program
        // Lines of programs that do not know that the journal listens say who they are themselves.
        let own = "\(program): "
        self.text = text.hasPrefix(own) ? String(text.dropFirst(own.count)) : text
        let words = Self.words(self.text)
        event = words.first.flatMap { $0.key == "event" ? $0.value : nil }
        values = event == nil ? [] : Array(words.dropFirst())
    }

    /// A line of an instance's own log: the time, the program and what it said.
    init?(line: String) {
        let parts = line.split(separator: " ", maxSplits: 2).map(String.init)
        guard parts.count == 3, parts[0].count == 20, parts[0].hasSuffix("Z") else { return nil }
        let isProgram = parts[1].hasSuffix(":")
        self.init(
            time: parts[0], program: isProgram ? String(parts[1].dropLast()) : "-", text: isProgram ? parts[2] : "\(parts[1]) \(parts[2])")
    }

    /// `key=value key="some value"`; nothing where a word is neither.
    private static func words(_ text: String) -> [(key: String, value: String)] {
        var words: [(key: String, value: String)] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            guard let equals = rest.firstIndex(of: "="), equals != rest.startIndex else { return [] }
            let key = rest[..<equals]
            guard key.allSatisfy({ $0.isLowercase || $0.isNumber || $0 == "-" }) else { return [] }
            rest = rest[rest.index(after: equals)...]
            let isQuoted = rest.first == "\""
            if isQuoted { rest = rest.dropFirst() }
            let end = rest.firstIndex(of: isQuoted ? "\"" : " ") ?? rest.endIndex
            words.append((String(key), String(rest[..<end])))
            rest = rest[end...].drop { $0 == "\"" || $0 == " " }
        }
        return words
    }

    /// - Parameter seconds: since 1970
    static func time(_ seconds: time_t) -> String {
        var (seconds, parts) = (seconds, tm())
        gmtime_r(&seconds, &parts)
        func digits(_ number: Int32, _ width: Int = 2) -> String {
            let text = String(number)
            return String(repeating: "0", count: max(0, width - text.count)) + text
        }
        return "\(digits(parts.tm_year + 1900, 4))-\(digits(parts.tm_mon + 1))-\(digits(parts.tm_mday))"
            + "T\(digits(parts.tm_hour)):\(digits(parts.tm_min)):\(digits(parts.tm_sec))Z"
    }

    var line: String {
        let shown = event.map { text.replacingFirst("event=\($0)", with: Terminal.coloured("event=\($0)", .yellow)) } ?? text
        return "\(time) \(program): \(shown)"
    }

    var json: JSON {
        .object([
            ("time", .string(time)), ("program", .string(program)), ("event", event.map { .string($0) } ?? .null),
            ("guest", guest.map { .string($0) } ?? .null),
            ("values", .object(values.filter { $0.key != "guest" }.map { ($0.key, .string($0.value)) })), ("text", .string(text)),
        ])
    }
}

extension String {
    fileprivate func replacingFirst(_ word: String, with other: String) -> String {
        hasPrefix(word) ? other + dropFirst(word.count) : self
    }
}
