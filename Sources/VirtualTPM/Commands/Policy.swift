// Part 3, 23: enhanced authorization. The policy checker takes each step; the session here keeps the token (design D8).
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_PolicyOR (23.6)
    func policyOR(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let digests = try call.parameters.read { (reader) throws(WireError) in
            let count = try reader.u32()
            guard count >= 2 && count <= UInt32(PolicyStep.orMax) else { throw .rc(.size) }
            var digests: [[UInt8]] = []
            for _ in 0..<count { digests.append(try reader.sized16(max: HashAlgorithm.largestDigest)) }
            return digests
        }
        try call.parameters.finish()
        return try plainStep(.or(digests), call)
    }

    /// TPM2_PolicyPCR (23.7)
    func policyPCR(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let expected = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let selection = volatile.banks.present(try call.parameters.list(PCRSelection.self, max: PCRSelection.listMax))
        try call.parameters.finish()
        return try plainStep(.pcr(expected: expected, selection: selection), call)
    }

    /// TPM2_PolicyLocality (23.8)
    func policyLocality(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let locality = try call.parameters.next(LocalityAttributes.self)
        try call.parameters.finish()
        return try plainStep(.locality(locality), call)
    }

    /// TPM2_PolicyCommandCode (23.11)
    func policyCommandCode(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let code = try call.parameters.next(TPMCommandCode.self)
        try call.parameters.finish()
        guard CommandTable.row(code) == nil || rules.commands.contains(code) else { throw TPMRC.policyCC.parameter(1) }
        return try plainStep(.commandCode(code), call)
    }

    /// TPM2_PolicyPhysicalPresence (23.12)
    func policyPhysicalPresence(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        return try plainStep(.physicalPresence, call)
    }

    /// TPM2_PolicyCpHash (23.13), PolicyNameHash (23.14), PolicyTemplate (23.21) and PolicyParameters (23.24)
    func policyBind(_ kind: PolicyBinding, _ call: inout CommandCall) throws(TPMRC) -> Reply {
        let digest = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        try call.parameters.finish()
        return try plainStep(.bind(kind, digest), call)
    }

    /// TPM2_PolicyDuplicationSelect (23.15)
    func policyDuplicationSelect(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let objectName = try call.parameters.name()
        let newParentName = try call.parameters.name()
        let includeObject = try call.parameters.read { (reader) throws(WireError) in try reader.flag() }
        try call.parameters.finish()
        return try plainStep(
            .duplicationSelect(objectName: objectName, newParentName: newParentName, includeObject: includeObject), call)
    }

    /// TPM2_PolicyAuthValue (23.17)
    func policyAuthValue(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        return try plainStep(.authValue, call)
    }

    /// TPM2_PolicyPassword (23.18)
    func policyPassword(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        return try plainStep(.password, call)
    }

    /// TPM2_PolicyGetDigest (23.19)
    func policyGetDigest(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        let digest = try policyState(call.handles[0]).policyDigest
        return Reply { $0.sized16(digest) }
    }

    /// TPM2_PolicyNvWritten (23.20)
    func policyNvWritten(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let isWritten = try call.parameters.read { (reader) throws(WireError) in try reader.flag() }
        try call.parameters.finish()
        return try plainStep(.nvWritten(isWritten), call)
    }

    private func plainStep(_ step: PolicyStep, _ call: CommandCall) throws(TPMRC) -> Reply {
        try takeStep(step, session: call.handles[0])
        return .empty
    }

    /// Hands the session's token and the step to the checker, and keeps the new token.
    @discardableResult
    func takeStep(_ step: PolicyStep, session handle: TPMHandle) throws(TPMRC) -> PolicyCalls.Step.Reply {
        guard let session = volatile.sessions[handle], let tokens = session.policy else { throw .failure }
        let moment = PolicyMoment(rolls: tokens.rolls, epoch: volatile.powerOnTime)
        let reply = try policy.step(PolicyCalls.Step.Request(token: tokens.token, step: step, at: moment))
        guard session.policy?.take(reply.token) == true else { throw .failure }
        return reply
    }

    /// What the session's token says.
    func policyState(_ handle: TPMHandle) throws(TPMRC) -> PolicyState {
        guard let state = volatile.sessions[handle]?.policy?.state else { throw .failure }
        return state
    }

    /// Part 1, 19.7: whether the policy session may authorize this command for this entity.
    func checkPolicy(
        _ state: PolicyState, _ handle: TPMHandle, _ role: AuthRole, _ call: CommandCall, _ hashes: CommandDigests
    ) throws(TPMRC) {
        let policy = authPolicy(of: handle)
        let pcrs = try pcrs.moment()
        try state.check(
            PolicyUse(
                authPolicy: policy?.digest ?? [], policyHash: policy?.hash, command: call.row.code, role: role, time: guestTime,
                pcrGeneration: pcrs.generation, locality: pcrs.locality,
                nvWritten: durable.nv[handle]?.publicArea.attributes.contains(.written),
                digest: { hashes.digest($0, state.hash) }))
    }
}

extension ParameterReader {
    /// TPM2B_NAME
    mutating func name() throws(TPMRC) -> [UInt8] { try bytes(max: 2 + HashAlgorithm.largestDigest) }
}
