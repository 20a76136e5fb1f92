// Where keys, values and array elements stand in a TOML text that has been found good already: the TOML library tells places of
// syntax errors only.

/// A path: keys from the outermost table inwards, then "#n" for the element n of an array.
typealias TOMLPath = [String]

struct TOMLPositions {
    struct Position: Equatable {
        var line = 1
        var column = 1
    }

    /// Of each table's header or key, and each key of a table.
    private(set) var keys: [TOMLPath: Position] = [:]
    /// Of each value, and of each array's elements.
    private(set) var values: [TOMLPath: Position] = [:]

    private let text: [Unicode.Scalar]
    private var offset = 0
    private var position = Position()

    init(_ text: String) {
        self.text = Array(text.unicodeScalars)
        var table: TOMLPath = []
        while let next = skipBlank() {
            let before = offset
            if next == "[" { table = header() } else { pair(in: table) }
            // A text that is not TOML after all must not hold us here.
            if offset == before { advance() }
        }
    }

    // MARK: Characters

    private var current: Unicode.Scalar? { offset < text.count ? text[offset] : nil }

    private mutating func advance(_ count: Int = 1) {
        for _ in 0..<count {
            guard let scalar = current else { return }
            offset += 1
            if scalar == "\n" {
                position.line += 1
                position.column = 1
            } else {
                position.column += 1
            }
        }
    }

    private func isAhead(_ word: String) -> Bool {
        let word = Array(word.unicodeScalars)
        return offset + word.count <= text.count && Array(text[offset..<offset + word.count]) == word
    }

    /// Skips white space, line ends and comments.
    /// - Returns: what comes then.
    private mutating func skipBlank() -> Unicode.Scalar? {
        while let scalar = current {
            if scalar == "#" {
                while let inside = current, inside != "\n" { advance() }
            } else if [" ", "\t", "\r", "\n"].contains(scalar) {
                advance()
            } else {
                return scalar
            }
        }
        return nil
    }

    private mutating func skipSpaces() {
        while let scalar = current, scalar == " " || scalar == "\t" { advance() }
    }

    // MARK: Grammar

    /// [a.b] or [[a.b]]
    private mutating func header() -> TOMLPath {
        while current == "[" { advance() }
        skipSpaces()
        let path = key(in: [])
        while current == "]" || current == " " || current == "\t" { advance() }
        return path
    }

    private mutating func pair(in table: TOMLPath) {
        let path = key(in: table)
        if current == "=" { advance() }
        skipSpaces()
        value(path)
    }

    /// A dotted key; notes the place of each part.
    private mutating func key(in table: TOMLPath) -> TOMLPath {
        var path = table
        while true {
            skipSpaces()
            let place = position
            guard let part = keyPart() else { return path }
            path.append(part)
            if keys[path] == nil { keys[path] = place }
            skipSpaces()
            guard current == "." else { return path }
            advance()
        }
    }

    private mutating func keyPart() -> String? {
        if current == "\"" || current == "'" { return string() }
        var part = ""
        while let scalar = current, scalar.properties.isAlphabetic || ("0"..."9").contains(scalar) || scalar == "-" || scalar == "_" {
            part.unicodeScalars.append(scalar)
            advance()
        }
        return part.isEmpty ? nil : part
    }

    private mutating func value(_ path: TOMLPath) {
        values[path] = position
        switch current {
        case "[": array(path)
        case "{": inlineTable(path)
        case "\"", "'": _ = string()
        default:
            while let scalar = current, ![",", "]", "}", "#", "\n"].contains(scalar) { advance() }
        }
    }

    private mutating func array(_ path: TOMLPath) {
        advance()
        var index = 0
        while let next = skipBlank(), next != "]" {
            let before = offset
            value(path + ["#\(index)"])
            index += 1
            if skipBlank() == "," { advance() }
            if offset == before { return }
        }
        advance()
    }

    private mutating func inlineTable(_ path: TOMLPath) {
        advance()
        while let next = skipBlank(), next != "}" {
            let before = offset
            pair(in: path)
            if skipBlank() == "," { advance() }
            if offset == before { return }
        }
        advance()
    }

    /// A string of any of the four kinds.
    /// - Returns: its contents, escapes as they stand: names of tables have none.
    private mutating func string() -> String {
        let quote = current == "'" ? "'" : "\""
        let delimiter = isAhead(quote + quote + quote) ? quote + quote + quote : quote
        advance(delimiter.count)
        var contents = ""
        while let scalar = current, !isAhead(delimiter) {
            if scalar == "\\" && quote == "\"" {
                contents.unicodeScalars.append(scalar)
                advance()
                guard let escaped = current else { break }
                contents.unicodeScalars.append(escaped)
                advance()
            } else {
                contents.unicodeScalars.append(scalar)
                advance()
            }
        }
        advance(delimiter.count)
        return contents
    }
}
