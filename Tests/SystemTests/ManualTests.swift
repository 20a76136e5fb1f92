// The manual pages: every program, every subcommand with its options, every exit code, every key of policy files.
import Foundation
import GuestIdentity
import HostPolicy
import SystemMap
import Testing

/// What `paratpmctl --experimental-dump-help` prints.
private struct Help: Decodable {
    let command: Command
    struct Command: Decodable {
        let commandName: String
        let abstract: String?
        let discussion: String?
        let subcommands: [Command]?
        let arguments: [Argument]?
    }
    struct Argument: Decodable {
        let kind: String
        let isOptional: Bool
        let isRepeating: Bool
        let valueName: String?
        let abstract: String?
        let names: [Name]?
    }
    struct Name: Decodable {
        let kind: String
        let name: String
        var word: String { kind == "long" ? "--\(name)" : "-\(name)" }
    }
}

@Suite struct ManualTests {
    private let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("docs/man")
    private static let begin = ".\\\" What follows is written by scripts/generate-docs.\n", end = ".\\\" So much is written by scripts/generate-docs.\n"

    private func page(_ name: String) throws -> String {
        try String(contentsOf: directory.appendingPathComponent(name), encoding: .utf8)
    }

    @Test func everySubcommandHasItsSection() throws {
        let dump = try run(Programs.path("paratpmctl"), ["--experimental-dump-help"]).output
        let help = try JSONDecoder().decode(Help.self, from: Data(dump.utf8))
        let sections = leaves(help.command, []).map { section($0.path, $0.command) }.joined()
        let text = try page("paratpmctl.8")
        let (begin, end) = (try #require(text.range(of: Self.begin)), try #require(text.range(of: Self.end)))
        let wanted = text[..<begin.upperBound] + sections + text[end.lowerBound...]
        if ProcessInfo.processInfo.environment["PARATPM_WRITE_DOCS"] != nil {
            try wanted.write(to: directory.appendingPathComponent("paratpmctl.8"), atomically: true, encoding: .utf8)
        } else {
            #expect(text == wanted, "docs/man/paratpmctl.8 is stale: scripts/generate-docs writes it")
        }
    }

    private func leaves(_ command: Help.Command, _ path: [String]) -> [(path: [String], command: Help.Command)] {
        let below = (command.subcommands ?? []).filter { $0.commandName != "help" }
        return below.isEmpty ? [(path, command)] : below.flatMap { leaves($0, path + [$0.commandName]) }
    }

    private func section(_ path: [String], _ command: Help.Command) -> String {
        let arguments = (command.arguments ?? []).filter { argument in
            !(argument.names ?? []).contains { ["help", "version", "dir"].contains($0.name) }
        }
        let words = arguments.map { argument in
            let value = (argument.valueName ?? "").uppercased()
            let word = argument.names?.map(\.word).max { $0.count < $1.count }.map { argument.kind == "flag" ? $0 : "\($0) \(value)" } ?? value
            return (argument.isOptional ? "[\(word)]" : word) + (argument.isRepeating ? "..." : "")
        }
        let text = [command.abstract, command.discussion].compactMap { $0 }.flatMap { $0.split(separator: "\n") }.joined(separator: "\n")
        let options = arguments.map { argument in
            let names = argument.names?.map(\.word).joined(separator: ", ") ?? (argument.valueName ?? "").uppercased()
            return ".RS\n.TP\n\(roff(names))\n\(roff(argument.abstract ?? ""))\n.RE\n"
        }
        return ".TP\n.B \(path.joined(separator: " "))\n\(roff(words.joined(separator: " ")))\n.br\n\(roff(text))\n" + options.joined()
    }

    /// As troff wants it: hyphens that stay hyphens, no line that is a request.
    private func roff(_ text: String) -> String {
        text.replacingOccurrences(of: "\\", with: "\\e").replacingOccurrences(of: "-", with: "\\-")
            .split(separator: "\n").map { $0.hasPrefix(".") || $0.hasPrefix("'") ? "\\&" + $0 : String($0) }.joined(separator: "\n")
    }

    @Test func everyProgramHasAPageWithExamplesAndItsExitCodes() throws {
        for role in Role.allCases {
            let text = try page("\(role.rawValue).8")
            #expect(text.contains("\n.SH EXAMPLES\n"), "\(role)")
            for code in GuestIdentity.ExitCode.allCases { #expect(text.contains("\n\(code.rawValue)\t\(code.meaning)\n"), "\(role): \(code)") }
        }
        for name in ["paratpm-swtpm.8", "paratpm.7", "paratpm-policy.toml.5"] { #expect(try page(name).contains("\n.SH EXAMPLES\n")) }
    }

    @Test func everyKeyOfPolicyFilesIsDescribed() throws {
        let text = try page("paratpm-policy.toml.5")
        for key in PolicyKey.allCases { #expect(text.contains("\n.BR \(key.rawValue.replacingOccurrences(of: "-", with: "\\-")) "), "\(key.rawValue)") }
    }
}
