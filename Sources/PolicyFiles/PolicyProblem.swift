// Where something stands in a policy file, and what can be wrong with it.

/// A place in a file: line and column count from 1, columns in characters.
package struct Place: Hashable, Sendable, CustomStringConvertible {
    package let file: String
    package let line: Int
    package let column: Int
    package var description: String { "\(file):\(line):\(column)" }
}

package struct PolicyProblem: Error, Hashable, Sendable, CustomStringConvertible {
    package let place: Place
    package let message: String
    /// What was meant, perhaps.
    package let suggestion: String?

    init(_ place: Place, _ message: String, suggestion: String? = nil) {
        self.place = place
        self.message = message
        self.suggestion = suggestion
    }

    package var description: String {
        "\(place): error: \(message)" + (suggestion.map { "; did you mean “\($0)”?" } ?? "")
    }
}

/// The word nearest to a misspelt one, if any is near enough.
package func nearest(to word: String, among words: some Sequence<String>) -> String? {
    let limit = max(2, word.count / 3)
    let near = words.map { (word: $0, distance: editDistance(word.lowercased(), $0.lowercased())) }.filter { $0.distance <= limit }
    return near.min { ($0.distance, $0.word) < ($1.distance, $1.word) }?.word
}

/// How many characters to insert, remove, replace or swap with their neighbour (optimal string alignment).
func editDistance(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a.prefix(64)), Array(b.prefix(64)))
    var rows = [Array(0...b.count)]
    for i in 0..<a.count {
        var row = [i + 1]
        for j in 0..<b.count {
            var best = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, rows[i - 1][j - 1] + 1) }
            row.append(best)
        }
        rows.append(row)
    }
    return rows[a.count][b.count]
}
