// One policy file: the host's table, profiles and guests.
import HostPolicy
import SystemMap

/// [profile.NAME] or [guest.NAME]
struct PolicySection {
    enum Kind: String { case profile, guest }
    let kind: Kind
    let name: String
    let place: Place
    var inherits: (name: String, place: Place)?
    var rules: [PolicyKey: PolicyRule] = [:]
}

struct PolicyFile {
    private static let host = "host"
    private static let inherits = "inherits"
    private static let enrolUsers = "enrol-users"
    private static let enrolGroups = "enrol-groups"
    static let builtInProfile = "built-in"

    private(set) var sections: [PolicySection] = []
    /// From [host]: who may enrol guests, and where it stands.
    private(set) var enrol: (users: Set<UInt32>?, groups: Set<UInt32>?, place: Place)?
    private(set) var problems: [PolicyProblem] = []

    init(_ text: String, file: String) {
        let toml: TOMLText
        do throws(PolicyProblem) { toml = try TOMLText(text, file: file) } catch {
            problems = [error]
            return
        }
        var reader = RuleReader(toml)
        let known = [Self.host] + [PolicySection.Kind.profile, .guest].map(\.rawValue)
        for (key, node) in toml.root {
            guard case .table(let table) = node else {
                reader.complain(
                    toml.place(ofKey: [key]), "\(quoted(key)) stands in no table; a file has \(known.joined(separator: ", "))",
                    suggestion: nearest(to: key, among: known))
                continue
            }
            if key == Self.host {
                readHost(table, &reader)
            } else if let kind = PolicySection.Kind(rawValue: key) {
                for (name, node) in table { readSection(kind, name, node, &reader) }
            } else {
                reader.complain(
                    toml.place(ofKey: [key]), "unknown table \(quoted(key))", suggestion: nearest(to: key, among: known))
            }
        }
        problems = reader.problems
    }

    private mutating func readHost(_ table: [String: TOMLNode], _ reader: inout RuleReader) {
        let known = [Self.enrolUsers, Self.enrolGroups]
        var users: Set<UInt32>?
        var groups: Set<UInt32>?
        for (key, node) in table {
            let path = [Self.host, key]
            switch key {
            case Self.enrolUsers:
                if case .ids(let ids) = reader.ids(node, path, what: "user", of: userID) { users = ids }
            case Self.enrolGroups:
                if case .ids(let ids) = reader.ids(node, path, what: "group", of: groupID) { groups = ids }
            default:
                reader.complain(
                    reader.toml.place(ofKey: path), "unknown key \(quoted(key)) in [host]", suggestion: nearest(to: key, among: known))
            }
        }
        enrol = (users, groups, reader.toml.place(ofKey: [Self.host]))
    }

    private mutating func readSection(_ kind: PolicySection.Kind, _ name: String, _ node: TOMLNode, _ reader: inout RuleReader) {
        let path = [kind.rawValue, name]
        let place = reader.toml.place(ofKey: path)
        guard case .table(let table) = node else {
            return reader.complain(place, "a table [\(kind.rawValue).NAME] was expected here, not \(node.kind)")
        }
        if GuestName(name) == nil {
            reader.complain(place, "\(quoted(name)) is no name: letters, digits, “-”, “_” and “.”, at most 63, the first a letter or digit")
        } else if kind == .profile && name == Self.builtInProfile {
            reader.complain(place, "the profile \(quoted(name)) is built in and cannot be another")
        }
        var section = PolicySection(kind: kind, name: name, place: place)
        for (key, node) in table {
            let keyPath = path + [key]
            if key == Self.inherits {
                if case .text(let parent) = node {
                    section.inherits = (parent, reader.toml.place(ofValue: keyPath))
                } else {
                    reader.complain(reader.toml.place(ofValue: keyPath), "a profile's name was expected here, not \(node.kind)")
                }
            } else if let known = PolicyKey(rawValue: key) {
                section.rules[known] = reader.rule(known, node, at: keyPath)
            } else {
                reader.complain(
                    reader.toml.place(ofKey: keyPath), "unknown key \(quoted(key)) in [\(kind.rawValue).\(name)]",
                    suggestion: nearest(to: key, among: PolicyKey.allCases.map(\.rawValue) + [Self.inherits]))
            }
        }
        sections.append(section)
    }
}
