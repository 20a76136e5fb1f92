// Every subcommand that prints a result prints it as JSON with --json.
import Foundation
import TPMWire
import Testing

@Suite(.serialized) struct JSONOutputTests {
    /// They become something else, or serve until they end, and print no result.
    private static let withoutResult: Set = ["run", "guest run"]

    private static func subcommands() throws -> [(path: String, options: [String])] {
        let dump = try run(Programs.path("paratpmctl"), ["--experimental-dump-help"]).output
        let help = try #require(try JSONSerialization.jsonObject(with: Data(dump.utf8)) as? [String: Any])
        func leaves(_ command: [String: Any], _ path: [String]) -> [(path: String, options: [String])] {
            let below = (command["subcommands"] as? [[String: Any]] ?? []).filter { $0["commandName"] as? String != "help" }
            guard below.isEmpty else { return below.flatMap { leaves($0, path + [$0["commandName"] as? String ?? "?"]) } }
            let arguments = command["arguments"] as? [[String: Any]] ?? []
            let names = arguments.flatMap { $0["names"] as? [[String: Any]] ?? [] }.compactMap { $0["name"] as? String }
            return [(path.joined(separator: " "), names)]
        }
        return leaves(try #require(help["command"] as? [String: Any]), [])
    }

    @Test func everySubcommandWithAResultTakesJSON() throws {
        let all = try Self.subcommands()
        #expect(all.count > 25)
        for command in all where !Self.withoutResult.contains(command.path) {
            #expect(command.options.contains("json"), "paratpmctl \(command.path)")
        }
    }

    /// In an order in which each finds what it needs. In the arguments, “@x” is a file in a directory of the test's own, and GUEST a guest that
    /// runs, from START to STOP.
    private static let script: [(command: String, arguments: String)] = [
        ("host init", ""), ("host status", ""), ("host pcrs", ""), ("host enrol", "--out @evidence"), ("host enrol", ""),
        ("host verify", "@evidence --ek-pin 00"), ("attest challenge", "@evidence --out @challenge"), ("host activate", "@challenge"),
        ("host certificate", ""), ("host revocations", ""), ("host seal-gate", "--no-pcrs"),
        ("policy check", ""), ("policy compile", ""), ("policy show", "web"), ("policy explain", "web quota"), ("policy reload", ""),
        ("guest add", "web"), ("guest add", "bound"), ("guest bind", "bound --key @key"), ("host authorize-update", "--key @key"),
        ("guest list", ""), ("guest show", "web"), ("guest prune", "--dry-run"), ("status", ""), ("doctor", ""), ("sandbox show", "pcr"), ("log", ""),
        ("START", ""),
        ("guest certificate", "GUEST"), ("pcr read", "GUEST"), ("quote", "GUEST --nonce 00112233 --out @bundle"), ("quote", "GUEST --nonce 00112233"),
        ("attest request", "--nonce 00112233"), ("attest verify", "@bundle --nonce 00112233 --host-evidence @evidence --ek-pin 00"),
        ("guest certify", "GUEST"),
        ("STOP", ""),
        ("guest remove", "GUEST --yes"),
    ]

    @Test func whatTheyPrintIsJSON() throws {
        let broker = try Broker()
        let files = try TemporaryDirectory()
        try run("/usr/bin/openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", files.path + "/key"])
        var guest: Emulator?
        var name = ""
        for (command, text) in Self.script {
            switch command {
            case "START":
                let emulator = try Emulator(broker)
                try #require(emulator.connect().run(.getRandom) { $0.u16(8) }.code == .success)
                guest = emulator
                let list = try run(Programs.path("paratpmctl"), ["guest", "list", "--dir", broker.directory.path]).output
                name = String(try #require(list.split(separator: "\n").first { $0.hasPrefix("swtpm-") }).prefix { $0 != "\t" })
            case "STOP": guest = nil
            default:
                let words = text.split(separator: " ").map { $0 == "GUEST" ? name : String($0) }
                let arguments = words.map { $0.hasPrefix("@") ? "\(files.path)/\($0.dropFirst())" : $0 }
                try check(command.split(separator: " ").map(String.init) + arguments, isOffline: command.hasPrefix("attest") || command == "host verify", broker)
            }
        }
        #expect(guest == nil)
        let tried = Set(Self.script.map(\.command))
        for command in try Self.subcommands() where !Self.withoutResult.contains(command.path) {
            #expect(tried.contains(command.path), "paratpmctl \(command.path) is not tried")
        }
    }

    private func check(_ arguments: [String], isOffline: Bool, _ broker: Broker) throws {
        let instance = isOffline ? [] : ["--dir", broker.directory.path]
        let result = try run(Programs.path("paratpmctl"), arguments + instance + ["--json"])
        let lines = result.output.split(separator: "\n")
        // A log line may stand before it, and `log` prints an object to a line.
        for line in lines where !line.hasPrefix("paratpmctl:") {
            let value = try? JSONSerialization.jsonObject(with: Data(line.utf8))
            #expect(value is [String: Any] || value is [Any], "\(arguments): \(result.status): \(line)")
        }
        #expect(arguments.first == "log" || lines.contains { !$0.hasPrefix("paratpmctl:") }, "\(arguments): \(result)")
    }
}
