// The journal promises (P6): what was acknowledged survives, what is damaged is refused.
import Glibc
import Testing
import TPMCrypto
import VirtualTPM

@testable import GuestProxy

/// A state file in memory.
final class MemoryFile: StateFile {
    var bytes: [UInt8] = []
    /// What was written since the last barrier: a power cut keeps any of its sectors.
    private(set) var pending: [(offset: Int, bytes: [UInt8])] = []
    /// The bytes as they were at the last barrier.
    private(set) var settled: [UInt8] = []
    /// Called before each barrier.
    var onBarrier: (() -> Void)?
    var fails = false

    init(_ bytes: [UInt8] = []) {
        self.bytes = bytes
        settled = bytes
        super.init(descriptor: -1)
    }

    override func size() throws(JournalError) -> (bytes: Int, isFixed: Bool) { (bytes.count, false) }
    override func extend(to size: Int) throws(JournalError) {
        bytes += [UInt8](repeating: 0, count: size - bytes.count)
        settled = bytes
    }
    override func read(at offset: Int, count: Int) throws(JournalError) -> [UInt8] { Array(bytes[offset..<offset + count]) }
    override func write(_ new: [UInt8], at offset: Int) throws(JournalError) {
        if fails { throw .io("write", ENOSPC) }
        pending.append((offset, new))
        bytes.replaceSubrange(offset..<offset + new.count, with: new)
    }
    override func synchronize() throws(JournalError) {
        onBarrier?()
        settled = bytes
        pending = []
    }

    /// The sectors that differ from the last barrier on.
    var openSectors: [Int] {
        (0..<bytes.count / 512).filter { bytes[$0 * 512..<$0 * 512 + 512] != settled[$0 * 512..<$0 * 512 + 512] }
    }

    /// The file after a power cut that kept only these of the open sectors.
    func afterPowerCut(keeping sectors: some Sequence<Int>) -> [UInt8] {
        var result = settled
        for sector in sectors { result.replaceSubrange(sector * 512..<sector * 512 + 512, with: bytes[sector * 512..<sector * 512 + 512]) }
        return result
    }
}

private let key = Secret([UInt8](repeating: 7, count: 32))
private let small = JournalLayout(regionSize: 4096)
private let a = RecordKey(kind: 1)
private let b = RecordKey(kind: 4, id: [1, 2, 3, 4])

private typealias Records = [RecordKey: [UInt8]]

private func open(_ bytes: [UInt8], layout: JournalLayout = small, key: Secret = key) throws -> Records {
    try Journal(MemoryFile(bytes), key: key, layout: layout).records
}

/// A small file with a checkpoint and two batches.
private func sample() throws -> MemoryFile {
    let file = MemoryFile()
    let journal = try Journal(file, key: key, layout: small)
    try journal.commit([(key: a, value: [1, 2, 3])])
    try journal.commit([(key: b, value: [UInt8](repeating: 9, count: 700))])
    try journal.commit([(key: a, value: [4])])
    return file
}

@Suite struct JournalTests {
    @Test func whatWasCommittedIsThereAgain() throws {
        let file = try sample()
        let journal = try Journal(file, key: key, layout: small)
        #expect(journal.records == [a: [4], b: [UInt8](repeating: 9, count: 700)])
        try journal.commit([(key: b, value: nil)])
        #expect(try open(file.bytes) == [a: [4]])
    }

    @Test func anEmptyAndAnAllZeroFileAreNew() throws {
        #expect(try open([]).isEmpty)
        #expect(try open([UInt8](repeating: 0, count: small.fileSize)).isEmpty)
        let file = MemoryFile([UInt8](repeating: 0, count: small.fileSize))
        try Journal(file, key: key, layout: small).commit([(key: a, value: [1])])
        #expect(try open(file.bytes) == [a: [1]])
    }

    @Test func manyCommitsGoFromRegionToRegion() throws {
        let file = MemoryFile()
        let journal = try Journal(file, key: key, layout: small)
        var expected: Records = [:]
        for i in 0..<200 {
            let key = RecordKey(kind: 4, id: [UInt8(i % 7)])
            let value: [UInt8]? = i % 5 == 4 ? nil : [UInt8](repeating: UInt8(i), count: i * 3 % 200)
            expected[key] = value
            try journal.commit([(key: key, value: value)])
            #expect(try open(file.bytes) == expected)
        }
        #expect(file.bytes.count == small.fileSize)
    }

    @Test func anotherGuestsFileIsRefused() throws {
        let bytes = try sample().bytes
        #expect(throws: JournalError.foreign) { try open(bytes, key: Secret([UInt8](repeating: 8, count: 32))) }
    }

    @Test func garbageIsRefused() throws {
        for _ in 0..<20 {
            #expect(throws: JournalError.self) { try open(randomBytes(small.fileSize)) }
            #expect(throws: JournalError.self) { try open(randomBytes(5000)) }
        }
        #expect(throws: JournalError.notStateFile) { try open([UInt8](repeating: 0x41, count: small.fileSize)) }
    }

    @Test func aCutFileIsRefusedAtEveryLength() throws {
        let bytes = try sample().bytes
        for length in 1..<bytes.count where length < 600 || length % 7 == 0 || length > bytes.count - 100 {
            #expect(throws: JournalError.size(found: length, expected: small.fileSize)) { try open(Array(bytes[..<length])) }
        }
    }

    /// Only bits of the zero area behind the last record, or of the other region, are no state: there an unfinished write may stand.
    @Test func everyFlippedBitOfTheStateIsRefused() throws {
        let file = try sample()
        let used = 4096 + 64 * 2 + 64 * 13 + 64 * 2
        let records = try open(file.bytes)
        for offset in 0..<file.bytes.count where offset < used || offset % 13 == 0 {
            var bytes = file.bytes
            bytes[offset] ^= 1 << (offset % 8)
            let found = try? open(bytes)
            if offset < used || file.bytes[offset] != 0 {
                #expect(found == nil, "byte \(offset)")
            } else {
                #expect(found == nil || found == records, "byte \(offset)")
            }
        }
    }

    @Test func aRefusedFileIsLeftAsItIs() throws {
        var bytes = try sample().bytes
        bytes[4096 + 200] ^= 1
        let file = MemoryFile(bytes)
        #expect(throws: JournalError.damaged("a record", offset: 4096 + 128)) { try Journal(file, key: key, layout: small) }
        #expect(file.bytes == bytes && file.pending.isEmpty)
    }

    @Test func recordsCannotBeMovedReplayedOrDropped() throws {
        let file = MemoryFile()
        let journal = try Journal(file, key: key, layout: small)
        var versions: [[UInt8]] = []
        for i in 0..<4 {
            try journal.commit([(key: a, value: [UInt8(i)])])
            versions.append(file.bytes)
        }
        let slot = { (i: Int) in 4096 + i * 128..<4096 + (i + 1) * 128 }
        // Every record is 128 bytes here.
        for i in 1..<4 {
            var dropped = file.bytes
            dropped.replaceSubrange(slot(i), with: [UInt8](repeating: 0, count: 128))
            if i < 3 { #expect(throws: JournalError.self) { try open(dropped) } }
            var moved = file.bytes
            moved.replaceSubrange(slot(i), with: file.bytes[slot(i - 1)])
            #expect(throws: JournalError.self) { try open(moved) }
        }
        // The last record of another history of the same file.
        let other = MemoryFile(versions[2])
        try Journal(other, key: key, layout: small).commit([(key: a, value: [77])])
        var mixed = file.bytes
        mixed.replaceSubrange(slot(2), with: other.bytes[slot(3)])
        #expect(throws: JournalError.self) { try open(mixed) }
    }

    @Test func regionsOfDifferentTimesAreRefused() throws {
        let file = MemoryFile()
        let journal = try Journal(file, key: key, layout: small)
        try journal.commit([(key: a, value: [1])])
        let early = file.bytes
        let second = small.region(1)
        while file.bytes[second..<second + 64].allSatisfy({ $0 == 0 }) { try journal.commit([(key: a, value: randomBytes(100))]) }
        var mixed = file.bytes
        mixed.replaceSubrange(4096..<second, with: early[4096..<second])
        #expect(throws: JournalError.self) { try open(mixed) }
        // One region in the other's place.
        var swapped = early
        swapped.replaceSubrange(second..<small.fileSize, with: early[4096..<second])
        swapped.replaceSubrange(4096..<second, with: [UInt8](repeating: 0, count: small.regionSize))
        #expect(throws: JournalError.self) { try open(swapped) }
    }

    @Test func stateThatDoesNotFitIsRefusedAndNothingChanges() throws {
        let file = MemoryFile()
        let journal = try Journal(file, key: key, layout: small)
        try journal.commit([(key: a, value: [UInt8](repeating: 1, count: 2000))])
        let bytes = file.bytes
        #expect(throws: DurableError.full) { try journal.commit([(key: b, value: [UInt8](repeating: 2, count: 3000))]) }
        #expect(file.bytes == bytes && journal.records.count == 1)
        try journal.commit([(key: b, value: [2])])
        #expect(try open(file.bytes) == journal.records)
    }

    @Test func afterAnErrorOfTheMediumEveryCommitFails() throws {
        let file = try sample()
        let journal = try Journal(file, key: key, layout: small)
        let before = journal.records
        file.fails = true
        #expect(throws: DurableError.io(ENOSPC)) { try journal.commit([(key: a, value: [5])]) }
        file.fails = false
        #expect(throws: DurableError.io(ENOSPC)) { try journal.commit([(key: a, value: [5])]) }
        #expect(journal.records == before)
        #expect(try open(file.bytes) == before)
    }

    @Test func aRealFileIsReadAgain() throws {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var name = Array("\(parent)/paratpm-journal-XXXXXX".utf8CString)
        let descriptor = mkstemp(&name)
        defer {
            close(descriptor)
            unlink(name)
        }
        let journal = try Journal(descriptor: descriptor, key: key)
        for i in 0..<300 { try journal.commit([(key: RecordKey(kind: 4, id: [UInt8(i % 256)]), value: randomBytes(i * 17))]) }
        #expect(try Journal(descriptor: descriptor, key: key).records == journal.records)
        ftruncate(descriptor, 4096)
        #expect(throws: JournalError.size(found: 4096, expected: JournalLayout.standard.fileSize)) {
            try Journal(descriptor: descriptor, key: key)
        }
    }

    @Test func theStandardLayoutHoldsTheLargestGuest() throws {
        let limits = Limits()
        let largest = limits.nvBytes + limits.nvIndices * 256 + (limits.persistentObjects + limits.primaries) * 2600 + 4096
        #expect(largest < JournalLayout.standard.regionSize)
    }
}

/// Power cuts: at each barrier of a run of commits, with any of the sectors written since the last one.
@Suite struct JournalPowerCutTests {
    @Test func whateverSectorsAPowerCutKeepsTheStateIsTheOneBeforeOrAfter() throws {
        let file = MemoryFile()
        var before: Records = [:]
        var after: Records = [:]
        var checked = 0
        file.onBarrier = {
            let open = file.openSectors
            for choice in subsets(of: open) {
                let disk = MemoryFile(file.afterPowerCut(keeping: choice))
                guard let journal = try? Journal(disk, key: key, layout: small) else {
                    Issue.record("refused: \(before.count) records, sectors \(choice) of \(open)")
                    continue
                }
                #expect(journal.records == before || journal.records == after)
                // It goes on from there, also after a second cut.
                let found = journal.records
                #expect((try? GuestProxyTests.open(disk.bytes)) == found)
                if (try? journal.commit([(key: a, value: [0xEE])])) == nil { Issue.record("commit after \(choice)") }
                #expect((try? GuestProxyTests.open(disk.bytes))?[a] == [0xEE])
                checked += 1
            }
        }
        let journal = try Journal(file, key: key, layout: small)
        for i in 0..<40 {
            let key = RecordKey(kind: 4, id: [UInt8(i % 3)])
            let value = [UInt8](repeating: UInt8(i), count: [30, 900, 300, 0][i % 4])
            before = journal.records
            after = before
            after[key] = value
            try journal.commit([(key: key, value: value)])
        }
        #expect(checked > 300)
    }

    /// Every subset up to 64 of them, then random ones.
    private func subsets(of sectors: [Int]) -> [[Int]] {
        if sectors.count <= 6 {
            return (0..<1 << sectors.count).map { bits in sectors.indices.filter { bits >> $0 & 1 == 1 }.map { sectors[$0] } }
        }
        return [[], sectors, [sectors[0]], Array(sectors.dropFirst())] + (0..<40).map { _ in sectors.filter { _ in Bool.random() } }
    }

    /// The recovery from a power cut is cut short itself.
    @Test func aPowerCutDuringRecoveryLosesNothing() throws {
        let file = MemoryFile()
        let journal = try Journal(file, key: key, layout: small)
        try journal.commit([(key: a, value: [1])])
        var torn: [UInt8] = []
        file.onBarrier = { torn = file.afterPowerCut(keeping: file.openSectors.dropLast()) }
        try journal.commit([(key: b, value: [UInt8](repeating: 2, count: 1500))])
        let disk = MemoryFile(torn)
        var checked = 0
        disk.onBarrier = {
            for choice in subsets(of: disk.openSectors) {
                #expect((try? open(disk.afterPowerCut(keeping: choice))) == [a: [1]])
                checked += 1
            }
        }
        #expect(try Journal(disk, key: key, layout: small).records == [a: [1]])
        #expect(checked > 8)
    }
}
