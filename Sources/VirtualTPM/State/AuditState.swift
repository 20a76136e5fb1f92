// What lasts of command audit (Part 3, 21): which commands are audited, and how often a digest was begun.
import TPMCrypto
import TPMWire
import Wire

struct AuditState: WireCodable {
    var hash = VirtualTPM.contextHash
    /// TPM_PT_AUDIT_COUNTER: the digests that were begun so far
    var counter: UInt64 = 0
    /// SetCommandCodeAuditStatus always is among them.
    private(set) var commands = CommandSet([.setCommandCodeAuditStatus])

    /// MAX_CAP_CC: the most codes that a TPML_CC holds.
    static let listMax = (Limits.capabilityBuffer - 8) / 4

    /// The audited commands' codes, ascending.
    var codes: [TPMCommandCode] { CommandTable.rows.map(\.code).filter(commands.contains) }
    /// Of the codes, with the audit's hash.
    var commandDigest: [UInt8] { digest(hash, codes.flatMap(\.wire)) }

    /// Shutdown cannot be audited, since nothing would keep the digest, nor what the TPM does not have.
    mutating func set(_ code: TPMCommandCode) {
        if code != .shutdown, CommandTable.row(code) != nil { commands.insert(code) }
    }
    mutating func clear(_ code: TPMCommandCode) {
        if code != .setCommandCodeAuditStatus { commands.remove(code) }
    }

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        hash = try reader.value()
        counter = try reader.u64()
        commands = CommandSet(try reader.list(TPMCommandCode.self, max: Self.listMax))
    }
    func encode(to writer: inout WireWriter) {
        writer.value(hash)
        writer.u64(counter)
        writer.list(codes)
    }
}
