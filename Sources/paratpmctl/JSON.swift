// JSON for output: just enough to print what commands report.

indirect enum JSON: CustomStringConvertible {
    case string(String)
    case bool(Bool)
    case number(Int)
    case null
    case array([JSON])
    case object([(String, JSON)])

    var description: String {
        switch self {
        case .string(let text): Self.quote(text)
        case .bool(let value): value ? "true" : "false"
        case .number(let value): String(value)
        case .null: "null"
        case .array(let values): "[" + values.map(\.description).joined(separator: ", ") + "]"
        case .object(let fields): "{" + fields.map { "\(Self.quote($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
        }
    }

    /// RFC 8259, section 7
    private static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..."\u{1F}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
