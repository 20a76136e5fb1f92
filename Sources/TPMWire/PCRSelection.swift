// Selections of PCRs (Part 2, 10.6): which PCRs of which bank.
import Wire

/// PCRs by number, each a bit.
package struct PCRSet: Hashable, Sendable, Sequence {
    /// Bit n is PCR n.
    private var bits: UInt32 = 0

    package init(_ pcrs: some Sequence<Int>) {
        for pcr in pcrs { insert(pcr) }
    }
    private init(bits: UInt32) { self.bits = bits }

    package static let all = PCRSet(0..<PCRSelection.pcrCount)

    package var isEmpty: Bool { bits == 0 }
    package var count: Int { bits.nonzeroBitCount }
    package func contains(_ pcr: Int) -> Bool { bits & Self.bit(pcr) != 0 }
    package mutating func insert(_ pcr: Int) { bits |= Self.bit(pcr) }
    package func union(_ other: PCRSet) -> PCRSet { PCRSet(bits: bits | other.bits) }
    package func intersection(_ other: PCRSet) -> PCRSet { PCRSet(bits: bits & other.bits) }
    package func subtracting(_ other: PCRSet) -> PCRSet { PCRSet(bits: bits & ~other.bits) }
    package func isSubset(of other: PCRSet) -> Bool { bits & ~other.bits == 0 }
    /// The lowest of them.
    package func prefix(_ count: Int) -> PCRSet { PCRSet(lazy.prefix(count)) }

    private static func bit(_ pcr: Int) -> UInt32 {
        precondition((0..<PCRSelection.pcrCount).contains(pcr))
        return 1 << UInt32(pcr)
    }

    /// Ascending.
    package struct Iterator: IteratorProtocol {
        fileprivate var bits: UInt32
        package mutating func next() -> Int? {
            guard bits != 0 else { return nil }
            defer { bits &= bits - 1 }
            return bits.trailingZeroBitCount
        }
    }
    package func makeIterator() -> Iterator { Iterator(bits: bits) }
}

/// TPMS_PCR_SELECT (Part 2, 10.6.1): bit 0 of byte 0 is PCR 0.
extension PCRSet: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        guard Int(try reader.u8()) == PCRSelection.bitmapSize else { throw .rc(.value) }
        for byte in 0..<PCRSelection.bitmapSize { bits |= UInt32(try reader.u8()) << UInt32(8 * byte) }
    }
    package func encode(to writer: inout WireWriter) {
        writer.u8(UInt8(PCRSelection.bitmapSize))
        for byte in 0..<PCRSelection.bitmapSize { writer.u8(UInt8(truncatingIfNeeded: bits >> UInt32(8 * byte))) }
    }
}

/// TPMS_PCR_SELECTION (Part 2, 10.6.2): PCRs of one bank.
package struct PCRSelection: Hashable, Sendable, WireCodable {
    package var hash: HashAlgorithm
    package var pcrs: PCRSet

    /// PC Client: PCR 0 to 23
    package static let pcrCount = 24
    /// In bytes: PCR_SELECT_MIN and PCR_SELECT_MAX are the same in the PC Client profile.
    package static let bitmapSize = 3
    /// TPML_PCR_SELECTION holds at most one entry for each bank the TPM knows (HASH_COUNT).
    package static let listMax = HashAlgorithm.allCases.count

    package init(_ hash: HashAlgorithm, _ pcrs: PCRSet) {
        self.hash = hash
        self.pcrs = pcrs
    }
    package init(_ hash: HashAlgorithm, pcrs: some Sequence<Int>) { self.init(hash, PCRSet(pcrs)) }
    package init(from reader: inout WireReader) throws(WireError) {
        hash = try reader.value()
        pcrs = try reader.value()
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(hash)
        writer.value(pcrs)
    }

    /// The same PCRs with each bank at most once, in the order of HashAlgorithm.allCases.
    package static func merged(_ selections: [PCRSelection]) -> [PCRSelection] {
        HashAlgorithm.allCases.compactMap { bank in
            var pcrs = PCRSet([])
            for selection in selections where selection.hash == bank { pcrs = pcrs.union(selection.pcrs) }
            return pcrs.isEmpty ? nil : PCRSelection(bank, pcrs)
        }
    }
}
