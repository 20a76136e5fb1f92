// `paratpmctl policy show` and `explain`: a guest's effective policy, and which rule decides.
import ArgumentParser
import GuestIdentity
import HostPolicy
import PolicyFiles
import SystemMap
import TPMWire

extension Policy {
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a guest's effective policy, with the rule that each value comes from.",
            discussion: "A guest that no file names has the profile “default”, or else what is built in.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var guest: GuestName
        @OptionGroup var output: OutputOptions

        func run() throws {
            try PolicySources.reporting(json: output.json) {
                let effective = try PolicySources.load([], options.instance).effective(guest)
                if output.json { return print(describe(effective)) }
                print("\(guest): \(effective.lineage.joined(separator: " < "))")
                for key in PolicyKey.allCases {
                    print("  \(key.rawValue) = \(text(key, effective))    # \(effective.origin(of: key))")
                }
            }
        }

        private func describe(_ effective: EffectivePolicy) -> JSON {
            let values = PolicyKey.allCases.map { key in
                (key.rawValue, JSON.object([
                    ("value", json(key, effective)), ("rule", .string(effective.origin(of: key).description)),
                    ("enforced-by", JSON.string(key.enforcedBy.rawValue)),
                ]))
            }
            return .object([
                ("guest", .string(guest.text)), ("inherits", .array(effective.lineage.map { .string($0) })), ("values", .object(values)),
            ])
        }

        private func json(_ key: PolicyKey, _ effective: EffectivePolicy) -> JSON {
            if let number = PolicyNumber[key] { return .number(effective.policy[keyPath: number.path]) }
            return .array(effective.words(key).map { word in Int(word).map { .number($0) } ?? .string(word) })
        }
    }

    struct Explain: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say whether a guest may do something, and which rule decides.",
            discussion: "WHAT is a TPM command (Quote, TPM2_Quote), an algorithm, a curve, or a key of policy files (nv-bytes); “quota” is all quotas.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var guest: GuestName
        @Argument(help: "What is asked about.") var what: String
        @OptionGroup var output: OutputOptions

        func run() throws {
            try PolicySources.reporting(json: output.json) {
                let effective = try PolicySources.load([], options.instance).effective(guest)
                let lines = try lines(effective)
                output.show(.array(lines.map { .string($0) })) { lines.forEach { print($0) } }
            }
        }

        private func lines(_ effective: EffectivePolicy) throws(Failure) -> [String] {
            let policy = effective.policy
            if what == "quota" || what == "quotas" { return PolicyNumber.quotas.map { explain($0.key, effective) } }
            if let key = PolicyKey(rawValue: what) { return [explain(key, effective)] }
            if let code = PolicyWords.command(what) {
                return [verdict(policy.commands.contains(code), .commands, .deniedCommands, effective, PolicyWords.requiredCommands.contains(code))]
            }
            if let algorithm = PolicyWords.algorithms.first(where: { $0.name == what }) {
                return [verdict(policy.algorithms.contains(algorithm.value), .algorithms, .deniedAlgorithms, effective, false)]
            }
            if PolicyWords.requiredAlgorithms.contains(what) { return [verdict(true, .algorithms, .deniedAlgorithms, effective, true)] }
            if let curve = PolicyWords.curves.first(where: { $0.name == what }) {
                return [verdict(policy.curves.contains(curve.value), .curves, .curves, effective, false)]
            }
            throw Failure(.usage, "\(printable(what)) is no TPM command, algorithm, curve or key of policy files"
                + (suggestion.map { "; did you mean “\($0)”?" } ?? ""))
        }

        private var suggestion: String? {
            nearest(to: what, among: PolicyWords.names(of: GuestPolicy.builtIn.commands) + PolicyWords.algorithms.map(\.name)
                + PolicyWords.curves.map(\.name) + PolicyKey.allCases.map(\.rawValue))
        }

        private func explain(_ key: PolicyKey, _ effective: EffectivePolicy) -> String {
            "\(guest): \(key.rawValue) is \(text(key, effective)): \(effective.origin(of: key)); \(key.enforcement)"
        }

        /// - Parameters:
        ///   - positive: the key that lists what is allowed.
        ///   - negative: the key that takes away from it.
        private func verdict(
            _ isAllowed: Bool, _ positive: PolicyKey, _ negative: PolicyKey, _ effective: EffectivePolicy, _ isRequired: Bool
        ) -> String {
            let subject = "\(guest): \(what) is \(isAllowed ? "allowed" : "refused")"
            if isRequired { return "\(subject): every TPM needs it" }
            let isDenied = !isAllowed && denies(effective, negative)
            let key = isDenied ? negative : positive
            return "\(subject): \(key.rawValue): \(effective.origin(of: key)); \(key.enforcement)"
        }

        private func denies(_ effective: EffectivePolicy, _ negative: PolicyKey) -> Bool {
            effective.denied(by: negative).contains { $0 == what || "TPM2_" + $0 == what }
        }
    }
}

/// A value as a file would have it.
private func text(_ key: PolicyKey, _ effective: EffectivePolicy) -> String {
    let (policy, words) = (effective.policy, effective.words(key))
    if PolicyNumber[key] != nil { return words.first ?? "" }
    if key == .commands, policy.commands == GuestPolicy.builtIn.commands { return "\"all\"" }
    if key == .algorithms, policy.algorithms == GuestPolicy.builtIn.algorithms { return "\"all\"" }
    return "[" + words.map { Int($0) == nil ? "\"\($0)\"" : $0 }.joined(separator: ", ") + "]"
}
