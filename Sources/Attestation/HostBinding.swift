// The host's PCRs as the first event of a guest's boot, so that what the guest seals and quotes covers its host (docs/attestation.md).
import CryptoBase
import TPMWire
import Wire

/// The event's data: "paratpm host PCRs" and a NUL, TPML_PCR_SELECTION, sized16 values. Each bank is extended with its own digest of
/// the data.
public enum HostBinding {
    private static let signature = Array("paratpm host PCRs".utf8) + [0]
    /// EV_EVENT_TAG's neighbour for what a platform measures before its firmware runs: EV_POST_CODE (PC Client, 10.4.1).
    static let eventType: UInt32 = 1

    package static func data(_ selections: [PCRSelection], _ values: [UInt8]) -> [UInt8] {
        var writer = WireWriter()
        writer.raw(signature)
        writer.list(selections)
        writer.sized16(values)
        return writer.bytes
    }

    /// The host's PCRs that logs say were measured, and whose digests are right.
    static func values(in logs: [EventLog]) -> PCRValues {
        for event in logs.lazy.flatMap(\.events) where event.data.starts(with: signature) && event.isDigestOfData {
            var reader = WireReader(event.data[signature.count...])
            guard let selections: [PCRSelection] = try? reader.list(max: PCRSelection.listMax), let bytes = try? reader.sized16(),
                reader.isAtEnd, let values = PCRValues(bytes, selections)
            else { continue }
            return values
        }
        return [:]
    }
}
