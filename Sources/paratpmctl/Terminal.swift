// Colours, and a screen that is written over: only where there is a terminal.
import Glibc

enum Terminal {
    /// Whether standard output is a terminal that understands control sequences (ECMA-48).
    static let isThere = isatty(STDOUT_FILENO) == 1 && getenv("TERM").map { String(cString: $0) } != "dumb"
    /// NO_COLOR, with any value, switches colours off (no-color.org).
    private static let isColoured = isThere && getenv("NO_COLOR") == nil

    enum Colour: Int { case red = 31, green = 32, yellow = 33 }

    static func coloured(_ text: String, _ colour: Colour) -> String {
        isColoured ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Shows these lines in the place of those that were there.
    static func redraw(_ lines: [String]) {
        let text = "\u{1B}[H" + lines.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J"
        print(text, terminator: "")
        fflush(nil)
    }
}

/// Columns side by side, each as wide as its widest entry; the first row is the heading.
func table(_ rows: [[String]]) -> [String] {
    let columns = rows.map(\.count).max() ?? 0
    let widths = (0..<columns).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
    return rows.map { row in
        let cells = zip(row, widths).map { $0.padded(to: $1) }
        var line = cells.joined(separator: "  ")
        while line.last == " " { line.removeLast() }
        return line
    }
}

extension String {
    /// With spaces behind it.
    func padded(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}
