// `paratpmctl doctor`: looks at everything that can keep guests from having their TPMs, and says how to mend it.
import ArgumentParser
import Glibc
import GuestIdentity
import SystemMap

/// One thing that was looked at.
struct Finding {
    enum Level: String {
        case good
        /// Worth knowing, and nothing fails for it.
        case note
        case problem
    }
    enum Topic: String, CaseIterable { case kernel, programs, chip, services, units, files, policy, guests, leftovers }

    let topic: Topic
    let level: Level
    let text: String
    /// What to do.
    let mend: String?

    static func good(_ topic: Topic, _ text: String) -> Finding { Finding(topic: topic, level: .good, text: text, mend: nil) }
    static func note(_ topic: Topic, _ text: String, mend: String? = nil) -> Finding {
        Finding(topic: topic, level: .note, text: text, mend: mend)
    }
    static func problem(_ topic: Topic, _ text: String, mend: String) -> Finding {
        Finding(topic: topic, level: .problem, text: text, mend: mend)
    }
}

struct Doctor: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look for what is wrong, and say how to mend it.",
        discussion: """
            Looks at the kernel, the programs, the chip, the services and their units, owners and modes of files, the policy files, the \
            guests, and what removed guests left. It changes nothing. As root it sees everything. Exit status: 0 when nothing is wrong, \
            69 otherwise.
            """)

    @OptionGroup var options: InstanceOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let findings = Examination(options.instance).findings
        let problems = findings.count { $0.level == .problem }
        if output.json {
            print(JSON.object([("ok", .bool(problems == 0)), ("findings", .array(findings.map(\.json)))]))
        } else {
            findings.forEach { $0.show() }
            print(problems == 0 ? "nothing is wrong" : problems == 1 ? "1 problem" : "\(problems) problems")
        }
        guard problems == 0 else { throw ArgumentParser.ExitCode(EX_UNAVAILABLE) }
    }
}

extension Finding {
    fileprivate func show() {
        let word = switch level {
        case .good: Terminal.coloured("good   ", .green)
        case .note: Terminal.coloured("note   ", .yellow)
        case .problem: Terminal.coloured("PROBLEM", .red)
        }
        print("\(word)  \(topic.rawValue): \(text)")
        if let mend { print("         to mend: \(mend)") }
    }

    fileprivate var json: JSON {
        .object([
            ("topic", .string(topic.rawValue)), ("level", .string(level.rawValue)), ("text", .string(text)),
            ("mend", mend.map { .string($0) } ?? .null),
        ])
    }
}

/// Of one instance, all at once.
struct Examination {
    let instance: Instance
    let services: [ServiceState]
    /// nil: the registry cannot be read.
    let guests: [Registration]?
    private let registryProblem: String

    init(_ instance: Instance) {
        self.instance = instance
        services = ServiceName.allCases.map { ServiceState($0, instance) }
        do throws(Failure) {
            guests = try GuestEnrolment.list(instance)
            registryProblem = ""
        } catch {
            guests = nil
            registryProblem = error.message
        }
    }

    var findings: [Finding] {
        kernel + programs + chip + running + gate + (instance.isSystem ? units : []) + files + policy + known + leftovers
    }

    private var running: [Finding] {
        let start = instance.isSystem ? "systemctl start paratpm.target" : "paratpmctl run --dir \(instance.stateDirectory)"
        return services.map { service in
            let name = "paratpm-\(service.service.rawValue)"
            guard let problem = service.problem else { return .good(.services, "\(name) answers") }
            return .problem(.services, "\(name): \(problem)", mend: "\(start); what it said: paratpmctl log --all")
        }
    }

    private var gate: [Finding] {
        guard services.contains(where: { $0.lines.contains { $0.key == "gate" && $0.value == GateSealCalls.noSecret } }) else { return [] }
        return [.problem(
            .services, "paratpm-policy has no gate secret: guests have no policy sessions, and no keys that need them",
            mend: "run paratpmctl host init; if the host had one, restore \(instance.gateRecord) from a backup first")]
    }

    private var known: [Finding] {
        guard let guests else {
            return [.problem(.guests, registryProblem, mend: "restore the file from a backup, or remove it and the guest's directory")]
        }
        let lost = ((try? instance.lostGuests()) ?? []).map { guest in
            Finding.note(
                .guests, "\(guest.name), which was made by starting swtpm, has lost its directory \(guest.home)",
                mend: "if it was deleted on purpose: paratpmctl guest prune")
        }
        return [.good(.guests, guests.isEmpty ? "none yet" : "\(guests.count) registered")] + lost + guests.flatMap(examine)
    }

    private func examine(_ guest: Registration) -> [Finding] {
        guard guest.home.isEmpty else { return [] }
        let identity = GuestEnrolment.identity(of: guest, instance)
        if access(identity, F_OK) != 0 && errno == ENOENT {
            return [.problem(
                .guests, "the identity of \(guest.name) is missing (\(identity)): it cannot start",
                mend: "restore it from a backup; without it the guest's keys are lost: paratpmctl guest remove \(guest.name)")]
        }
        guard instance.isSystem, let name = try? GuestUser.name(guest.name), UserDatabase.user(name)?.uid != guest.uid else { return [] }
        return [.problem(
            .guests, "\(guest.name) is registered for user \(guest.uid.map(String.init) ?? "none"), and \(name) is another",
            mend: "give the user \(name) that number again, with usermod --uid")]
    }
}
