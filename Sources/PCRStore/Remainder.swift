// What paratpm-pcr knows of a guest beside the values on its page, in the form in which it outlives the process.
import CryptoBase
import SystemMap
import TPMWire
import Wire

/// The last numbered change of the door or of the proxy, and how it was answered.
struct LastChange: WireCodable, Sendable {
    let number: UInt64
    let status: UInt32

    init(number: UInt64, status: UInt32) {
        self.number = number
        self.status = status
    }
    init(from reader: inout WireReader) throws(WireError) {
        number = try reader.u64()
        status = try reader.u32()
    }
    func encode(to writer: inout WireWriter) {
        writer.u64(number)
        writer.u32(status)
    }
}

/// Who makes a change.
enum Side: Int, CaseIterable, Sendable {
    case door, proxy
}

/// A guest's vPCRs and the last change of each side.
struct GuestState: Sendable {
    var pcrs: VirtualPCRs
    /// A side each
    var last = Side.allCases.map { _ in LastChange(number: 0, status: 0) }

    init(_ pcrs: VirtualPCRs) { self.pcrs = pcrs }

    // Wire form: each side's last change, u8 launch, the banks, flag and what Shutdown(STATE) kept (u8 launch, u32 pcrUpdateCounter,
    // the banks' values), flag and the saved contexts of a DRTM event, flag and the first event.

    var remainder: [UInt8] {
        var writer = WireWriter(capacity: 96)
        for change in last { writer.value(change) }
        writer.u8(pcrs.launch.rawValue)
        writer.value(pcrs.banks)
        writer.flag(pcrs.kept != nil)
        if let kept = pcrs.kept {
            writer.u8(kept.launch.rawValue)
            writer.u32(kept.values.updateCounter)
            writer.raw(kept.values.banks)
        }
        writer.flag(pcrs.event != nil)
        for context in pcrs.event ?? [] { writer.sized16(context.saved) }
        writer.flag(pcrs.firstEvent != nil)
        if let event = pcrs.firstEvent { writer.value(event) }
        return writer.bytes
    }

    init(_ values: VPCRValues, remainder: [UInt8]) throws(WireError) {
        pcrs = VirtualPCRs(values: values)
        var reader = WireReader(remainder)
        for side in Side.allCases { last[side.rawValue] = try reader.value() }
        pcrs.launch = try reader.launch()
        pcrs.banks = try reader.value()
        if try reader.flag() {
            let launch = try reader.launch()
            var values = VPCRValues()
            values.updateCounter = try reader.u32()
            values.banks = try reader.bytes(VPCRPage.banksSize)
            pcrs.kept = VirtualPCRs.Kept(values: values, launch: launch)
        }
        if try reader.flag() {
            pcrs.event = []
            for hash in HashAlgorithm.allCases {
                guard let context = HashContext(saved: try reader.sized16()), context.hash == hash else { throw .invalid(0) }
                pcrs.event?.append(context)
            }
        }
        if try reader.flag() { pcrs.firstEvent = try reader.value() }
        try reader.finish()
    }
}

extension WireReader {
    fileprivate mutating func launch() throws(WireError) -> VirtualPCRs.Launch {
        guard let launch = VirtualPCRs.Launch(rawValue: try u8()) else { throw .invalid(0) }
        return launch
    }
}
