// Policy commands that look at something of the TPM's (Part 3, 23.9, 23.10, 23.22, 23.23): NV, the clock, capabilities.
import CryptoBase
import SystemMap
import TPMWire
import Wire

extension PolicyState {
    /// TPM2_PolicyNV (23.9)
    mutating func policyNV(_ indexName: [UInt8], _ actual: [UInt8], _ comparison: PolicyComparison) throws(TPMRC) {
        try check(comparison, actual)
        extend(.policyNV, digest(hash, comparison.arguments), indexName)
    }

    /// TPM2_PolicyCounterTimer (23.10)
    mutating func policyCounterTimer(_ actual: [UInt8], _ comparison: PolicyComparison) throws(TPMRC) {
        try check(comparison, actual)
        extend(.policyCounterTimer, digest(hash, comparison.arguments))
    }

    /// TPM2_PolicyCapability (23.23): a property that does not exist is unequal to everything.
    mutating func policyCapability(
        _ capability: UInt32, _ property: UInt32, _ actual: [UInt8]?, _ comparison: PolicyComparison
    ) throws(TPMRC) {
        if let actual {
            try check(comparison, actual)
        } else {
            guard isTrial || comparison.operation == .notEqual else { throw .policy }
        }
        extend(.policyCapability, digest(hash, comparison.arguments, capability.wire, property.wire))
    }

    /// TPM2_PolicyAuthorizeNV (23.22): the policy so far is the one that the index holds, and counts as the index.
    mutating func policyAuthorizeNV(_ indexName: [UInt8], _ approved: TaggedDigest?) throws(TPMRC) {
        if !isTrial {
            guard let approved else { throw .failure }
            guard approved.hash == hash else { throw .hash }
            guard approved.digest == policyDigest else { throw .value }
        }
        clearDigest()
        extend(.policyAuthorizeNV, indexName)
    }

    private func check(_ comparison: PolicyComparison, _ actual: [UInt8]) throws(TPMRC) {
        guard isTrial || comparison.operation.holds(actual, comparison.operand) else { throw .policy }
    }
}

extension PolicyComparison {
    /// operandB || offset || operation, of which args is the digest
    fileprivate var arguments: [UInt8] { operand + offset.wire + operation.wire }
}
