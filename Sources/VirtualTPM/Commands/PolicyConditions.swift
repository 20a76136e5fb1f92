// Part 3, 23.9, 23.10, 23.22 and 23.23: policy commands that look at something of the TPM's. The checker compares; what is there
// to compare with is read here.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_PolicyNV (23.9)
    func policyNV(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let comparison = try call.parameters.comparison()
        try call.parameters.finish()
        let session = call.handles[2]

        var actual: [UInt8] = []
        if !isTrial(session) {
            let index = try nvIndex(call.handles[1])
            try nvReadChecks(authHandle: call.handles[0], index: index)
            actual = try comparison.part(of: index.data)
        }
        try takeStep(.nv(indexName: name(of: call.handles[1]), actual: actual, comparison), session: session)
        return .empty
    }

    /// TPM2_PolicyCounterTimer (23.10)
    func policyCounterTimer(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let comparison = try call.parameters.comparison()
        try call.parameters.finish()

        // TPMS_TIME_INFO (Part 2, 10.11.2)
        let timeInfo = time.wire + clockInfo.wire
        let start = Int(comparison.offset)
        guard start <= timeInfo.count else { throw TPMRC.value.parameter(2) }
        guard comparison.operand.count <= timeInfo.count - start else { throw .range }
        let actual = Array(timeInfo[start..<start + comparison.operand.count])
        try takeStep(.counterTimer(actual: actual, comparison), session: call.handles[0])
        return .empty
    }

    /// TPM2_PolicyCapability (23.23)
    func policyCapability(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let comparison = try call.parameters.comparison()
        let capability = try call.parameters.next(UInt32.self)
        let property = try call.parameters.next(UInt32.self)
        try call.parameters.finish()
        let session = call.handles[0]

        var actual: [UInt8]?
        if !isTrial(session) {
            // TPM_CAP_PCRS has no properties.
            guard let known = Capability(rawValue: capability), known != .pcrs else { throw TPMRC.value.parameter(4) }
            let data: [UInt8]?
            do throws(TPMRC) { data = try self.property(property, of: known) } catch { throw error.base.parameter(5) }
            actual = if let data { try comparison.part(of: data) } else { nil }
        }
        try takeStep(.capability(capability, property: property, actual: actual, comparison), session: session)
        return .empty
    }

    /// TPM2_PolicyAuthorizeNV (23.22)
    func policyAuthorizeNV(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        let session = call.handles[2]

        var approved: TaggedDigest?
        if !isTrial(session) {
            let index = try nvIndex(call.handles[1])
            try nvReadChecks(authHandle: call.handles[0], index: index)
            var reader = WireReader(index.data)
            do throws(WireError) { approved = try reader.value() } catch { throw TPMRC(error) }
        }
        try takeStep(.authorizeNV(indexName: name(of: call.handles[1]), approved: approved), session: session)
        return .empty
    }

    /// The property's own entry in a capability's list; nil: there is no such property.
    private func property(_ property: UInt32, of capability: Capability) throws(TPMRC) -> [UInt8]? {
        guard let entry = try page(capability, from: property, count: 1).entries.first else { return nil }
        let isOwn = switch capability {
        case .algorithms, .eccCurves: property <= 0xFFFF && entry.starts(with: UInt16(truncatingIfNeeded: property).wire)
        // TPMA_CC ends with the command's index.
        case .commands: property <= 0xFFFF && entry.suffix(2) == property.wire.suffix(2)
        default: entry.starts(with: property.wire)
        }
        return isOwn ? entry : nil
    }

    private func isTrial(_ session: TPMHandle) -> Bool { volatile.sessions[session]?.kind == .trial }
}

extension PolicyComparison {
    /// What of the data it is about: TPM_RC_VALUE for the offset, TPM_RC_SIZE for the operand if that does not exist.
    fileprivate func part(of data: [UInt8]) throws(TPMRC) -> [UInt8] {
        let start = Int(offset)
        guard start <= data.count else { throw TPMRC.value.parameter(2) }
        guard operand.count <= data.count - start else { throw TPMRC.size.parameter(1) }
        return Array(data[start..<start + operand.count])
    }
}

extension ParameterReader {
    /// operandB, offset and operation
    fileprivate mutating func comparison() throws(TPMRC) -> PolicyComparison {
        PolicyComparison(operand: try bytes(max: HashAlgorithm.largestDigest), offset: try next(), operation: try next())
    }
}
