// The journal's entries as journalctl exports them (systemd.io, "Journal Export Formats"): fields in lines, an empty line behind
// each entry. A field whose value is not plain text stands as its name, its length (u64, little-endian) and its bytes.
import SystemMap

struct JournalExport {
    private var bytes: [UInt8] = []
    private var fields: [String: String] = [:]

    /// - Returns: the entries that are whole now.
    mutating func take(_ more: some Sequence<UInt8>) -> [LogEntry] {
        bytes += more
        var entries: [LogEntry] = []
        var start = 0
        while let end = bytes[start...].firstIndex(of: 0x0A) {
            let line = bytes[start..<end]
            if line.isEmpty {
                if let entry { entries.append(entry) }
                fields = [:]
            } else if let equals = line.firstIndex(of: UInt8(ascii: "=")) {
                fields[Self.text(line[..<equals])] = Self.text(line[(equals + 1)...])
            } else {
                guard let (value, next) = binary(after: end + 1) else { break }
                fields[Self.text(line)] = value
                start = next
                continue
            }
            start = end + 1
        }
        bytes.removeFirst(start)
        return entries
    }

    /// nil: it is not there yet.
    private func binary(after start: Int) -> (value: String, next: Int)? {
        guard bytes.count - start > 8 else { return nil }
        let length = bytes[start..<(start + 8)].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard let count = Int(exactly: length), bytes.count - start - 8 > count else { return nil }
        return (Self.text(bytes[(start + 8)..<(start + 8 + count)]), start + 9 + count)
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }

    private var entry: LogEntry? {
        guard let message = fields["MESSAGE"], let time = fields["__REALTIME_TIMESTAMP"].flatMap({ Int($0) }) else { return nil }
        return LogEntry(time: LogEntry.time(time / 1_000_000), program: fields["SYSLOG_IDENTIFIER"] ?? "-", text: message)
    }
}
