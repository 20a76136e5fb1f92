// `paratpmctl policy …`: what the host allows its guests. The text form of the policy is read here and nowhere else.
import ArgumentParser
import Glibc
import GuestIdentity
import HostPolicy
import IPC
import PolicyFiles
import SystemMap
import Wire

struct Policy: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check, show and put in force what the host allows its guests.",
        discussion: """
            The policy files are all *.toml in /etc/paratpm, or in DIR/policy.d of an instance with a directory of its own. \
            docs/policy.md describes them. Exit status: 65 when a file is wrong.
            """,
        subcommands: [Check.self, Compile.self, Show.self, Explain.self, Reload.self])

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check policy files.",
            discussion: "Without FILE the instance's own. Files that are named are checked as if they were all there is.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "Policy files.", completion: .file(extensions: ["toml"])) var file: [String] = []
        @OptionGroup var output: OutputOptions

        func run() throws {
            try PolicySources.reporting(json: output.json) {
                let text = try PolicySources.load(file, options.instance)
                output.show(text.summary()) { print("good: \(text.profileNames.count) profiles, \(text.guestNames.count) guests") }
            }
        }
    }

    struct Compile: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compile the policy files to the form that the services load.",
            discussion: """
                The services read it when they start. To put it in force now, use reload. With --keep a wrong file is shown, and is an error \
                only where no policy was compiled before: the former one stays.
                """)

        @OptionGroup var options: InstanceOptions
        @Option(help: ArgumentHelp("Write there instead of the instance's place.", valueName: "path")) var output: String?
        @Flag(help: "Where a file is wrong, keep what was compiled before.") var keep = false
        @OptionGroup var result: OutputOptions

        func run() throws {
            do { try compile() } catch {
                guard keep, access(options.instance.compiledPolicy, F_OK) == 0 else { throw error }
                log(.error, .control, "the policy that was compiled before stays")
            }
        }

        private func compile() throws {
            try PolicySources.reporting(json: result.json) {
                let text = try PolicySources.load([], options.instance)
                try CompiledPolicy.write(text.compiled(), options.instance, at: output)
                result.show(text.summary(("file", .string(output ?? options.instance.compiledPolicy)))) {}
            }
        }
    }

    struct Reload: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compile the policy files and put them in force, as a whole.",
            discussion: """
                Running guests obey at once. Connections that are there stay. A file that is wrong leaves the old policy in \
                force. Exit status: 65 for a wrong file, 69 when a service did not take the policy over.
                """)

        @OptionGroup var options: InstanceOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            try PolicySources.reporting(json: output.json) {
                let text = try PolicySources.load([], options.instance)
                let changes = try CompiledPolicy.putInForce(text.compiled(), options.instance)
                output.show(.object([("ok", .bool(true)), ("changes", .array(changes.map(describe)))])) {
                    for change in changes { print("\(change.guest?.text ?? "other guests"): \(change.key.rawValue): \(change.text)") }
                    print(changes.isEmpty ? "nothing changed" : "in force; connections that are there stay")
                }
            }
        }

        private func describe(_ change: PolicyChange) -> JSON {
            .object([
                ("guest", change.guest.map { .string($0.text) } ?? .null), ("key", .string(change.key.rawValue)),
                ("old", .array(change.old.map { .string($0) })), ("new", .array(change.new.map { .string($0) })),
            ])
        }
    }
}

extension HostPolicyText {
    /// - Parameter more: what else is to be said of it.
    fileprivate func summary(_ more: (String, JSON)...) -> JSON {
        .object([
            ("ok", .bool(true)), ("profiles", .array(profileNames.map { .string($0) })), ("guests", .array(guestNames.map { .string($0) })),
        ] + more)
    }
}

/// The compact form in its place.
enum CompiledPolicy {
    /// Seconds that a service has to take a policy over; paratpm-device may be waiting for a slow chip.
    private static let patience = 60

    static func write(_ set: PolicySet, _ instance: Instance, at path: String? = nil) throws(Failure) {
        if path == nil { try Files.makeDirectory(instance.rulesDirectory, mode: 0o755) }
        try Files.write(path ?? instance.compiledPolicy, set.wire, mode: 0o644, replacing: true)
    }

    /// Writes it and tells the services. One that refuses keeps its old policy, and the file becomes what it was.
    /// - Returns: what changed.
    static func putInForce(_ set: PolicySet, _ instance: Instance) throws(Failure) -> [PolicyChange] {
        let former = try Files.read(instance.compiledPolicy, max: PolicySet.largest)
        try write(set, instance)
        var told: [ServiceName] = []
        do throws(Failure) {
            // The policy checker first: what it does not understand, nobody shall obey.
            for service in [ServiceName.policy, .pcr, .device] {
                try tell(service, instance)
                told.append(service)
            }
        } catch {
            if let former { try Files.write(instance.compiledPolicy, former, mode: 0o644, replacing: true) } else { try Files.remove(instance.compiledPolicy) }
            for service in told { try tell(service, instance) }
            throw error
        }
        return set.changes(since: former.flatMap { try? PolicySet(wire: $0) } ?? .builtIn)
    }

    private static func tell(_ service: ServiceName, _ instance: Instance) throws(Failure) {
        do throws(IPCError) {
            let channel = try Channel.connect(instance.socket(service), timeout: patience)
            _ = try channel.call(ReloadPolicyCall.self, Nothing())
        } catch {
            throw Failure(.unavailable, "paratpm-\(service.rawValue) does not take the policy over, and the old one stays in force: \(explain(error))")
        }
    }
}
