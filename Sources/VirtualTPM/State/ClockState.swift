// What lasts of the TPM's clock (Part 1, 36).
import Wire

struct ClockState: WireCodable {
    /// Clock as last committed, in milliseconds. Clock never goes back below it.
    var clock: UInt64 = 0
    var resetCount: UInt32 = 0
    var restartCount: UInt32 = 0
    var safe = true
    /// The last TPM2_Shutdown, as long as nothing orderly changed since. A new TPM counts as shut down.
    var orderly: Orderly = .clear

    enum Orderly: UInt8 { case none = 0, clear = 1, state = 2 }

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        clock = try reader.u64()
        resetCount = try reader.u32()
        restartCount = try reader.u32()
        safe = try reader.flag()
        guard let orderly = Orderly(rawValue: try reader.u8()) else { throw .invalid(0) }
        self.orderly = orderly
    }
    func encode(to writer: inout WireWriter) {
        writer.u64(clock)
        writer.u32(resetCount)
        writer.u32(restartCount)
        writer.flag(safe)
        writer.u8(orderly.rawValue)
    }
}
