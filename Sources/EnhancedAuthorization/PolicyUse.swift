// Whether a policy session authorizes one use of one entity (Part 1, 19.7).
import SystemMap
import TPMWire
import Wire

/// One use of an entity that a policy session shall authorize.
package struct PolicyUse {
    /// The entity's authPolicy, and the hash that it is made with (nil: TPM_ALG_NULL)
    package var authPolicy: [UInt8]
    package var policyHash: HashAlgorithm?
    package var command: TPMCommandCode
    /// What the command asks of the entity's handle
    package var role: AuthRole
    /// The guest's time now
    package var time: GuestTime
    /// The generation of the guest's vPCRs now
    package var pcrGeneration: UInt64
    /// The locality at which the command came
    package var locality: UInt8
    /// TPMA_NV_WRITTEN of the entity; nil if it is no NV index
    package var nvWritten: Bool?
    /// The command's digest of a kind, made with the session's hash; nil where the command has nothing of it.
    package var digest: (PolicyBinding) -> [UInt8]?

    package init(
        authPolicy: [UInt8], policyHash: HashAlgorithm?, command: TPMCommandCode, role: AuthRole, time: GuestTime,
        pcrGeneration: UInt64, locality: UInt8, nvWritten: Bool?, digest: @escaping (PolicyBinding) -> [UInt8]?
    ) {
        self.authPolicy = authPolicy
        self.policyHash = policyHash
        self.command = command
        self.role = role
        self.time = time
        self.pcrGeneration = pcrGeneration
        self.locality = locality
        self.nvWritten = nvWritten
        self.digest = digest
    }
}

extension PolicyState {
    /// - Throws: the response code, to which the caller adds the session's number. The order of the checks is that of the
    ///   reference code, so that a use that fails twice gives the code that other TPMs give.
    package func check(_ use: PolicyUse) throws(TPMRC) {
        // PolicySecret's own entity must be proven by its authValue: a policy would only refer to another secret.
        guard use.command != .policySecret || proof != .none else { throw .mode }
        guard pcrGeneration == nil || pcrGeneration == use.pcrGeneration else { throw .pcrChanged }
        guard policyDigest == use.authPolicy, hash == use.policyHash else { throw .policyFail }
        guard !hasPassed(timeout, at: use.time) else { throw .expired }
        guard commandCode == nil || commandCode == use.command else { throw .policyCC }
        guard commandCode != nil || use.role == .user else { throw .policyFail }
        if let locality { guard locality.allows(use.locality) else { throw .locality } }
        // Nobody can be present at a virtual machine.
        guard !isPhysicalPresenceNeeded else { throw .pp }
        if let binding { guard use.digest(binding.kind) == binding.digest else { throw .policyFail } }
        guard nvWritten == nil || nvWritten == use.nvWritten else { throw .policyFail }
    }

    /// Whether a time limit of this session is over: also when the guest's power was off in between.
    func hasPassed(_ limit: UInt64?, at time: GuestTime) -> Bool {
        guard let limit else { return false }
        return limit < time.milliseconds || startTime.epoch != time.epoch
    }
}
