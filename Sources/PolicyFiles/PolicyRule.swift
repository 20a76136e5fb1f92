// One line of a policy file, understood: a key and its checked value.
import Glibc
import HostPolicy
import SystemMap
import TPMWire

/// A checked value. What can be listed is a set: the order in a file says nothing.
enum RuleValue: Equatable, Sendable {
    case number(Int)
    case commands(Set<TPMCommandCode>)
    case algorithms(Set<TPMAlgorithm>)
    case curves(Set<ECCCurve>)
    case sizes(Set<UInt16>)
    case numbers(Set<Int>)
    case ids(Set<UInt32>)
}

struct PolicyRule: Sendable {
    let key: PolicyKey
    let value: RuleValue
    /// Of the key.
    let place: Place
}

/// Reads one value; what is wrong is collected, so that one run shows all of it.
struct RuleReader {
    let toml: TOMLText
    private(set) var problems: [PolicyProblem] = []
    private static let everything = "all"

    init(_ toml: TOMLText) { self.toml = toml }

    mutating func complain(_ place: Place, _ message: String, suggestion: String? = nil) {
        problems.append(PolicyProblem(place, message, suggestion: suggestion))
    }

    /// nil: something is wrong with it.
    mutating func rule(_ key: PolicyKey, _ node: TOMLNode, at path: TOMLPath) -> PolicyRule? {
        let before = problems.count
        let value = value(key, node, path)
        guard let value, problems.count == before else { return nil }
        return PolicyRule(key: key, value: value, place: toml.place(ofKey: path))
    }

    private mutating func value(_ key: PolicyKey, _ node: TOMLNode, _ path: TOMLPath) -> RuleValue? {
        if let number = PolicyNumber[key] { return self.number(node, number.range, path) }
        switch key {
        case .commands, .deniedCommands: return commands(node, isDenial: key == .deniedCommands, path)
        case .algorithms, .deniedAlgorithms: return algorithms(node, isDenial: key == .deniedAlgorithms, path)
        case .curves:
            let names = texts(node, path, among: PolicyWords.curves.map(\.name), what: "curve")
            return names.map { names in .curves(Set(PolicyWords.curves.filter { names.contains($0.name) }.map(\.value))) }
        case .rsaBits: return sizes(node, path, among: PolicyWords.rsaBits, mayBeEmpty: true)
        case .aesBits: return sizes(node, path, among: PolicyWords.aesBits, mayBeEmpty: false)
        case .localities:
            return numbers(node, path, 0...4).flatMap { numbers in
                if numbers.contains(0) { return .numbers(numbers) }
                complain(toml.place(ofValue: path), "locality 0 cannot be taken away: it is where every guest starts")
                return nil
            }
        case .hostBinding, .deepQuotePCRs: return numbers(node, path, 0...23).map { .numbers($0) }
        case .users: return ids(node, path, what: "user", of: userID)
        case .groups: return ids(node, path, what: "group", of: groupID)
        default: return nil
        }
    }

    // MARK: Values

    private mutating func number(_ node: TOMLNode, _ range: ClosedRange<Int>, _ path: TOMLPath) -> RuleValue? {
        guard case .integer(let number) = node else { return expected("a whole number", node, path) }
        guard range.contains(number) else {
            complain(toml.place(ofValue: path), "\(number) is not from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return .number(number)
    }

    private mutating func commands(_ node: TOMLNode, isDenial: Bool, _ path: TOMLPath) -> RuleValue? {
        if isEverything(node), !isDenial { return .commands(GuestPolicy.builtIn.commands) }
        let words = texts(node, path)
        var codes: Set<TPMCommandCode> = []
        for (i, word) in (words ?? []).enumerated() {
            let place = toml.place(ofValue: path + ["#\(i)"])
            guard let code = PolicyWords.command(word) else {
                complain(
                    place, "no TPM command is called \(quoted(word))",
                    suggestion: nearest(to: word, among: CommandTable.rows.map(\.name)))
                continue
            }
            if isDenial, PolicyWords.requiredCommands.contains(code) {
                complain(place, "\(word) cannot be taken away: no driver finds a TPM without it")
            }
            codes.insert(code)
        }
        return words.map { _ in .commands(isDenial ? codes : codes.union(PolicyWords.requiredCommands)) }
    }

    private mutating func algorithms(_ node: TOMLNode, isDenial: Bool, _ path: TOMLPath) -> RuleValue? {
        if isEverything(node), !isDenial { return .algorithms(GuestPolicy.builtIn.algorithms) }
        let words = texts(node, path)
        var algorithms: Set<TPMAlgorithm> = []
        for (i, word) in (words ?? []).enumerated() {
            let place = toml.place(ofValue: path + ["#\(i)"])
            if let known = PolicyWords.algorithms.first(where: { $0.name == word }) {
                algorithms.insert(known.value)
            } else if !PolicyWords.requiredAlgorithms.contains(word) {
                let names = PolicyWords.algorithms.map(\.name) + PolicyWords.requiredAlgorithms
                complain(place, "no algorithm is called \(quoted(word))", suggestion: nearest(to: word, among: names))
            } else if isDenial {
                complain(place, "\(word) cannot be taken away: sessions, Names and saved contexts are made of it")
            }
        }
        return words.map { _ in .algorithms(algorithms) }
    }

    private mutating func sizes(_ node: TOMLNode, _ path: TOMLPath, among known: [UInt16], mayBeEmpty: Bool) -> RuleValue? {
        guard let numbers = numbers(node, path, 0...Int(UInt16.max)) else { return nil }
        for (i, number) in listed(node).enumerated() {
            guard case .integer(let size) = number, !known.contains(where: { Int($0) == size }) else { continue }
            let sizes = known.map(String.init).joined(separator: ", ")
            complain(toml.place(ofValue: path + ["#\(i)"]), "no TPM has keys of \(size) bits; there are \(sizes)")
        }
        if numbers.isEmpty && !mayBeEmpty { complain(toml.place(ofValue: path), "at least one size is needed") }
        return .sizes(Set(known.filter { numbers.contains(Int($0)) }))
    }

    /// Users or groups, by name or number.
    mutating func ids(_ node: TOMLNode, _ path: TOMLPath, what: String, of id: (String) -> UInt32?) -> RuleValue? {
        guard case .list(let nodes) = node else { return expected("a list", node, path) }
        var ids: Set<UInt32> = []
        for (i, node) in nodes.enumerated() {
            let place = toml.place(ofValue: path + ["#\(i)"])
            switch node {
            case .integer(let number):
                if let known = UInt32(exactly: number), known != .max { ids.insert(known) } else { complain(place, "\(number) is no \(what)'s number") }
            case .text(let name):
                if let known = id(name) { ids.insert(known) } else { complain(place, "this host has no \(what) \(quoted(name))") }
            default: complain(place, "a \(what)'s name or number was expected here, not \(node.kind)")
            }
        }
        if ids.count > AccessList.idsMax { complain(toml.place(ofValue: path), "at most \(AccessList.idsMax) can be listed; name a group instead") }
        return .ids(ids)
    }

    // MARK: Lists

    private func isEverything(_ node: TOMLNode) -> Bool {
        if case .text(Self.everything) = node { true } else { false }
    }

    private func listed(_ node: TOMLNode) -> [TOMLNode] {
        if case .list(let nodes) = node { nodes } else { [] }
    }

    private mutating func texts(_ node: TOMLNode, _ path: TOMLPath) -> [String]? {
        guard case .list(let nodes) = node else { return expected("a list", node, path) }
        var texts: [String] = []
        for (i, node) in nodes.enumerated() {
            guard case .text(let text) = node else {
                complain(toml.place(ofValue: path + ["#\(i)"]), "a text was expected here, not \(node.kind)")
                return nil
            }
            texts.append(text)
        }
        return texts
    }

    private mutating func texts(_ node: TOMLNode, _ path: TOMLPath, among known: [String], what: String) -> [String]? {
        let words = texts(node, path)
        for (i, word) in (words ?? []).enumerated() where !known.contains(word) {
            complain(
                toml.place(ofValue: path + ["#\(i)"]), "no \(what) is called \(quoted(word))", suggestion: nearest(to: word, among: known))
        }
        return words
    }

    private mutating func numbers(_ node: TOMLNode, _ path: TOMLPath, _ range: ClosedRange<Int>) -> Set<Int>? {
        guard case .list(let nodes) = node else { return expected("a list", node, path) }
        var numbers: Set<Int> = []
        for (i, node) in nodes.enumerated() {
            let place = toml.place(ofValue: path + ["#\(i)"])
            guard case .integer(let number) = node else {
                complain(place, "a whole number was expected here, not \(node.kind)")
                continue
            }
            if range.contains(number) { numbers.insert(number) } else {
                complain(place, "\(number) is not from \(range.lowerBound) to \(range.upperBound)")
            }
        }
        return numbers
    }

    private mutating func expected<T>(_ what: String, _ node: TOMLNode, _ path: TOMLPath) -> T? {
        complain(toml.place(ofValue: path), "\(what) was expected here, not \(node.kind)")
        return nil
    }
}

func quoted(_ text: String) -> String {
    "“" + text.unicodeScalars.prefix(64).map { $0.value < 0x20 || $0.value == 0x7F ? "?" : String($0) }.joined() + "”"
}

func userID(_ name: String) -> UInt32? { getpwnam(name)?.pointee.pw_uid }
func groupID(_ name: String) -> UInt32? { getgrnam(name)?.pointee.gr_gid }

extension PolicyRule {
    /// What the rule says in a policy that is made from the outermost profile inwards.
    func apply(to policy: inout GuestPolicy) {
        switch (key, value) {
        case (.commands, .commands(let codes)): policy.commands = codes
        case (.algorithms, .algorithms(let algorithms)): policy.algorithms = algorithms
        // Denials are applied behind everything else.
        case (.deniedCommands, .commands(let codes)): policy.commands.subtract(codes)
        case (.deniedAlgorithms, .algorithms(let algorithms)): policy.algorithms.subtract(algorithms)
        case (.curves, .curves(let curves)): policy.curves = curves
        case (.rsaBits, .sizes(let sizes)): policy.rsaBits = sizes
        case (.aesBits, .sizes(let sizes)): policy.aesBits = sizes
        case (.localities, .numbers(let numbers)): policy.localities = Localities(numbers)
        case (.hostBinding, .numbers(let numbers)): policy.hostBinding = HostPCRs(numbers)
        case (.deepQuotePCRs, .numbers(let numbers)): policy.deepQuotePCRs = HostPCRs(numbers)
        case (.users, .ids(let ids)): policy.connect.users = ids
        case (.groups, .ids(let ids)): policy.connect.groups = ids
        case (_, .number(let number)):
            if let path = PolicyNumber[key]?.path { policy[keyPath: path] = number }
        default: break
        }
    }
}
