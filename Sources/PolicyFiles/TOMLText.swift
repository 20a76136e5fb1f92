// A TOML text as values with places. The one importer of the TOML library.
import TOMLKit

/// A value of a policy file.
indirect enum TOMLNode {
    case integer(Int)
    case text(String)
    case list([TOMLNode])
    case table([String: TOMLNode])
    /// A kind of value that policies have no use for, in words.
    case other(String)

    var kind: String {
        switch self {
        case .integer: "a whole number"
        case .text: "a text"
        case .list: "a list"
        case .table: "a table"
        case .other(let kind): kind
        }
    }
}

struct TOMLText {
    let file: String
    let root: [String: TOMLNode]
    private let positions: TOMLPositions

    init(_ text: String, file: String) throws(PolicyProblem) {
        do {
            root = Self.nodes(try TOMLTable(string: text))
        } catch let error as TOMLParseError {
            let begin = error.source.begin
            throw PolicyProblem(
                Place(file: file, line: max(1, begin.line), column: max(1, begin.column)), "this is not TOML: \(error.description)")
        } catch {
            throw PolicyProblem(Place(file: file, line: 1, column: 1), "this is not TOML")
        }
        self.file = file
        positions = TOMLPositions(text)
    }

    /// Where a key, or the header of a table, stands.
    func place(ofKey path: TOMLPath) -> Place { place(positions.keys[path]) }
    /// Where a value, or an element of a list, stands.
    func place(ofValue path: TOMLPath) -> Place { place(positions.values[path] ?? positions.keys[path]) }

    private func place(_ position: TOMLPositions.Position?) -> Place {
        Place(file: file, line: position?.line ?? 1, column: position?.column ?? 1)
    }

    private static func nodes(_ table: TOMLTable) -> [String: TOMLNode] {
        table.keys.reduce(into: [:]) { nodes, key in
            if let value = table[key] { nodes[key] = node(value) }
        }
    }

    private static func node(_ value: any TOMLValueConvertible) -> TOMLNode {
        if let integer = value.int { return .integer(integer) }
        if let text = value.string { return .text(text) }
        if let array = value.array { return .list((0..<array.count).map { node(array[$0]) }) }
        if let table = value.table { return .table(nodes(table)) }
        return .other("a \(value.type.description)")
    }
}
