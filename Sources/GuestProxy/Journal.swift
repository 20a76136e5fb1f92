// The guest's lasting state: an append-only journal with checkpoints, in one file that is never renamed or reopened.
// docs/state-file.md explains the file and argues that nothing acknowledged is ever lost unnoticed.
import TPMCrypto
import VirtualTPM
import Wire

package final class Journal: DurableStore {
    package private(set) var records: [RecordKey: [UInt8]] = [:]
    private let file: StateFile
    private let layout: JournalLayout
    private let secret: Secret
    /// Where the next record goes; nil until the file's first commit.
    private var head: Head?
    /// Up to where a region's blocks have been written since this began.
    private var prepared = (region: 0, end: 0)
    /// In bytes
    private static let pieceAhead = 16 * 1024
    /// After an error of the medium nothing is known of it: every later commit fails with this errno.
    private var failure: Int32?

    private struct Head {
        var keys: JournalKeys
        var region: Int
        /// From the region's start, in bytes.
        var end: Int
        var sequence: UInt64
        var tag: [UInt8]
    }

    /// - Parameters:
    ///   - descriptor: the state file or a block device, open for reading and writing. It stays the caller's.
    ///   - key: the guest's secret.
    /// - Throws: JournalError; then the file is as it was.
    package convenience init(descriptor: Int32, key: Secret) throws(JournalError) {
        try self.init(StateFile(descriptor: descriptor), key: key)
    }

    package init(_ file: StateFile, key: Secret, layout: JournalLayout = .standard) throws(JournalError) {
        self.file = file
        self.layout = layout
        secret = key
        try open()
    }

    // MARK: Committing

    /// One write and one fdatasync, but for the first commit of all and one that finds its region full.
    package func commit(_ changes: [(key: RecordKey, value: [UInt8]?)]) throws(DurableError) {
        if let failure { throw .io(failure) }
        guard !changes.isEmpty else { return }
        var after = records
        for (key, value) in changes { after[key] = value }
        guard RecordHeader.span(ChangeList.size(of: after)) <= layout.regionSize else { throw .full }
        do {
            if let head {
                try append(changes, after: after, to: head)
            } else {
                try create(after)
            }
        } catch {
            guard case .io(_, let code) = error else { throw .full }
            failure = code
            throw .io(code)
        }
        records = after
    }

    private func append(_ changes: [(key: RecordKey, value: [UInt8]?)], after: [RecordKey: [UInt8]], to head: Head) throws(JournalError) {
        var content = ChangeList.encode(changes)
        defer { wipe(&content) }
        guard RecordHeader.span(content.count) <= layout.regionSize - head.end else {
            return try writeCheckpoint(after, from: head)
        }
        try write(content, .batch, to: head)
    }

    /// Writes a record where `head` points and makes it lasting; the head moves behind it.
    private func write(_ content: [UInt8], _ kind: RecordHeader.Kind, to head: Head) throws(JournalError) {
        let offset = layout.region(head.region) + head.end
        let record = head.keys.seal(content, kind, sequence: head.sequence + 1, previous: head.tag, at: offset)
        try prepare(head, for: record.count)
        try file.write(record, at: offset)
        try file.synchronize()
        var next = head
        next.end += record.count
        next.sequence += 1
        next.tag = Array(record.suffix(RecordHeader.tagSize))
        self.head = next
    }

    /// Writes zeros where there are zeros: the first write to a block that the file system only set aside changes its tables, and
    /// so makes an fdatasync slow. Here that happens for many commits at once.
    private func prepare(_ head: Head, for count: Int) throws(JournalError) {
        let end = head.end + count
        let start = prepared.region == head.region ? max(prepared.end, head.end) : head.end
        guard end > start else { return }
        prepared = (head.region, min(layout.regionSize, (end + Self.pieceAhead - 1) / Self.pieceAhead * Self.pieceAhead))
        try file.writeZeros(at: layout.region(head.region) + start, count: prepared.end - start)
    }

    /// Goes on in the other region, which is all zero, and clears this one.
    private func writeCheckpoint(_ records: [RecordKey: [UInt8]], from old: Head) throws(JournalError) {
        var content = ChangeList.encode(Self.all(records))
        defer { wipe(&content) }
        var target = old
        target.region = 1 - old.region
        target.end = 0
        try write(content, .checkpoint, to: target)
        try clear(old.region)
    }

    /// The first sector goes first: from then on the region counts as empty, whatever is left of it.
    private func clear(_ region: Int) throws(JournalError) {
        try file.writeZeros(at: layout.region(region), count: JournalLayout.sector)
        try file.synchronize()
        try file.writeZeros(at: layout.region(region), count: layout.regionSize)
        try file.synchronize()
    }

    /// The first commit: header, checkpoint, mark, each lasting before the next. Only the mark makes it count.
    private func create(_ records: [RecordKey: [UInt8]]) throws(JournalError) {
        if try file.size().bytes == 0 { try file.extend(to: layout.fileSize) }
        let keys = JournalKeys(secret, salt: randomBytes(JournalKeys.saltSize))
        try file.write(keys.fileHeader(layout), at: 0)
        try file.synchronize()
        var content = ChangeList.encode(Self.all(records))
        defer { wipe(&content) }
        let origin = [UInt8](repeating: 0, count: RecordHeader.tagSize)
        try write(content, .checkpoint, to: Head(keys: keys, region: 0, end: 0, sequence: 0, tag: origin))
        try writeMark(keys)
    }

    private func writeMark(_ keys: JournalKeys) throws(JournalError) {
        try file.write(keys.mark(), at: JournalLayout.mark)
        try file.synchronize()
    }

    private static func all(_ records: [RecordKey: [UInt8]]) -> [(key: RecordKey, value: [UInt8]?)] {
        records.map { (key: $0.key, value: $0.value) }
    }
}

// MARK: - Opening

extension Journal {
    /// Reads the file and finishes what a crash cut short. Nothing is written before all of it has been judged.
    private func open() throws(JournalError) {
        let size = try file.size()
        if size.bytes == 0 { return }
        guard size.bytes == layout.fileSize || (size.isFixed && size.bytes > layout.fileSize) else {
            throw .size(found: size.bytes, expected: layout.fileSize)
        }
        let header = try file.read(at: 0, count: JournalLayout.headerSize)
        if header.allSatisfy({ $0 == 0 }) { return try requireUnused() }
        let keys = try JournalKeys(secret, fileHeader: Array(header[..<JournalLayout.sector]), layout: layout)
        let isMarked = try isMarked(header, keys)
        let regions = (try read(0, keys), try read(1, keys))
        switch regions {
        case (.whole(let first), .whole(let second)):
            let newer = first.sequence > second.sequence ? 0 : 1
            let (current, former) = newer == 0 ? (first, second) : (second, first)
            // The former is cleared before the commit that wrote the newer is acknowledged.
            guard current.first.previous == former.tag, current.first.sequence == former.sequence + 1,
                current.sequence == current.first.sequence, !current.isTorn
            else { throw .damaged("one of two regions that do not belong together", offset: layout.region(1 - newer)) }
            try take(current, region: newer, clearOther: true, keys)
        case (.whole(let chain), let other): try take(chain, region: 0, besides: other, keys)
        case (let other, .whole(let chain)): try take(chain, region: 1, besides: other, keys)
        case (let first, let second): return try requireNeverCommitted(first, second, isMarked: isMarked)
        }
        if !isMarked { try writeMark(keys) }
    }

    private func read(_ region: Int, _ keys: JournalKeys) throws(JournalError) -> Region {
        let base = layout.region(region)
        return try RegionReader(bytes: RegionBytes(file, at: base, count: layout.regionSize), base: base, keys: keys).read()
    }

    private func take(_ chain: Region.Chain, region: Int, besides other: Region, _ keys: JournalKeys) throws(JournalError) {
        switch other {
        case .empty(let hasRemains, let newest):
            guard newest ?? 0 < chain.first.sequence else {
                throw .damaged("the missing start of the newer region", offset: layout.region(1 - region))
            }
            try take(chain, region: region, clearOther: hasRemains, keys)
        case .unfinished, .whole: try take(chain, region: region, clearOther: true, keys)
        }
    }

    /// Goes on behind a chain. What it holds may have been written without being made lasting, and its guest sees it from now
    /// on: hence the fdatasync. A torn record is left behind by a checkpoint.
    private func take(_ chain: Region.Chain, region: Int, clearOther: Bool, _ keys: JournalKeys) throws(JournalError) {
        try file.synchronize()
        if clearOther { try clear(1 - region) }
        let head = Head(keys: keys, region: region, end: chain.end, sequence: chain.sequence, tag: chain.tag)
        self.head = head
        records = chain.records
        if chain.isTorn { try writeCheckpoint(records, from: head) }
    }

    /// A file without a header is a new one, if there is nothing in it at all.
    private func requireUnused() throws(JournalError) {
        for region in 0...1 {
            let bytes = try RegionBytes(file, at: layout.region(region), count: layout.regionSize)
            guard bytes.isZero(0..<bytes.count) else { throw .damaged("the missing header", offset: 0) }
        }
    }

    /// Whether the second sector is the mark; the rest of the header's block must be zero.
    private func isMarked(_ header: [UInt8], _ keys: JournalKeys) throws(JournalError) -> Bool {
        let behind = JournalLayout.mark + JournalLayout.sector
        guard header[behind...].allSatisfy({ $0 == 0 }) else { throw .damaged("the header's block", offset: behind) }
        let mark = Array(header[JournalLayout.mark..<behind])
        if mark.allSatisfy({ $0 == 0 }) { return false }
        guard mark == keys.mark() else { throw .damaged("the mark", offset: JournalLayout.mark) }
        return true
    }

    /// No region is whole: allowed only where the first commit was cut short.
    private func requireNeverCommitted(_ first: Region, _ second: Region, isMarked: Bool) throws(JournalError) {
        guard !isMarked, case .empty(hasRemains: false, _) = second else {
            throw .damaged("every checkpoint", offset: layout.region(0))
        }
        switch first {
        case .empty(let hasRemains, let newest):
            guard newest == nil else { throw .damaged("the missing checkpoint", offset: layout.region(0)) }
            if hasRemains { try clear(0) }
        case .unfinished, .whole: try clear(0)
        }
    }
}
