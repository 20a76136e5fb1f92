// All policy files of a host together: profiles resolved, guests' effective policies, and the rule that each value comes from.
import HostPolicy
import SystemMap

/// Where a value of a guest's policy comes from.
package enum PolicyOrigin: Equatable, Sendable, CustomStringConvertible {
    case builtIn
    /// "profile.cloud" or "guest.web1", and the place of the key
    case rule(section: String, Place)

    package var description: String {
        switch self {
        case .builtIn: "built-in"
        case .rule(let section, let place): "[\(section)] \(place)"
        }
    }
}

package struct EffectivePolicy: Sendable {
    package let policy: GuestPolicy
    /// Of the keys that some file sets.
    fileprivate let rules: [PolicyKey: (section: String, rule: PolicyRule)]
    /// What was inherited from what: ["guest.web1", "profile.cloud", "built-in"]
    package let lineage: [String]

    package func origin(of key: PolicyKey) -> PolicyOrigin {
        rules[key].map { .rule(section: $0.section, $0.rule.place) } ?? .builtIn
    }

    /// What a key says, as a file would say it.
    package func words(_ key: PolicyKey) -> [String] {
        key == .deniedCommands || key == .deniedAlgorithms ? denied(by: key) : key.words(of: policy)
    }

    /// What a denying key takes away, by name; empty where no file has the key.
    package func denied(by key: PolicyKey) -> [String] {
        switch rules[key]?.rule.value {
        case .commands(let codes): PolicyWords.names(of: codes)
        case .algorithms(let algorithms): PolicyWords.algorithms.filter { algorithms.contains($0.value) }.map(\.name)
        default: []
        }
    }
}

package struct HostPolicyText {
    /// The profile of guests that no table names, where some file has it.
    private static let standardProfile = "default"

    private var profiles: [String: PolicySection] = [:]
    private var guests: [String: PolicySection] = [:]
    private var enrol: (users: Set<UInt32>?, groups: Set<UInt32>?, place: Place)?

    package var profileNames: [String] { profiles.keys.sorted() }
    package var guestNames: [String] { guests.keys.sorted() }

    /// - Parameter sources: the files' names and texts.
    /// - Throws: everything that is wrong, in order of place.
    package init(_ sources: [(file: String, text: String)]) throws(PolicyProblems) {
        var problems: [PolicyProblem] = []
        for source in sources {
            let file = PolicyFile(source.text, file: source.file)
            problems += file.problems
            for section in file.sections { add(section, &problems) }
            if let enrol = file.enrol {
                if let first = self.enrol {
                    problems.append(PolicyProblem(enrol.place, "[host] stands in \(first.place) already"))
                } else {
                    self.enrol = enrol
                }
            }
        }
        problems += inheritanceProblems
        guard problems.isEmpty else { throw PolicyProblems(problems) }
    }

    private mutating func add(_ section: PolicySection, _ problems: inout [PolicyProblem]) {
        let known = section.kind == .profile ? profiles[section.name] : guests[section.name]
        if let known {
            problems.append(PolicyProblem(section.place, "[\(section.kind.rawValue).\(section.name)] stands in \(known.place) already"))
        } else if section.kind == .profile {
            profiles[section.name] = section
        } else {
            guests[section.name] = section
        }
    }

    /// Profiles that are not there, and profiles that inherit from themselves.
    private var inheritanceProblems: [PolicyProblem] {
        let sections = Array(profiles.values) + Array(guests.values)
        return sections.compactMap { section in
            guard let parent = section.inherits else { return nil }
            guard profiles[parent.name] != nil else {
                // Both are there without a file.
                if [PolicyFile.builtInProfile, Self.standardProfile].contains(parent.name) { return nil }
                return PolicyProblem(
                    parent.place, "there is no profile \(quoted(parent.name))",
                    suggestion: nearest(to: parent.name, among: profileNames + [PolicyFile.builtInProfile]))
            }
            guard section.kind == .profile, lineage(of: section).contains(where: { $0.name == section.name }) else { return nil }
            return PolicyProblem(parent.place, "the profile \(quoted(section.name)) inherits from itself")
        }
    }

    /// The profiles above a section, the nearest first.
    private func lineage(of section: PolicySection) -> [PolicySection] {
        var above: [PolicySection] = []
        var next = section.inherits?.name ?? (section.kind == .guest ? Self.standardProfile : nil)
        while let name = next, let profile = profiles[name], !above.contains(where: { $0.name == name }) {
            above.append(profile)
            next = profile.inherits?.name
        }
        return above
    }

    // MARK: Effective policies

    /// - Parameter name: any guest's; one that no table names has the standard profile.
    package func effective(_ name: GuestName) -> EffectivePolicy {
        guard let guest = guests[name.text] else { return standard }
        return effective([guest] + lineage(of: guest))
    }

    private var standard: EffectivePolicy {
        guard let profile = profiles[Self.standardProfile] else { return effective([]) }
        return effective([profile] + lineage(of: profile))
    }

    private func effective(_ sections: [PolicySection]) -> EffectivePolicy {
        var rules: [PolicyKey: (section: String, rule: PolicyRule)] = [:]
        for section in sections.reversed() {
            for (key, rule) in section.rules { rules[key] = ("\(section.kind.rawValue).\(section.name)", rule) }
        }
        var policy = GuestPolicy.builtIn
        for key in PolicyKey.allCases { rules[key]?.rule.apply(to: &policy) }
        let lineage = sections.map { "\($0.kind.rawValue).\($0.name)" } + [PolicyFile.builtInProfile]
        return EffectivePolicy(policy: policy, rules: rules, lineage: lineage)
    }

    /// The compact form.
    package func compiled() -> PolicySet {
        var set = PolicySet()
        set.enrol = AccessList(users: enrol?.users ?? [], groups: enrol?.groups ?? [])
        set.standard = standard.policy
        for text in guestNames {
            if let name = GuestName(text) { set.guests[name] = effective(name).policy }
        }
        return set
    }
}

/// What is wrong with a host's policy files; never empty.
package struct PolicyProblems: Error, Sendable {
    package let all: [PolicyProblem]

    init(_ problems: [PolicyProblem]) {
        all = problems.sorted { ($0.place.file, $0.place.line, $0.place.column) < ($1.place.file, $1.place.line, $1.place.column) }
    }
}
