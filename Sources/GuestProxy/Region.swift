// Reading one region of the state file: what is whole, what was never finished, what is damaged.
import VirtualTPM

/// What a region holds.
enum Region {
    /// Its first sector is zero. Bytes behind it are the remains of a checkpoint or of a clearing that was cut short;
    /// `newest` is the highest sequence number among them.
    case empty(hasRemains: Bool, newest: UInt64?)
    /// A checkpoint whose writing was cut short.
    case unfinished
    case whole(Chain)

    /// A checkpoint and the batches behind it.
    struct Chain {
        let first: RecordHeader
        var records: [RecordKey: [UInt8]] = [:]
        /// Sequence number and tag of the last record.
        var sequence: UInt64
        var tag: [UInt8]
        /// From the region's start: where the next record goes, in bytes.
        var end = 0
        /// A record whose writing was cut short stands at `end`.
        var isTorn = false
    }
}

/// The bytes of a region. The zeros behind the last record, which are most of it, are only counted.
struct RegionBytes {
    let count: Int
    /// Up to the last that is not zero.
    private var written: [UInt8] = []

    init(_ file: StateFile, at offset: Int, count: Int) throws(JournalError) {
        self.count = count
        for start in stride(from: 0, to: count, by: StateFile.piece) {
            let piece = try file.read(at: offset + start, count: min(StateFile.piece, count - start))
            // All of them at once, before one by one.
            guard piece.reduce(0, |) != 0, let last = piece.lastIndex(where: { $0 != 0 }) else { continue }
            written += repeatElement(0, count: start - written.count)
            written += piece[...last]
        }
    }

    func isZero(_ range: Range<Int>) -> Bool { written[range.clamped(to: written.indices)].allSatisfy { $0 == 0 } }

    subscript(range: Range<Int>) -> [UInt8] {
        let there = range.clamped(to: written.indices)
        return Array(written[there]) + repeatElement(0, count: range.count - there.count)
    }
}

/// Walks through a region.
struct RegionReader {
    let bytes: RegionBytes
    /// Offset of the region in the file.
    let base: Int
    let keys: JournalKeys

    func read() throws(JournalError) -> Region {
        if bytes.isZero(0..<JournalLayout.sector) {
            return .empty(hasRemains: !bytes.isZero(0..<bytes.count), newest: newestHeader(behind: 0))
        }
        guard let first = header(at: 0), first.kind == .checkpoint else { throw damaged("the checkpoint's header", at: 0) }
        var chain = Region.Chain(first: first, sequence: first.sequence, tag: first.previous)
        guard try append(first, to: &chain) else { return .unfinished }
        while chain.end < bytes.count, !chain.isTorn, try !endsCleanly(&chain) {
            guard let next = header(at: chain.end), next.kind == .batch else { throw damaged("a record's header", at: chain.end) }
            guard next.previous == chain.tag, next.sequence == chain.sequence &+ 1 else {
                throw damaged("the order of the records", at: chain.end)
            }
            chain.isTorn = try !append(next, to: &chain)
        }
        return .whole(chain)
    }

    /// Adds the record at the chain's end. False: its writing was cut short.
    private func append(_ header: RecordHeader, to chain: inout Region.Chain) throws(JournalError) -> Bool {
        guard header.span <= bytes.count - chain.end else { throw damaged("a record's length", at: chain.end) }
        let span = chain.end..<chain.end + header.span
        let record = bytes[span]
        guard let changes = keys.open(header, record, at: base + span.lowerBound) else {
            guard hasUnwrittenSector(span), bytes.isZero(span.upperBound..<bytes.count) else {
                throw damaged("a record", at: span.lowerBound)
            }
            return false
        }
        do { try ChangeList.apply(changes, to: &chain.records) } catch { throw damaged("a record's content", at: span.lowerBound) }
        chain.sequence = header.sequence
        chain.tag = Array(record.suffix(RecordHeader.tagSize))
        chain.end = span.upperBound
        return true
    }

    /// Whether no further record begins at the chain's end. If bytes of one stand behind a first sector that never came, the
    /// chain is torn; but where an authentic header follows, the missing record was whole once.
    private func endsCleanly(_ chain: inout Region.Chain) throws(JournalError) -> Bool {
        guard bytes.isZero(chain.end..<chain.end + RecordHeader.size) else { return false }
        if bytes.isZero(chain.end..<bytes.count) { return true }
        let sectorEnd = min(bytes.count, (chain.end / JournalLayout.sector + 1) * JournalLayout.sector)
        guard bytes.isZero(chain.end..<sectorEnd), newestHeader(behind: chain.end) == nil else {
            throw damaged("a missing record", at: chain.end)
        }
        chain.isTorn = true
        return true
    }

    /// The sector is the unit of writing: one that is still zero, where the record has bytes, was never written.
    private func hasUnwrittenSector(_ span: Range<Int>) -> Bool {
        var start = span.lowerBound
        while start < span.upperBound {
            let end = min(span.upperBound, (start / JournalLayout.sector + 1) * JournalLayout.sector)
            if bytes.isZero(start..<end) { return true }
            start = end
        }
        return false
    }

    private func header(at offset: Int) -> RecordHeader? {
        keys.header(bytes[offset..<offset + RecordHeader.size], at: base + offset)
    }

    /// The highest sequence number of any authentic header behind `offset`.
    private func newestHeader(behind offset: Int) -> UInt64? {
        var newest: UInt64?
        for slot in stride(from: offset + RecordHeader.size, to: bytes.count, by: RecordHeader.size)
        where !bytes.isZero(slot..<slot + RecordHeader.size) {
            if let header = header(at: slot) { newest = max(newest ?? 0, header.sequence) }
        }
        return newest
    }

    private func damaged(_ what: String, at offset: Int) -> JournalError { .damaged(what, offset: base + offset) }
}
