// What a guest's event log says of its host (docs/attestation.md, host binding).
import AttestationFormats
import TPMWire
import Wire

extension HostBinding {
    /// The host's PCRs that logs say were measured into one of these vPCRs before anything else, with digests that are right.
    static func values(in logs: [EventLog], of vpcrs: Set<Int>) -> PCRValues {
        var begun: Set<Int> = []
        for event in logs.lazy.flatMap(\.events) where event.isExtended && vpcrs.contains(event.pcr) && begun.insert(event.pcr).inserted {
            guard event.data.starts(with: signature), event.isDigestOfData else { continue }
            var reader = WireReader(event.data[signature.count...])
            guard let selections: [PCRSelection] = try? reader.list(max: PCRSelection.listMax), let bytes = try? reader.sized16(),
                reader.isAtEnd, let values = PCRValues(bytes, selections)
            else { continue }
            return values
        }
        return [:]
    }
}
