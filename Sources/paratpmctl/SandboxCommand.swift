// `paratpmctl sandbox …`: what each process may do, and why.
import ArgumentParser
import Sandbox
import SystemMap

struct SandboxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sandbox", abstract: "Show what each process of paratpm may do.", subcommands: [Show.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the profiles: every permitted system call, file and limit, with its reason.",
            discussion: "What is not listed ends the process (system calls) or is refused (files).")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "One process only: \(ConfinedRole.allCases.map(\.rawValue).joined(separator: ", ")).")
        var role: ConfinedRole?
        @OptionGroup var output: OutputOptions

        func run() {
            let profiles = (role.map { [$0] } ?? ConfinedRole.allCases).map { ($0, $0.profile(options.instance)) }
            if output.json {
                print(JSON.object(profiles.map { ($0.rawValue, $1.json) }))
            } else {
                print(profiles.map { "\($0.rawValue): \($1.callNames.count) system calls\n" + $1.lines }.joined(separator: "\n\n"))
            }
        }
    }
}

extension ConfinedRole: ExpressibleByArgument {}

extension Profile {
    fileprivate var lines: String {
        let rows = calls.map { (([$0.name] + $0.conditions.map { "(\($0.text))" }).joined(separator: " "), $0.because) }
            + files.map { ("\($0.path): \($0.rights.text)", $0.because) }
            + limits.map { ("limit of \($0.resource.rawValue): \($0.most)", $0.because) }
        let width = rows.map(\.0.count).max() ?? 0
        return rows.map { "  \($0.0.padded(to: width))  \($0.1)" }.joined(separator: "\n")
    }

    fileprivate var json: JSON {
        .object([
            ("calls", .array(calls.map { call in
                .object([
                    ("name", .string(call.name)), ("conditions", .array(call.conditions.map { .string($0.text) })),
                    ("because", .string(call.because)),
                ])
            })),
            ("files", .array(files.map { file in
                .object([("path", .string(file.path)), ("rights", .string(file.rights.text)), ("because", .string(file.because))])
            })),
            ("limits", .array(limits.map { limit in
                .object([
                    ("resource", .string(limit.resource.rawValue)), ("most", .string("\(limit.most)")),
                    ("because", .string(limit.because)),
                ])
            })),
        ])
    }
}
