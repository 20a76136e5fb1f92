// Command lines as getopt_long(3) takes them apart, for the tools that stand for swtpm's.
import Glibc
import SystemMap

/// What ends a tool: a line for standard error, and the exit code that the original has for it.
package struct ToolError: Error, Equatable {
    package let message: String
    package let exit: Int32
    package init(_ message: String, exit: Int32 = EXIT_FAILURE) {
        self.message = message
        self.exit = exit
    }
}

/// One option that a tool knows.
struct OptionSpec {
    let name: String
    var letter: Character?
    /// How many words follow it.
    var values = 0

    init(_ name: String, _ letter: Character? = nil, values: Int = 0) {
        self.name = name
        self.letter = letter
        self.values = values
    }
}

/// The options that were given, in their order, and the words that are none.
struct LongOptions {
    private(set) var given: [(name: String, values: [String])] = []
    private(set) var words: [String] = []

    init(_ arguments: [String], _ known: [OptionSpec]) throws(ToolError) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument.hasPrefix("--"), argument.count > 2 {
                try takeLong(String(argument.dropFirst(2)), &rest, known)
            } else if argument.hasPrefix("-"), argument.count > 1, let letter = argument.dropFirst().first {
                guard let spec = known.first(where: { $0.letter == letter }) else {
                    throw ToolError("invalid option -- '\(letter)'")
                }
                let attached = argument.count > 2 ? [String(argument.dropFirst(2))] : []
                try take(spec, attached, &rest, shown: "-\(letter)")
            } else {
                words.append(argument)
            }
        }
    }

    private mutating func takeLong(_ text: String, _ rest: inout ArraySlice<String>, _ known: [OptionSpec]) throws(ToolError) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let name = parts.first, let spec = known.first(where: { $0.name == name }) else {
            throw ToolError("unrecognized option '--\(text)'")
        }
        try take(spec, Array(parts.dropFirst()), &rest, shown: "--\(name)")
    }

    private mutating func take(
        _ spec: OptionSpec, _ attached: [String], _ rest: inout ArraySlice<String>, shown: String
    ) throws(ToolError) {
        guard attached.count <= spec.values else { throw ToolError("option '\(shown)' doesn't allow an argument") }
        var values = attached
        while values.count < spec.values {
            guard let next = rest.popFirst() else { throw ToolError("option '\(shown)' requires an argument") }
            values.append(next)
        }
        given.append((spec.name, values))
    }

    func has(_ name: String) -> Bool { given.contains { $0.name == name } }
    /// The value of the last of its kind.
    func value(_ name: String) -> String? { given.last { $0.name == name }?.values.first }
}

/// Where a program follows the original: what it calls itself, and what it follows.
enum Followed {
    static let version = "0.7.1"
}
