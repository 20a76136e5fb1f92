// The command table against the attributes that a stock TPM reports.
import TPMWire
import Testing

@Suite struct CommandTableTests {
    /// TPMA_CC of every command, as `tpm2_getcap commands` reads them from swtpm 0.7.1 with libtpms 0.9.2.
    private static let stock: [UInt32] = [
        0x440011F, 0x4400120, 0x2C00121, 0x4400122, 0x2C00124, 0x2C00125, 0x2C00126, 0x2400127, 0x2400128, 0x2400129, 0x240012A,
        0x240012B, 0x240012C, 0x240012D, 0x240012E, 0x2000130, 0x12000131, 0x2400132, 0x4400133, 0x4400134, 0x4400135, 0x4400136,
        0x4400137, 0x4400138, 0x2400139, 0x240013A, 0x240013B, 0x240013C, 0x240013D, 0x300013E, 0x240013F, 0x2400140, 0x0400142,
        0x0400143, 0x0400144, 0x0400145, 0x0400146, 0x4000147, 0x4000148, 0x6000149, 0x400014A, 0x400014B, 0x400014C, 0x600014D,
        0x400014E, 0x440014F, 0x4000150, 0x4000151, 0x4000152, 0x2000153, 0x2000154, 0x2000155, 0x2000156, 0x12000157, 0x2000158,
        0x2000159, 0x1200015B, 0x200015C, 0x200015D, 0x200015E, 0x4000160, 0x10000161, 0x2000162, 0x2000163, 0x2000164, 0x0000165,
        0x10000167, 0x2000168, 0x2000169, 0x200016A, 0x200016B, 0x200016C, 0x200016D, 0x200016E, 0x200016F, 0x2000170, 0x2000171,
        0x2000172, 0x2000173, 0x2000174, 0x14000176, 0x2000177, 0x0000178, 0x000017A, 0x000017B, 0x000017C, 0x000017D, 0x000017E,
        0x200017F, 0x2000180, 0x0000181, 0x2400182, 0x2000183, 0x6000184, 0x5400185, 0x10000186, 0x2000187, 0x2000188, 0x2000189,
        0x000018A, 0x200018B, 0x200018C, 0x200018D, 0x000018E, 0x200018F, 0x2000190, 0x12000191, 0x6000192, 0x2000193, 0x4000197,
    ]
    /// Commands that the guest's TPM has and that TPM has not.
    private static let more: Set<TPMCommandCode> = [.policyCapability, .policyParameters]

    @Test func attributesAreThoseOfAStockTPM() {
        let ours = Set(CommandTable.rows.filter { !Self.more.contains($0.code) }.map(\.attributes))
        #expect(ours.symmetricDifference(Set(Self.stock)).map { String($0, radix: 16) } == [])
    }

    @Test func everyCommandStandsOnce() {
        let codes = CommandTable.chapters.flatMap(\.rows).map(\.code)
        #expect(Set(codes).count == codes.count)
    }

    @Test func refusedCommandsAreNotThere() {
        let refused = CommandTable.chapters.flatMap(\.rows).filter { $0.commandClass == .refused }
        #expect(!refused.isEmpty)
        for row in refused { #expect(CommandTable.row(row.code) == nil) }
    }

    /// Handles that need authorization come first, because sessions are matched with them in order (Part 1, 18.5).
    @Test func authorizedHandlesComeFirst() {
        for row in CommandTable.rows {
            #expect(row.handles.prefix(row.authorizedHandles).allSatisfy { $0.role != nil }, "\(row.name)")
        }
    }

    @Test func sectionsAreThoseOfTheirChapter() {
        for chapter in CommandTable.chapters {
            for row in chapter.rows {
                #expect(row.section.hasPrefix("\(chapter.number)."), "\(row.name)")
                #expect(row.note.hasSuffix(".") || row.note.hasSuffix(")."), "\(row.name)")
            }
        }
    }
}
