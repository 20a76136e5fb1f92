// Part 3, 23: enhanced authorization. The policy checker takes each step; the session here keeps the token (design D8).
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_PolicySecret (23.4): the entity was authorized by the pipeline.
    func policySecret(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let nonce = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let cpHash = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let policyRef = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let expiration = Int32(bitPattern: try call.parameters.next(UInt32.self))
        try call.parameters.finish()
        let entity = call.handles[0]
        let step = PolicyStep.secret(
            entityName: name(of: entity), hierarchy: hierarchy(of: entity), policyRef: policyRef, cpHash: cpHash, nonce: nonce,
            expiration: expiration, now: time)
        let result = try takeStep(step, session: call.handles[1])
        return Reply {
            $0.sized16(result.timeout)
            $0.value(result.ticket ?? .null(StructureTag.authSecret))
        }
    }

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

    /// TPM2_PolicyCommandCode (23.11)
    func policyCommandCode(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let code = try call.parameters.next(TPMCommandCode.self)
        try call.parameters.finish()
        return try plainStep(.commandCode(code), call)
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

    private func plainStep(_ step: PolicyStep, _ call: CommandCall) throws(TPMRC) -> Reply {
        _ = try takeStep(step, session: call.handles[0])
        return .empty
    }

    /// Hands the session's token and the step to the checker, and keeps the new token.
    private func takeStep(_ step: PolicyStep, session handle: TPMHandle) throws(TPMRC) -> PolicyCalls.Step.Reply {
        guard let session = volatile.sessions[handle] else { throw .failure }
        let token = session.token.isEmpty ? try policy.start(firstToken(session)) : session.token
        let reply = try policy.step(PolicyCalls.Step.Request(token: token, step: step))
        volatile.sessions[handle]?.token = reply.token
        return reply
    }

    private func firstToken(_ session: Session) -> PolicyCalls.Start.Request {
        PolicyCalls.Start.Request(
            hash: session.hash, trial: session.kind == .trial, nonceTPM: session.nonceTPM, startTime: session.startTime)
    }

    /// What the session's token says. An untouched session has the empty policy.
    private func policyState(_ handle: TPMHandle) throws(TPMRC) -> PolicyState {
        guard let session = volatile.sessions[handle] else { throw .failure }
        if session.token.isEmpty {
            return PolicyState(
                hash: session.hash, isTrial: session.kind == .trial, nonceTPM: session.nonceTPM, startTime: session.startTime)
        }
        guard let state = PolicyToken.state(of: session.token) else { throw .failure }
        return state
    }

    /// The hierarchy that a ticket for this entity is of.
    private func hierarchy(of entity: TPMHandle) -> TPMHandle {
        switch entity.kind {
        case .permanent: entity == .lockout ? .owner : entity
        case .transient, .persistent: (try? object(entity))?.hierarchy ?? .null
        case .nvIndex: durable.nv[entity]?.publicArea.attributes.contains(.platformCreate) == true ? .platform : .owner
        default: .null
        }
    }

    /// Part 1, 19.7: whether the policy session may authorize this command for this entity.
    func checkPolicy(
        _ applied: AppliedSession, _ handle: TPMHandle, _ role: AuthRole, _ call: CommandCall, _ hashes: CommandHashes
    ) throws(TPMRC) -> PolicyState {
        let state = try policyState(applied.handle)
        let policy = authPolicy(of: handle)
        try state.check(
            PolicyUse(
                authPolicy: policy?.digest ?? [], policyHash: policy?.hash, command: call.row.code, role: role,
                cpHash: hashes.cpHash(state.hash), time: time, pcrGeneration: try pcrs.values().generation))
        return state
    }
}
