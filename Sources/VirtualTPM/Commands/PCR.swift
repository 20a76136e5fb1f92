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

        let digests = hashes.map { TaggedDigest($0, digest($0, eventData)) }
        if let pcr = pcr(call.handles[0]) { try pcrs.extend(pcr, digests) }
        return Reply { $0.list(digests) }
    }

    /// TPM2_PCR_Read (22.4): at most eight digests, and a selection that names them.
    func pcrRead(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let selected = try call.parameters.list(PCRSelection.self, max: HashAlgorithm.allCases.count)
        try call.parameters.finish()

        var pcrSelectionOut = volatile.banks.present(selected)
        var room = Self.digestListMax
        for bank in pcrSelectionOut.indices {
            pcrSelectionOut[bank].pcrs = pcrSelectionOut[bank].pcrs.prefix(room)
            room -= pcrSelectionOut[bank].pcrs.count
        }
        let (pcrUpdateCounter, pcrValues) = try pcrs.read(pcrSelectionOut)
        return Reply {
            $0.u32(pcrUpdateCounter)
            $0.list(pcrSelectionOut)
            $0.u32(UInt32(Self.digestListMax - room))
            $0.raw(pcrValues)
        }
    }
    /// The most digests that a TPML_DIGEST holds.
    private static let digestListMax = 8

    /// TPM2_PCR_Allocate (22.5): for the next boot.
    func pcrAllocate(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let pcrAllocation = try call.parameters.list(PCRSelection.self, max: PCRSelection.listMax)
        try call.parameters.finish()
        let banks = durable.settings.banks.changed(by: pcrAllocation)
        // Some bank must measure the static and the dynamic launch.
        guard banks.contains(0, in: hashes), banks.contains(17, in: hashes) else { throw .pcr }

        durable.settings.banks = banks
        durable.save(.settings)
        volatile.isReallocated = true
        return Reply {
            $0.flag(true)
            $0.u32(UInt32(PCRSelection.pcrCount))
            $0.u32(UInt32(banks.size))
            $0.u32(UInt32(PCRBanks.all.size))
        }
    }

    /// TPM2_PCR_SetAuthPolicy (22.6)
    func pcrSetAuthPolicy(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let policy = try call.parameters.hierarchyPolicy()
        let pcrNum = try call.parameters.next(TPMHandle.self)
        guard HandleKind.pcr.allows(pcrNum) else { throw TPMRC.value.parameter(3) }
        try call.parameters.finish()
        guard policy.isWhole else { throw TPMRC.size.parameter(1) }
        guard PCRAttributes.of(Int(pcrNum.rawValue)).isInAuthGroup else { throw TPMRC.value.parameter(3) }

        durable.settings.pcrPolicy = policy
        durable.save(.settings)
        return .empty
    }

    /// TPM2_PCR_SetAuthValue (22.7)
    func pcrSetAuthValue(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let auth = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        try call.parameters.finish()
        guard PCRAttributes.of(Int(call.handles[0].rawValue)).isInAuthGroup else { throw .value }

        volatile.pcrAuthValue = Secret(withoutTrailingZeros(auth))
        return .empty
    }

    /// TPM2_PCR_Reset (22.8)
    func pcrReset(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        guard let pcr = pcr(call.handles[0]) else { throw TPMRC.value.handle(1) }
        try pcrs.reset(pcr)
        return .empty
    }

    /// nil for TPM_RH_NULL, which records nothing.
    func pcr(_ handle: TPMHandle) -> Int? { handle == .null ? nil : Int(handle.rawValue) }
}
