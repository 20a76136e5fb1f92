// Events in the journal: the fields of an entry, and the catalog that explains them.
import Foundation
import SystemMap
import Testing

@Suite struct JournalTests {
    private func repository(_ path: String) throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    @Test func anEntryIsALineForEachFieldAndAValueCannotBeginAnother() {
        let entry = JournalEntry([("MESSAGE", "one\nPRIORITY=0"), ("PARATPM_GUEST", "alice")])
        #expect(String(decoding: entry.bytes, as: UTF8.self) == "MESSAGE=one PRIORITY=0\nPARATPM_GUEST=alice\n")
    }

    @Test func everyEventHasAnIdOfItsOwnAndIsExplained() throws {
        let catalog = try repository("systemd/paratpm.catalog")
        #expect(Set(LogEvent.allCases.map(\.messageID)).count == LogEvent.allCases.count)
        for event in LogEvent.allCases {
            #expect(event.messageID.wholeMatch(of: /[0-9a-f]{32}/) != nil)
            let entry = try #require(catalog.components(separatedBy: "\n-- \(event.messageID)\n").dropFirst().first, "\(event)")
            #expect(entry.hasPrefix("Subject: ") && entry.contains("\nDefined-By: paratpm\n"))
            #expect(try repository("docs/policy.md").contains("| `\(event.rawValue)` |"))
        }
        #expect(catalog.components(separatedBy: "\n-- ").count - 1 == LogEvent.allCases.count)
    }
}
