// docs/threat-model.md and the hostile proxy's tests are in step.
import Foundation
import Testing

@Suite struct ThreatModelTests {
    private let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

    /// The names in the last column of the table of attempts
    private func named() throws -> [String] {
        let document = try String(contentsOf: tests.deletingLastPathComponent().appendingPathComponent("docs/threat-model.md"), encoding: .utf8)
        let rows = document.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.hasSuffix("` |") }
        return rows.flatMap { row in
            let cell = row.dropLast(2).split(separator: "|").last ?? ""
            return cell.split(separator: "`").map(String.init).filter { $0.contains(where: \.isLetter) }
        }
    }

    /// The names of the test functions in a file
    private func tests(in file: URL) throws -> [String] {
        try String(contentsOf: file, encoding: .utf8).components(separatedBy: "@Test").dropFirst().compactMap { text in
            let name = text.components(separatedBy: "func ").dropFirst().first?.components(separatedBy: "(").first
            return name?.trimmingCharacters(in: ["`"])
        }
    }

    @Test func everyAttemptIsATestAndEveryTestAnAttempt() throws {
        let suites = ["HostileProxyTests", "HostileMessageTests"]
        let written = try suites.flatMap { try tests(in: tests.appendingPathComponent("SystemTests/\($0).swift")) }
        let named = try named()
        #expect(named.filter { !$0.contains("/") }.sorted() == written.sorted())
        #expect(written.count > 30)
    }

    @Test func testsOfOtherSuitesExist() throws {
        let files = try #require(FileManager.default.enumerator(at: tests, includingPropertiesForKeys: nil)).compactMap { $0 as? URL }
        for name in try named() where name.contains("/") {
            let parts = name.split(separator: "/").map(String.init)
            let file = try #require(files.first { $0.lastPathComponent == parts[0] + ".swift" }, "\(name)")
            #expect(try tests(in: file).contains(parts[1]), "\(name)")
        }
    }
}
