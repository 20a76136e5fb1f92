// Policy files: what good ones mean, and what is said of bad ones, where.
import Foundation
import HostPolicy
@testable import PolicyFiles
import SystemMap
import TPMWire
import Testing

private func read(_ text: String) throws -> HostPolicyText { try HostPolicyText([("a.toml", text)]) }

private func problems(_ texts: String...) -> [String] {
    do {
        _ = try HostPolicyText(texts.enumerated().map { ("\(["a", "b"][$0.offset]).toml", $0.element) })
        return []
    } catch { return error.all.map(\.description) }
}

private func guest(_ name: String) -> GuestName { GuestName(name)! }

@Suite struct PolicyFilesTests {
    @Test func withoutFilesTheBuiltInPolicyIsInForce() throws {
        #expect(try HostPolicyText([]).compiled() == .builtIn)
        #expect(try read("# nothing\n").effective(guest("any")).policy == .builtIn)
    }

    @Test func aGuestInheritsItsProfileAndProfilesInherit() throws {
        let text = try read("""
            [profile.base]
            nv-bytes = 4096
            sessions = 16
            deny-commands = ["Clear"]
            [profile.cloud]
            inherits = "base"
            nv-bytes = 8192
            [guest.web1]
            inherits = "cloud"
            sessions = 8
            """)
        let effective = text.effective(guest("web1"))
        #expect(effective.policy.quotas.nvBytes == 8192)
        #expect(effective.policy.quotas.sessions == 8)
        #expect(!effective.policy.commands.contains(.clear))
        #expect(effective.policy.commands.contains(.quote))
        #expect(effective.lineage == ["guest.web1", "profile.cloud", "profile.base", "built-in"])
        #expect(effective.origin(of: .nvBytes).description == "[profile.cloud] a.toml:7:1")
        #expect(effective.origin(of: .sessions).description == "[guest.web1] a.toml:10:1")
        #expect(effective.origin(of: .weight) == .builtIn)
        #expect(text.effective(guest("other")).policy == .builtIn)
    }

    @Test func theProfileDefaultIsThatOfGuestsThatNoFileNames() throws {
        let text = try read("[profile.default]\nweight = 50\n[guest.a]\nsessions = 8\n")
        #expect(text.effective(guest("nobody")).policy.share.weight == 50)
        #expect(text.effective(guest("a")).policy.share.weight == 50)
        #expect(text.compiled().standard.share.weight == 50)
        #expect(text.compiled().guests.keys.map(\.text) == ["a"])
    }

    @Test func everyKeyMeansSomething() throws {
        let policy = try read("""
            [guest.a]
            commands = ["TPM2_Quote", "Sign"]
            deny-commands = ["Sign"]
            algorithms = ["rsa", "rsassa", "sha256"]
            deny-algorithms = ["rsassa"]
            curves = ["p384"]
            rsa-bits = [2048, 3072]
            aes-bits = [256]
            nv-bytes = 1
            nv-indices = 2
            persistent-objects = 3
            primaries = 4
            transient-objects = 5
            sessions = 6
            weight = 7
            operations-per-second = 8
            key-generations-per-minute = 9
            localities = [0, 4]
            host-binding-pcrs = [0, 1]
            host-binding-vpcr = 10
            deep-quote-pcrs = [7]
            users = ["root", 1000]
            groups = [36]
            """).effective(guest("a")).policy
        #expect(policy.commands == PolicyWords.requiredCommands.union([.quote]))
        #expect(policy.algorithms == [.rsa])
        #expect(policy.curves == [.p384] && policy.rsaBits == [2048, 3072] && policy.aesBits == [256])
        #expect(PolicyNumber.all.map { policy[keyPath: $0.path] } == Array(1...10))
        #expect(policy.localities.numbers == [0, 4])
        #expect(policy.hostBinding.numbers == [0, 1] && policy.deepQuotePCRs.numbers == [7])
        #expect(policy.connect == AccessList(users: [0, 1000], groups: [36]))
        for key in PolicyKey.allCases where ![.deniedCommands, .deniedAlgorithms].contains(key) {
            #expect(key.words(of: policy) != key.words(of: .builtIn), "\(key.rawValue)")
        }
    }

    @Test func theHostSaysWhoMayEnrol() throws {
        let set = try read("[host]\nenrol-users = [107]\nenrol-groups = [\"root\"]\n").compiled()
        #expect(set.enrol == AccessList(users: [107], groups: [0]))
    }
}

@Suite struct ShippedPolicyTests {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appendingPathComponent(path), encoding: .utf8)
    }

    @Test(arguments: ["default", "laptop", "cloud-host", "high-assurance"])
    func everyExampleIsGood(_ name: String) throws {
        let set = try read(try text("policy/\(name).toml")).compiled()
        #expect((set == .builtIn) == (name == "default"))
    }

    @Test func theDefaultsOfTheDefaultFileAreTheBuiltInOnes() throws {
        // As an administrator uncomments it: every key once, in the profile.
        let lines = try text("policy/default.toml").split(separator: "\n")
        let settings = lines.filter { $0.hasPrefix("#") && $0.contains(" = ") && !$0.contains("enrol") }.map { $0.dropFirst() }
        let profile = settings.prefix { !$0.hasPrefix("inherits") }
        #expect(try read("[profile.default]\n" + profile.joined(separator: "\n")).compiled() == .builtIn)
        let keys = profile.map { String($0.prefix { $0 != " " }) }
        #expect(keys == PolicyKey.allCases.map(\.rawValue))
    }

    @Test func theDocumentHasEveryKey() throws {
        let document = try text("docs/policy.md")
        for key in PolicyKey.allCases { #expect(document.contains("| `\(key.rawValue)` |"), "\(key.rawValue)") }
        for number in PolicyNumber.all {
            let row = document.split(separator: "\n").first { $0.hasPrefix("| `\(number.key.rawValue)` |") } ?? ""
            #expect(row.contains("\(number.range.lowerBound) to \(number.range.upperBound)"), "\(number.key.rawValue)")
            #expect(row.contains("| \(GuestPolicy.builtIn[keyPath: number.path]) |"), "\(number.key.rawValue)")
        }
        for event in LogEvent.allCases { #expect(document.contains("| `\(event.rawValue)` |"), "\(event.rawValue)") }
        for key in PolicyKey.allCases where key != .users && key != .groups {
            let row = document.split(separator: "\n").first { $0.hasPrefix("| `\(key.rawValue)` |") } ?? ""
            #expect(row.contains("| `\(key.enforcedBy.rawValue)`"), "\(key.rawValue)")
        }
    }
}

@Suite struct BrokenPolicyFilesTests {
    @Test func misspeltKeysAreFoundWithTheirPlaceAndWhatWasMeant() {
        #expect(problems("[guest.a]\nweight = 1\n  wieght = 2\n") == [
            "a.toml:3:3: error: unknown key “wieght” in [guest.a]; did you mean “weight”?"
        ])
        #expect(problems("[guest.a]\nfrobnicate = 2\n") == ["a.toml:2:1: error: unknown key “frobnicate” in [guest.a]"])
        #expect(problems("[porfile.a]\n") == ["a.toml:1:2: error: unknown table “porfile”; did you mean “profile”?"])
        #expect(problems("[host]\nenroll-users = []\n") == [
            "a.toml:2:1: error: unknown key “enroll-users” in [host]; did you mean “enrol-users”?"
        ])
        #expect(problems("weight = 1\n").first?.hasPrefix("a.toml:1:1: error: “weight” stands in no table") == true)
    }

    @Test func everyProblemIsShownInOrder() {
        #expect(problems("""
            [profile.a]
            commands = ["Quote",
               "Craete", "Sign"]   # the second
            sessions = "many"
            nv-bytes = -1
            localities = [0, 5]
            [guest.b]
            inherits = "aa"
            """) == [
                "a.toml:3:4: error: no TPM command is called “Craete”; did you mean “Create”?",
                "a.toml:4:12: error: a whole number was expected here, not a text",
                "a.toml:5:12: error: -1 is not from 0 to 65536",
                "a.toml:6:18: error: 5 is not from 0 to 4",
                "a.toml:8:12: error: there is no profile “aa”; did you mean “a”?",
            ])
    }

    @Test func whatATPMNeedsCannotBeTakenAway() {
        #expect(problems("[guest.a]\ndeny-commands = [\"GetCapability\"]\n").first?.hasPrefix("a.toml:2:18: error: GetCapability cannot") == true)
        #expect(problems("[guest.a]\ndeny-algorithms = [\"sha256\"]\n").first?.hasPrefix("a.toml:2:20: error: sha256 cannot") == true)
        #expect(problems("[guest.a]\nlocalities = [3]\n").first?.hasPrefix("a.toml:2:14: error: locality 0 cannot") == true)
        #expect(problems("[guest.a]\naes-bits = []\n").first?.hasPrefix("a.toml:2:12: error: at least one") == true)
    }

    @Test func profilesThatInheritFromThemselvesAreRefused() {
        let text = "[profile.a]\ninherits = \"b\"\n[profile.b]\ninherits = \"a\"\n"
        #expect(problems(text) == [
            "a.toml:2:12: error: the profile “a” inherits from itself", "a.toml:4:12: error: the profile “b” inherits from itself",
        ])
    }

    @Test func nothingStandsTwice() {
        #expect(problems("[guest.a]\n", "\n[guest.a]\n") == ["b.toml:2:8: error: [guest.a] stands in a.toml:1:8 already"])
        #expect(problems("[host]\n", "[host]\n") == ["b.toml:1:2: error: [host] stands in a.toml:1:2 already"])
    }

    @Test func aTextThatIsNotTOMLIsShownWhereItStopsToBe() {
        let found = problems("[guest.a]\nweight = 1\nweight = 2\n")
        #expect(found.count == 1 && found[0].hasPrefix("a.toml:3:"), "\(found)")
        #expect(problems("[guest.a\n").first?.hasPrefix("a.toml:1:") == true)
    }

    @Test func unknownUsersAndBadNamesAreRefused() {
        #expect(problems("[guest.a]\nusers = [1, \"no-such-user-here\"]\n") == [
            "a.toml:2:13: error: this host has no user “no-such-user-here”"
        ])
        #expect(problems("[guest.\"a/b\"]\n").first?.hasPrefix("a.toml:1:8: error: “a/b” is no name") == true)
        #expect(problems("guest = 3\n").first?.hasPrefix("a.toml:1:1: error: “guest” stands in no table") == true)
    }
}

@Suite struct TOMLPositionsTests {
    private func position(_ line: Int, _ column: Int) -> TOMLPositions.Position { .init(line: line, column: column) }

    @Test func keysAndElementsAreFoundInEveryForm() {
        let positions = TOMLPositions("""
            # [not.a.header]
            [ a . "b.c" ]  # comment = 1
            key = 'x # y' # z
            list = [ # begin
              1, "]", # a bracket
              [2, 3],
            ]
            table = { one = 1, two = ["é", 4] }
            long = \"\"\"
            fake = 1
            [fake]
            \"\"\"
            d.e = 2
            after = 3
            """)
        #expect(positions.keys[["a", "b.c"]] == position(2, 7))
        #expect(positions.keys[["a", "b.c", "key"]] == position(3, 1))
        #expect(positions.values[["a", "b.c", "key"]] == position(3, 7))
        #expect(positions.values[["a", "b.c", "list", "#1"]] == position(5, 6))
        #expect(positions.values[["a", "b.c", "list", "#2", "#1"]] == position(6, 7))
        #expect(positions.keys[["a", "b.c", "table", "two"]] == position(8, 20))
        #expect(positions.values[["a", "b.c", "table", "two", "#1"]] == position(8, 32))
        #expect(positions.keys[["a", "b.c", "fake"]] == nil)
        #expect(positions.keys[["a", "b.c", "d", "e"]] == position(13, 3))
        #expect(positions.keys[["a", "b.c", "after"]] == position(14, 1))
    }

    @Test func textsThatAreNotTOMLEndIt() {
        for text in ["[", "[[", "a", "a=", "=", "a = [", "a = [1", "a = {", "a = { b", "\"", "'''", "a = \"\\", "]", "}", ",", "a.b.=1", "\u{0}"] {
            let positions = TOMLPositions(text)
            #expect(positions.keys.count <= 3)
        }
    }
}
