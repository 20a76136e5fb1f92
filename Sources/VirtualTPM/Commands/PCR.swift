// Part 3, 22: integrity collection.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_PCR_Extend (22.2)
    func pcrExtend(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let digests = try call.parameters.list(TaggedDigest.self, max: HashAlgorithm.allCases.count)
        try call.parameters.finish()

        if let pcr = pcr(call.handles[0]) { try pcrs.extend(pcr, digests) }
        return .empty
    }

    /// TPM2_PCR_Event (22.3): the digests of the data, which are extended into every bank.
    func pcrEvent(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let eventData = try call.parameters.bytes(max: Limits.eventSize)
        try call.parameters.finish()

        let digests = HashAlgorithm.allCases.map { TaggedDigest($0, digest($0, eventData)) }
        if let pcr = pcr(call.handles[0]) { try pcrs.extend(pcr, digests) }
        return Reply { $0.list(digests) }
    }

    /// TPM2_PCR_Read (22.4): at most eight digests, and a selection that names them.
    func pcrRead(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let pcrSelectionIn = try call.parameters.list(PCRSelection.self, max: HashAlgorithm.allCases.count)
        try call.parameters.finish()

        let values = try pcrs.values()
        var pcrSelectionOut = pcrSelectionIn
        var pcrValues = WireWriter(capacity: 8 * (2 + HashAlgorithm.largestDigest))
        var count: UInt32 = 0
        for bank in pcrSelectionIn.indices {
            let selection = pcrSelectionIn[bank]
            for pcr in selection.pcrs {
                if count < Self.digestListMax {
                    pcrValues.sized16(values.digest(selection.hash, pcr))
                    count += 1
                } else {
                    pcrSelectionOut[bank].bitmap[pcr / 8] &= ~(1 << (pcr % 8))
                }
            }
        }
        return Reply {
            $0.u32(values.updateCounter)
            $0.list(pcrSelectionOut)
            $0.u32(count)
            $0.raw(pcrValues.bytes)
        }
    }
    /// The most digests that a TPML_DIGEST holds.
    private static let digestListMax: UInt32 = 8

    /// TPM2_PCR_Reset (22.8)
    func pcrReset(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        guard let pcr = pcr(call.handles[0]) else { throw TPMRC.value.handle(1) }
        try pcrs.reset(pcr)
        return .empty
    }

    /// nil for TPM_RH_NULL, which records nothing.
    private func pcr(_ handle: TPMHandle) -> Int? { handle == .null ? nil : Int(handle.rawValue) }
}
