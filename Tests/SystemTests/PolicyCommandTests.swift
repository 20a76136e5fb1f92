// `paratpmctl policy …` on good and broken files.
import Foundation
import Testing

@Suite(.serialized) struct PolicyCommandTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try FileManager.default.createDirectory(atPath: directory.path + "/policy.d", withIntermediateDirectories: true)
    }

    private func write(_ text: String, _ name: String = "host.toml") throws {
        try text.write(toFile: "\(directory.path)/policy.d/\(name)", atomically: true, encoding: .utf8)
    }

    private func policy(_ arguments: String...) throws -> (status: Int32, output: String) {
        try run(Programs.path("paratpmctl"), ["policy"] + arguments + ["--dir", directory.path])
    }

    @Test func goodFilesAreGood() throws {
        #expect(try policy("check") == (0, "good: 0 profiles, 0 guests\n"))
        try write("[profile.a]\nlocalities = [0]\n")
        try write("[guest.b]\ninherits = \"a\"\n", "guests.toml")
        #expect(try policy("check") == (0, "good: 1 profiles, 1 guests\n"))
        #expect(try policy("check", "--json") == (0, "{\"ok\": true, \"profiles\": [\"a\"], \"guests\": [\"b\"]}\n"))
    }

    @Test func aBrokenFileEndsEveryCommandWith65AndSaysWhere() throws {
        try write("[guest.b]\n\nwieght = 3\n")
        let file = "\(directory.path)/policy.d/host.toml"
        let line = "\(file):3:1: error: unknown key “wieght” in [guest.b]; did you mean “weight”?\n"
        for command in [["check"], ["compile"], ["reload"], ["show", "b"], ["explain", "b", "Quote"]] {
            #expect(try run(Programs.path("paratpmctl"), ["policy"] + command + ["--dir", directory.path]) == (65, line))
        }
        #expect(access(directory.path + "/rules/compiled", F_OK) != 0)
        let json = try policy("check", "--json")
        #expect(json.status == 65 && json.output.contains("\"line\": 3, \"column\": 1") && json.output.contains("\"suggestion\": \"weight\""))
        #expect(try policy("check", "/nonexistent.toml").status == 66)
    }

    @Test func showSaysWhereEachValueComesFrom() throws {
        try write("[profile.a]\nweight = 5\n[guest.b]\ninherits = \"a\"\nsessions = 8\n")
        let file = "\(directory.path)/policy.d/host.toml"
        let shown = try policy("show", "b")
        #expect(shown.status == 0)
        #expect(shown.output.hasPrefix("b: guest.b < profile.a < built-in\n"))
        #expect(shown.output.contains("  weight = 5    # [profile.a] \(file):2:1\n"))
        #expect(shown.output.contains("  sessions = 8    # [guest.b] \(file):5:1\n"))
        #expect(shown.output.contains("  nv-bytes = 65536    # built-in\n"))
        #expect(try policy("show", "b", "--json").output.contains("\"weight\": {\"value\": 5, \"rule\": \"[profile.a] \(file):2:1\""))
    }

    @Test func explainNamesTheRuleThatDecides() throws {
        try write("[profile.a]\ndeny-commands = [\"Clear\"]\nsessions = 8\n[guest.b]\ninherits = \"a\"\ncommands = [\"Clear\", \"Quote\"]\n")
        let file = "\(directory.path)/policy.d/host.toml"
        func explain(_ what: String) throws -> String { try policy("explain", "b", what).output }
        #expect(try explain("TPM2_Clear") == "b: TPM2_Clear is refused: deny-commands: [profile.a] \(file):2:1; enforced by paratpm-proxy\n")
        #expect(try explain("Quote") == "b: Quote is allowed: commands: [guest.b] \(file):6:1; enforced by paratpm-proxy\n")
        #expect(try explain("Sign") == "b: Sign is refused: commands: [guest.b] \(file):6:1; enforced by paratpm-proxy\n")
        #expect(try explain("Startup") == "b: Startup is allowed: every TPM needs it\n")
        #expect(try explain("sha1") == "b: sha1 is allowed: algorithms: built-in; enforced by paratpm-proxy\n")
        #expect(try explain("sessions") == "b: sessions is 8: [profile.a] \(file):3:1; enforced by paratpm-proxy\n")
        #expect(try explain("quota").split(separator: "\n").count == 9)
        let wrong = try policy("explain", "b", "Qoute")
        #expect(wrong.status == 64 && wrong.output.contains("did you mean “Quote”?"))
    }

    /// A door opens its sockets first, and ends when the services refuse it.
    private func expectNoGuest(_ broker: Broker) throws {
        let refused = try? Emulator(broker)
        try eventually("the refused door ends") { refused?.child.isRunning != true }
    }

    /// A line goes through the copier of `paratpmctl run`.
    private func expectLog(_ text: String, _ broker: Broker) throws {
        try eventually("the log has: \(text)") { broker.child.log.contains(text) }
    }

    @Test func aReloadIsObeyedAtOnceAndABrokenFileChangesNothing() throws {
        let broker = try Broker()
        func policy(_ command: String) throws -> (status: Int32, output: String) {
            try run(Programs.path("paratpmctl"), ["policy", command, "--dir", broker.directory.path])
        }
        let file = broker.directory.path + "/policy.d/host.toml"
        try FileManager.default.createDirectory(atPath: broker.directory.path + "/policy.d", withIntermediateDirectories: true)
        func write(_ text: String) throws { try text.write(toFile: file, atomically: true, encoding: .utf8) }
        func setLocality(_ locality: UInt8, _ guest: Emulator) throws -> UInt32 {
            let answer = try TPMConnection(guest.controlSocket).exchange([0, 0, 0, 5, locality], answer: 4)
            return answer.reduce(0) { $0 << 8 | UInt32($1) }
        }
        let guest = try Emulator(broker)
        #expect(try setLocality(3, guest) == 0)
        try write("[profile.default]\nlocalities = [0]\n")
        let reloaded = try policy("reload")
        #expect(reloaded.status == 0 && reloaded.output.contains("other guests: localities: -1 -2 -3 -4"), "\(reloaded)")
        try expectLog("event=policy-changed key=localities change=\"-1 -2 -3 -4\"", broker)
        #expect(try setLocality(3, guest) != 0)
        #expect(try setLocality(0, guest) == 0)
        try expectLog("event=locality-refused guest=", broker)
        try write("[profile.default]\nlocalitys = [0, 3]\n")
        #expect(try policy("reload").status == 65)
        #expect(try setLocality(3, guest) != 0)
        // Another user's door, and a guest of somebody who may not make any
        try write("[profile.default]\nusers = [12345]\n")
        #expect(try policy("reload").status == 0)
        try expectNoGuest(broker)
        try expectLog("event=door-refused guest=", broker)
        try write("[host]\nenrol-users = [12345]\n")
        #expect(try policy("reload").status == 0)
        try expectNoGuest(broker)
        try expectLog("event=enrolment-refused guest=", broker)
        #expect(try setLocality(3, guest) == 0, "a door that is there stays")
    }

    @Test func reloadWithoutABrokerChangesNothing() throws {
        try write("[profile.default]\nweight = 5\n")
        #expect(try policy("reload").status == 69)
        #expect(access(directory.path + "/rules/compiled", F_OK) != 0)
        #expect(try policy("compile").status == 0)
        #expect(access(directory.path + "/rules/compiled", F_OK) == 0)
    }
}
