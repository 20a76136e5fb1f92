// Which PCRs each bank has (Part 1, 17.5): what TPM2_PCR_Allocate changes.
import Wire

package struct PCRBanks: Hashable, Sendable, WireCodable {
    /// One for each bank, in the order of HashAlgorithm.allCases.
    package private(set) var selections: [PCRSelection]

    /// Every PCR in every bank.
    package static let all = PCRBanks(
        selections: HashAlgorithm.allCases.map { PCRSelection($0, .all) })

    private init(selections: [PCRSelection]) { self.selections = selections }

    package init(from reader: inout WireReader) throws(WireError) {
        selections = try reader.list(max: PCRSelection.listMax)
        guard selections.map(\.hash) == HashAlgorithm.allCases else { throw .invalid(0) }
    }
    package func encode(to writer: inout WireWriter) { writer.list(selections) }

    private func pcrs(_ hash: HashAlgorithm) -> PCRSet { selections.first { $0.hash == hash }?.pcrs ?? PCRSet([]) }

    package func contains(_ hash: HashAlgorithm, _ pcr: Int) -> Bool { pcrs(hash).contains(pcr) }

    /// Whether any of these banks has the PCR.
    package func contains(_ pcr: Int, in hashes: [HashAlgorithm]) -> Bool { hashes.contains { contains($0, pcr) } }

    /// The banks that are named anew, the others as they are.
    package func changed(by changes: [PCRSelection]) -> PCRBanks {
        PCRBanks(selections: selections.map { bank in changes.last { $0.hash == bank.hash } ?? bank })
    }

    /// What of the selected PCRs is there.
    package func present(_ selected: [PCRSelection]) -> [PCRSelection] {
        selected.map { PCRSelection($0.hash, $0.pcrs.intersection(pcrs($0.hash))) }
    }

    /// Bytes of all digests.
    package var size: Int { selections.reduce(0) { $0 + $1.pcrs.count * $1.hash.digestSize } }
}
