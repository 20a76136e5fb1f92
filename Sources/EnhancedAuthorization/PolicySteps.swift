// The Policy commands (Part 3, 23, and 11.2): what each does to a policy session. Validate, then act.
import CryptoBase
import SystemMap
import TPMWire
import Wire

/// The values of the PCRs that a PolicyPCR selects, in its order, and the generation that they belong to.
package struct PCRReading: Sendable {
    package let generation: UInt64
    package let digests: [[UInt8]]
    package init(generation: UInt64, digests: [[UInt8]]) {
        self.generation = generation
        self.digests = digests
    }
}

extension PolicyState {
    /// The PCRs whose values `apply` needs for this step; nil: none.
    package func pcrsNeeded(for step: PolicyStep) -> [PCRSelection]? {
        // A trial session takes the caller's word for the digest, if there is one.
        guard case .pcr(let expected, let selection) = step, !isTrial || expected.isEmpty else { return nil }
        return selection
    }

    /// One Policy command.
    /// - Parameter pcrs: present where `pcrsNeeded` asks for it.
    /// - Returns: what the command's ticket shall say; nil where it returns none, or a NULL ticket.
    /// - Throws: the command's response code, with its parameter number; nothing has changed then.
    @discardableResult
    package mutating func apply(_ step: PolicyStep, pcrs: PCRReading? = nil) throws(TPMRC) -> AuthorizationTicket? {
        switch step {
        case .restart: restart()
        case .pcr(let expected, let selection): try policyPCR(expected, selection, pcrs)
        case .authValue: policyProof(.authValue)
        case .password: policyProof(.password)
        case .commandCode(let code): try policyCommandCode(code)
        case .or(let digests): try policyOR(digests)
        case .secret(let entityName, let hierarchy, let policyRef, let cpHash, let nonce, let expiration, let now):
            return try policySecret(
                Authorization(
                    command: .policySecret, ticketTag: StructureTag.authSecret, entityName: entityName, hierarchy: hierarchy,
                    policyRef: policyRef, cpHash: cpHash, nonce: nonce, expiration: expiration),
                now: now)
        }
        return nil
    }

    /// TPM2_PolicyRestart (11.2)
    private mutating func restart() {
        self = PolicyState(hash: hash, isTrial: isTrial, nonceTPM: nonceTPM, startTime: startTime)
    }

    /// TPM2_PolicyPCR (23.7)
    private mutating func policyPCR(
        _ expected: [UInt8], _ selection: [PCRSelection], _ pcrs: PCRReading?
    ) throws(TPMRC) {
        var selected = WireWriter()
        selected.list(selection)
        if isTrial && !expected.isEmpty { return extend(.policyPCR, selected.bytes, expected) }
        guard let pcrs else { throw .failure }
        let current = digest(hash, pcrs.digests.flatMap { $0 })
        if !isTrial {
            guard pcrGeneration == nil || pcrGeneration == pcrs.generation else { throw .pcrChanged }
            guard expected.isEmpty || expected == current else { throw .value.parameter(1) }
            pcrGeneration = pcrs.generation
        }
        extend(.policyPCR, selected.bytes, current)
    }

    /// TPM2_PolicyAuthValue (23.17) and TPM2_PolicyPassword (23.18), whose digests are the same: each takes the other's place.
    private mutating func policyProof(_ kind: Proof) {
        extend(.policyAuthValue)
        proof = kind
    }

    /// TPM2_PolicyCommandCode (23.11)
    private mutating func policyCommandCode(_ code: TPMCommandCode) throws(TPMRC) {
        guard commandCode == nil || commandCode == code else { throw .value.parameter(1) }
        guard CommandTable.row(code) != nil else { throw .policyCC.parameter(1) }
        extend(.policyCommandCode, code.wire)
        commandCode = code
    }

    /// TPM2_PolicyOR (23.6): the session stands where one of the branches ends, and from there all go on alike.
    private mutating func policyOR(_ branches: [[UInt8]]) throws(TPMRC) {
        guard (2...PolicyStep.orMax).contains(branches.count) else { throw .size.parameter(1) }
        guard isTrial || branches.contains(policyDigest) else { throw .value.parameter(1) }
        policyDigest = [UInt8](repeating: 0, count: hash.digestSize)
        extend(.policyOR, branches.flatMap { $0 })
    }

    /// policyDigest = H(policyDigest || TPM_CC || arguments)
    private mutating func extend(_ command: TPMCommandCode, _ arguments: [UInt8]...) {
        policyDigest = digest(hash, policyDigest, command.wire, arguments.flatMap { $0 })
    }
}

/// What TPM2_PolicySecret and TPM2_PolicySigned have in common (Part 3, 23.2): an entity agreed, under conditions.
private struct Authorization {
    let command: TPMCommandCode
    let ticketTag: UInt16
    let entityName: [UInt8]
    let hierarchy: TPMHandle
    let policyRef: [UInt8]
    let cpHash: [UInt8]
    let nonce: [UInt8]
    let expiration: Int32
}

extension PolicyState {
    /// TPM2_PolicySecret (23.4), after the entity's authorization was checked.
    private mutating func policySecret(_ authorization: Authorization, now: UInt64) throws(TPMRC) -> AuthorizationTicket? {
        let limit = isTrial ? nil : timeLimit(authorization, now: now)
        if !isTrial { try check(authorization, limit, now: now) }
        policyUpdate(authorization.command, authorization.entityName, authorization.policyRef)
        if !authorization.cpHash.isEmpty { binding = .cpHash(authorization.cpHash) }
        if let limit { timeout = min(limit, timeout ?? limit) }
        guard let limit, authorization.expiration < 0 else { return nil }
        return AuthorizationTicket(
            tag: authorization.ticketTag, hierarchy: authorization.hierarchy, timeout: limit,
            expiresOnReset: authorization.nonce.isEmpty, cpHash: authorization.cpHash, policyRef: authorization.policyRef,
            entityName: authorization.entityName)
    }

    /// policyUpdate (23.2.3): H(H(policyDigest || TPM_CC || Name) || policyRef)
    private mutating func policyUpdate(_ command: TPMCommandCode, _ name: [UInt8], _ policyRef: [UInt8]) {
        extend(command, name)
        policyDigest = digest(hash, policyDigest, policyRef)
    }

    /// When the authorization ends (23.2.2): seconds from the session's start if it names the session's nonce, else seconds
    /// of the guest's time. The sign of expiration only asks for a ticket.
    private func timeLimit(_ authorization: Authorization, now: UInt64) -> UInt64? {
        guard authorization.expiration != 0 else { return nil }
        // 2^31 seconds are not a number of them that a ticket could say: the longest is one less.
        let seconds = UInt64(min(authorization.expiration.magnitude, UInt32(Int32.max)))
        // Rounded up to the fraction of a second that it is now, so as not to end too early.
        let base = authorization.nonce.isEmpty ? now % 1000 : startTime
        let (limit, overflow) = base.addingReportingOverflow(seconds * 1000)
        return overflow ? UInt64.max : limit
    }

    /// 23.2.2; nonceTPM, cpHashA and expiration are parameters 1, 2 and 4.
    private func check(_ authorization: Authorization, _ limit: UInt64?, now: UInt64) throws(TPMRC) {
        guard authorization.nonce.isEmpty || constantTimeEqual(authorization.nonce, nonceTPM) else { throw .nonce.parameter(1) }
        if let limit, limit < now { throw .expired.parameter(4) }
        guard !authorization.cpHash.isEmpty else { return }
        guard authorization.cpHash.count == hash.digestSize else { throw .size.parameter(2) }
        guard binding == .none || binding == .cpHash(authorization.cpHash) else { throw .cpHash }
    }
}
