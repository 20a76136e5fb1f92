// docs/commands.md, from the command table.
import Foundation
import TPMWire
import Testing

enum CommandDocument {
    static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("docs/commands.md").path

    static var markdown: String {
        let rows = CommandTable.chapters.flatMap(\.rows)
        func count(_ commandClass: CommandClass) -> Int { rows.count { $0.commandClass == commandClass } }
        return """
            # Commands

            Every command of TPM 2.0 Part 3, by chapter, and how a guest's TPM answers it. Generated from the command table
            (`Sources/TPMWire/CommandTable.swift`) by `scripts/generate-docs`; a test fails when this file is stale.

            * **answered** (\(count(.answered))): semantics only, the chip is not asked.
            * **backed** (\(count(.backed))): the chip does a part of it, mostly the private part, with the guest's twin.
            * **refused** (\(count(.refused))): TPM_RC_COMMAND_CODE, as from a TPM without the command; GetCapability does not list it.

            The last column says what the chip does for the command and why it is virtualised so: accuracy against complexity.
            Handles show the role that authorizes them, where one must. Words are explained in [glossary.md](glossary.md).

            """ + CommandTable.chapters.map(chapter).joined()
    }

    private static func chapter(_ chapter: CommandChapter) -> String {
        """

        ## \(chapter.number) \(chapter.title)

        | command | code | section | handles | class | what the chip does, and why |
        |---|---|---|---|---|---|

        """ + chapter.rows.map(line).joined()
    }

    private static func line(_ row: CommandRow) -> String {
        let handles = row.handles.map { slot in "\(slot.kind)" + (slot.role.map { " (\($0))" } ?? "") }.joined(separator: ", ")
        let code = "0x" + String(row.code.rawValue, radix: 16, uppercase: true)
        return "| TPM2_\(row.name) | \(code) | \(row.section) | \(handles) | \(row.commandClass) | \(row.note) |\n"
    }
}

@Suite struct CommandDocumentTests {
    @Test func commandsDocumentIsFresh() throws {
        if ProcessInfo.processInfo.environment["PARATPM_WRITE_DOCS"] != nil {
            try CommandDocument.markdown.write(toFile: CommandDocument.path, atomically: true, encoding: .utf8)
        }
        let written = try String(contentsOfFile: CommandDocument.path, encoding: .utf8)
        #expect(written == CommandDocument.markdown, "docs/commands.md is stale: run scripts/generate-docs")
    }
}
