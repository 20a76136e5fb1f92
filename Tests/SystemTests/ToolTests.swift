// What paratpmctl says of a running broker: status, one guest, its vPCRs; and guests whose directories are gone.
import CSystem
import Foundation
import GuestIdentity
import Testing
import TPMWire

@Suite(.serialized) struct ToolTests {
    private func ctl(_ broker: Broker, _ arguments: String...) throws -> (status: Int32, output: String) {
        try run(Programs.path("paratpmctl"), arguments + ["--dir", broker.directory.path])
    }

    private func object(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    private func onlyGuest(_ broker: Broker) throws -> String {
        let list = try JSONSerialization.jsonObject(with: Data(try ctl(broker, "guest", "list", "--json").output.utf8)) as? [[String: String]]
        return try #require(list?.first?["name"])
    }

    @Test(arguments: ["paratpmctl", "paratpm-device", "paratpm-pcr", "paratpm-policy", "paratpm-guest"])
    func aProgramSaysItsVersion(program: String) throws {
        #expect(try run(Programs.path(program), ["--version"]) == (0, "\(program) \(paratpmVersion)\n"))
    }

    @Test func aRunningGuestIsShownWithItsProcessesItsVPCRsAndItsUseOfTheChip() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        let c = try guest.connect()
        _ = try c.primary(Template.eccStorage)
        #expect(try c.extendPCR(10, [TaggedDigest(.sha256, [UInt8](repeating: 0, count: 32))]) == .success)

        let status = try ctl(broker, "status", "--json")
        #expect(status.status == 0)
        let all = try object(status.output)
        let device = try #require((all["services"] as? [String: Any])?["device"] as? [String: Any])
        #expect(device["up"] as? Bool == true && device["transient-objects"] as? String == "3")
        #expect(try broker.processes { $0.contains("paratpm-device") }.contains { ($0 as NSNumber) == (device["process"] as? [String: Any])?["pid"] as? NSNumber })
        let shown = try #require((all["guests"] as? [[String: Any]])?.first)
        #expect(shown["state"] as? String == "started" && shown["boots"] as? Int == 1)
        #expect((shown["door"] as? [String: Any])?["pid"] as? Int == Int(guest.child.pid))
        #expect((shown["proxy"] as? [String: Any])?["pid"] != nil)
        // TPM2_Create under the guest's root is at least one command of the chip.
        #expect(try #require(shown["chip-commands"] as? Int) > 0 && #require(shown["chip-microseconds"] as? Int) > 0)

        let name = try onlyGuest(broker)
        let one = try object(try ctl(broker, "guest", "show", name, "--json").output)
        #expect(one["id"] as? String == shown["id"] as? String)
        #expect(one["state-file"] as? String == guest.stateFile)
        #expect(one["policy"] as? [String] == ["built-in"])
        // SHA-256 of 64 zero bytes
        let digest = "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"
        let read = try ctl(broker, "pcr", "read", name, "sha1:3+sha256:10")
        #expect(read == (0, "sha1:\n   3 : 0x\(String(repeating: "0", count: 40))\nsha256:\n  10 : 0x\(digest.uppercased())\n"))
        let json = try object(try ctl(broker, "pcr", "read", name, "sha256:10", "--json").output)
        #expect((json["values"] as? [String: [String: String]])?["sha256"]?["10"] == digest)
    }

    @Test func onlyTheDeviceOwnerRunsUnderBatchScheduling() throws {
        let broker = try Broker()
        func policies(_ program: String) throws -> [Int32] {
            try broker.processes { $0.contains("/\(program) ") }.map { sched_getscheduler($0) }
        }
        #expect(try policies("paratpm-device") == [CSYSTEM_SCHED_BATCH])
        for program in ["paratpm-pcr", "paratpm-policy"] { #expect(try policies(program) == [sched_getscheduler(0)]) }
        for pid in try broker.processes({ $0.contains("/paratpm-device ") }) { kill(pid, SIGKILL) }
        try eventually("the device owner is started again") { (try? policies("paratpm-device")) == [CSYSTEM_SCHED_BATCH] }
    }

    @Test func statusIsRepeatedPlainlyWhereThereIsNoTerminal() throws {
        let broker = try Broker()
        let twice = try ctl(broker, "status", "--watch", "--count", "2", "--interval", "1")
        #expect(twice.status == 0 && !twice.output.contains("\u{1B}"))
        #expect(twice.output.components(separatedBy: "paratpm-device: up").count == 3)
        broker.child.stop()
        let down = try ctl(broker, "status")
        #expect(down.status == 69 && down.output.contains("paratpm-pcr: down (not running)"))
    }

    @Test func eventsAreInTheInstancesLog() throws {
        let broker = try Broker()
        let files = broker.directory.path + "/policy.d"
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
        try "[guest.web]\nlocalities = [0, 1]\n".write(toFile: files + "/host.toml", atomically: true, encoding: .utf8)
        #expect(try ctl(broker, "policy", "reload").status == 0)
        try eventually("the event is in the log") { (try? ctl(broker, "log").output.contains("policy-changed")) ?? false }
        let event = try object(try ctl(broker, "log", "--json", "--guest", "web").output)
        #expect(event["program"] as? String == "paratpm-policy" && event["event"] as? String == "policy-changed")
        #expect(event["guest"] as? String == "web")
        #expect((event["values"] as? [String: String])?["key"] == "localities")
        #expect(try ctl(broker, "log", "--event", "door-refused") == (0, ""))
        #expect(try ctl(broker, "log", "--all", "-n", "1", "--since", "2999-01-01T00:00:00Z") == (0, ""))
        let all = try ctl(broker, "log", "--all").output.split(separator: "\n")
        #expect(all.count > 2 && all.allSatisfy { $0.wholeMatch(of: /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \S+: .*/) != nil })
        #expect(try ctl(broker, "log", "--all", "-n", "1").output == all[all.count - 1] + "\n")
        #expect(try ctl(broker, "log", "--event", "no-such-event").status == 64)
    }

    @Test func theDoctorFindsWhatIsWrongAndSaysHowToMendIt() throws {
        let broker = try Broker()
        let directory = broker.directory.path
        #expect(try ctl(broker, "guest", "add", "alice").status == 0)
        let healthy = try ctl(broker, "doctor")
        #expect(healthy.status == 0 && healthy.output.hasSuffix("nothing is wrong\n"), "\(healthy.output)")

        let (identity, stranger) = (directory + "/guests/alice/paratpm-identity", directory + "/guests/zed")
        chmod(identity, 0o644)
        try FileManager.default.createDirectory(atPath: stranger, withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: directory + "/policy.d", withIntermediateDirectories: true)
        try "x = 1".write(toFile: directory + "/policy.d/host.toml", atomically: true, encoding: .utf8)
        let ill = try object(try ctl(broker, "doctor", "--json").output)
        let findings = try #require(ill["findings"] as? [[String: Any]])
        func mend(_ topic: String, _ level: String) -> [String] {
            findings.filter { $0["topic"] as? String == topic && $0["level"] as? String == level }.compactMap { $0["mend"] as? String }
        }
        #expect(ill["ok"] as? Bool == false)
        #expect(mend("files", "problem") == ["chmod 600 \(identity)"])
        #expect(mend("policy", "problem") == ["correct the file, then paratpmctl policy reload"])
        #expect(mend("leftovers", "note").count == 1)

        chmod(identity, 0o600)
        try "[guest.alice]\nlocalities = [0]".write(toFile: directory + "/policy.d/host.toml", atomically: true, encoding: .utf8)
        let changed = try ctl(broker, "doctor")
        #expect(changed.status == 0 && changed.output.contains("to mend: paratpmctl policy reload"), "a policy that is not in force yet is no problem")
        broker.child.stop()
        let down = try ctl(broker, "doctor")
        #expect(down.status == 69 && down.output.contains("PROBLEM  services: paratpm-device: not running\n         to mend: paratpmctl run --dir \(directory)"))
    }

    @Test func compilingWithKeepLeavesTheFormerPolicyAndNeedsOne() throws {
        let directory = try TemporaryDirectory()
        let (files, compiled) = (directory.path + "/policy.d", directory.path + "/rules/compiled")
        try FileManager.default.createDirectory(atPath: files, withIntermediateDirectories: true)
        func compile() throws -> Int32 { try run(Programs.path("paratpmctl"), ["policy", "compile", "--keep", "--dir", directory.path]).status }
        try "nonsense = 1".write(toFile: files + "/host.toml", atomically: true, encoding: .utf8)
        #expect(try compile() == 65, "there is no former one")
        try "[guest.web]\nlocalities = [0]\n".write(toFile: files + "/host.toml", atomically: true, encoding: .utf8)
        #expect(try compile() == 0)
        let former = FileManager.default.contents(atPath: compiled)
        try "nonsense = 1".write(toFile: files + "/host.toml", atomically: true, encoding: .utf8)
        #expect(try compile() == 0)
        #expect(former != nil && FileManager.default.contents(atPath: compiled) == former)
    }

    @Test func aGuestThatIsNotThereIsNoInput() throws {
        let broker = try Broker()
        for command in [["guest", "show", "nobody"], ["pcr", "read", "nobody"], ["guest", "remove", "nobody"]] {
            #expect(try run(Programs.path("paratpmctl"), command + ["--dir", broker.directory.path]).status == 66)
        }
    }

    @Test func whatARemovedGuestLeftIsNeverAnothersAndComesBackOnlyAsItself() throws {
        let broker = try Broker()
        func add(_ more: String...) throws -> [String: Any] {
            let added = try run(Programs.path("paratpmctl"), ["guest", "add", "alice", "--json", "--dir", broker.directory.path] + more)
            return added.status == 0 ? try object(added.output) : ["status": Int(added.status)]
        }
        let first = try #require(try add()["id"] as? String)
        #expect(try ctl(broker, "guest", "remove", "alice").status == 64, "without a terminal it takes --yes")
        let removed = try object(try ctl(broker, "guest", "remove", "alice", "--keep-state", "--json").output)
        let kept = try #require(removed["kept"] as? String)
        let second = try #require(try add()["id"] as? String)
        #expect(second != first)
        #expect(try ctl(broker, "guest", "remove", "alice", "--yes", "--json") == (0, "{\"removed\": \"alice\", \"kept\": null}\n"))
        // A directory with a state that belongs to nobody
        let stray = broker.directory.path + "/guests/alice"
        try FileManager.default.createDirectory(atPath: stray, withIntermediateDirectories: true)
        try "somebody's".write(toFile: stray + "/tpm2-00.permall", atomically: true, encoding: .utf8)
        #expect(try add()["status"] as? Int == 73)
        try FileManager.default.removeItem(atPath: stray)
        #expect(try add("--restore", kept)["id"] as? String == first)
    }

    @Test func guestsWhoseDirectoriesAreGoneArePrunedAfterAsking() throws {
        let broker = try Broker()
        let kept = try Emulator(broker)
        let lost = try Emulator(broker)
        lost.child.stop()
        try FileManager.default.removeItem(atPath: lost.directory.path + "/state")
        #expect(try ctl(broker, "guest", "prune", "--dry-run").output.hasSuffix("\t\(lost.directory.path)/state\n"))
        #expect(try ctl(broker, "guest", "prune").status == 64, "without a terminal it takes --yes")
        #expect(try ctl(broker, "guest", "prune", "--yes").status == 0)
        let name = try onlyGuest(broker)
        #expect(try object(try ctl(broker, "guest", "show", name, "--json").output)["state-file"] as? String == kept.stateFile)
        #expect(try ctl(broker, "guest", "prune", "--yes").output.isEmpty)
    }
}
