// `paratpmctl guest show`: one guest, with all that is known of it.
import ArgumentParser
import Attestation
import Glibc
import GuestIdentity
import PolicyFiles
import SystemMap

extension Guest {
    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a guest: its id, files, user, processes, vPCRs' state, use of the chip, and the policy that it is under.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            let id = try instance.guest(name)
            let services = ServiceName.allCases.map { ServiceState($0, instance) }
            guard let guest = try GuestEnrolment.load(name, instance).map({ GuestState($0, services) }) else {
                throw Failure(.noInput, "there is no guest \(name)")
            }
            // An answer that is missing is shown as such: the services' own states say why.
            let binding = (try? instance.binding(of: id)).map { JSON.string($0.map { PCRChoice($0.selection).description } ?? "no") }
            let fields = guest.json + files(guest.registration, instance) + [
                ("policy", .array(lineage(instance).map { .string($0) })), ("bound-to-host-pcrs", binding ?? .null),
            ]
            if output.json { return print(JSON.object(fields)) }
            for (key, value) in fields { print("\(key): \(value.plain)") }
        }

        private func files(_ guest: Registration, _ instance: Instance) -> [(String, JSON)] {
            let files = GuestFiles(guest, instance)
            var status = stat()
            let isThere = stat(files.state, &status) == 0
            return [
                ("user", guest.uid.map { .number(Int($0)) } ?? .null), ("directory", .string(files.directory)),
                ("state-file", .string(files.state)), ("state-bytes", isThere ? .number(Int(status.st_size)) : .null),
                ("control-socket", guest.home.isEmpty ? .string(instance.controlSocket(name)) : .null),
            ]
        }

        private func lineage(_ instance: Instance) -> [String] {
            (try? PolicySources.load([], instance).effective(name).lineage) ?? ["(the policy files are wrong: paratpmctl policy check)"]
        }
    }
}

extension JSON {
    /// For people.
    fileprivate var plain: String {
        switch self {
        case .string(let text): text
        case .null: "-"
        case .array(let values): values.map(\.plain).joined(separator: " < ")
        case .object(let fields): fields.map { "\($0.0) \($0.1.plain)" }.joined(separator: ", ")
        default: description
        }
    }
}
