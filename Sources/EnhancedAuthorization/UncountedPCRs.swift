// PCRs whose changes are not counted (TPM_PT_PCR_NO_INCREMENT: debug and application PCRs). A TPM does not look again at those that a
// PolicyPCR saw; the gate does (docs/architecture.md, D7), because a token outlives what a session is.
import CryptoBase
import SystemMap
import TPMWire
import Wire

package struct UncountedPCRs: WireCodable, Sendable, Equatable {
    /// Each bank once
    package let selection: [PCRSelection]
    /// SHA-256 of their values; empty: they changed between two PolicyPCR.
    private let digest: [UInt8]

    /// What a session has to watch when a PolicyPCR selects more.
    static func watched(_ former: UncountedPCRs?, and selected: [PCRSelection]) -> [PCRSelection] {
        PCRSelection.merged((former?.selection ?? []) + selected).compactMap { bank in
            let uncounted = bank.pcrs.intersection(PCRAttributes.uncounted)
            return uncounted.isEmpty ? nil : PCRSelection(bank.hash, uncounted)
        }
    }

    /// - Parameter values: of the selection, which includes the former one; nil comes of an empty one.
    init?(_ former: UncountedPCRs?, _ selection: [PCRSelection], _ values: [[UInt8]]) {
        guard !selection.isEmpty else { return nil }
        self.selection = selection
        let places = selection.flatMap { bank in bank.pcrs.map { (bank: bank.hash, pcr: $0) } }
        let known = zip(places, values).filter { place, _ in
            former?.selection.contains { $0.hash == place.bank && $0.pcrs.contains(place.pcr) } ?? false
        }
        digest = former?.holds(known.map(\.1)) ?? true ? Self.digest(values) : []
    }

    /// Whether the selected PCRs still have the values that they had.
    package func holds(_ values: [[UInt8]]) -> Bool { !digest.isEmpty && digest == Self.digest(values) }

    private static func digest(_ values: [[UInt8]]) -> [UInt8] { CryptoBase.digest(.sha256, values.flatMap { $0 }) }

    package init(from reader: inout WireReader) throws(WireError) {
        selection = try reader.list(max: PCRSelection.listMax)
        digest = try reader.sized16(max: HashAlgorithm.largestDigest)
    }
    package func encode(to writer: inout WireWriter) {
        writer.list(selection)
        writer.sized16(digest)
    }
}
