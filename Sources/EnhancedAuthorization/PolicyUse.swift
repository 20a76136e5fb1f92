// Whether a policy session authorizes one use of one entity (Part 1, 19.7).
import TPMWire

/// One use of an entity that a policy session shall authorize.
package struct PolicyUse: Sendable {
    /// The entity's authPolicy, and the hash that it is made with (nil: TPM_ALG_NULL)
    package var authPolicy: [UInt8]
    package var policyHash: HashAlgorithm?
    package var command: TPMCommandCode
    /// What the command asks of the entity's handle
    package var role: AuthRole
    /// The command's cpHash, made with the session's hash
    package var cpHash: [UInt8]
    /// The guest's time now, in milliseconds
    package var time: UInt64
    /// The generation of the guest's vPCRs now
    package var pcrGeneration: UInt64

    package init(
        authPolicy: [UInt8], policyHash: HashAlgorithm?, command: TPMCommandCode, role: AuthRole, cpHash: [UInt8], time: UInt64,
        pcrGeneration: UInt64
    ) {
        self.authPolicy = authPolicy
        self.policyHash = policyHash
        self.command = command
        self.role = role
        self.cpHash = cpHash
        self.time = time
        self.pcrGeneration = pcrGeneration
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
        if let timeout, timeout < use.time { throw .expired }
        guard commandCode == nil || commandCode == use.command else { throw .policyCC }
        guard commandCode != nil || use.role == .user else { throw .policyFail }
        switch binding {
        case .none: break
        case .cpHash(let digest): guard digest == use.cpHash else { throw .policyFail }
        }
    }
}
