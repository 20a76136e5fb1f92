// The Policy commands (Part 3, 23, and 11.2): what each does to a policy session. Validate, then act.
import CryptoBase
import SystemMap
import TPMWire
import Wire

/// The values of the PCRs that a PolicyPCR selects, in its order, and the generation that they belong to.
package struct PCRReading: Sendable {
    package let generation: UInt64
    package let digests: [[UInt8]]
    /// The locality that the platform set
    package let locality: UInt8
    package init(generation: UInt64, digests: [[UInt8]], locality: UInt8 = 0) {
        self.generation = generation
        self.digests = digests
        self.locality = locality
    }
}

/// What PolicySigned and PolicySecret answer when they were asked for a ticket.
package struct GivenTicket: Sendable {
    /// TPM2B_TIMEOUT
    package let timeout: [UInt8]
    package let ticket: Ticket
}

/// When a step is taken
struct Moment {
    let nonces: SessionNonces
    let rolls: UInt64
    let time: GuestTime

    var nonceTPM: [UInt8] { nonces[rolls] }
}

extension PolicyState {
    /// The PCRs whose values `apply` needs for this step; nil: none.
    package func pcrsNeeded(for step: PolicyStep) -> [PCRSelection]? {
        // A trial session takes the caller's word for the digest, if there is one.
        guard case .pcr(let expected, let selection) = step, !isTrial || expected.isEmpty else { return nil }
        return isTrial ? selection : selection + UncountedPCRs.watched(uncountedPCRs, and: selection)
    }

    /// One Policy command.
    /// - Parameters:
    ///   - rolls: how many times the session's nonceTPM has rolled.
    ///   - pcrs: present where `pcrsNeeded` asks for it.
    /// - Returns: the command's ticket; nil where it returns none, or a NULL ticket.
    /// - Throws: the command's response code, with its parameter number; nothing has changed then.
    @discardableResult
    package mutating func apply(
        _ step: PolicyStep, at time: GuestTime, rolls: UInt64, mint: TicketMint, pcrs: PCRReading? = nil
    ) throws(TPMRC) -> GivenTicket? {
        let moment = Moment(nonces: nonces, rolls: rolls, time: time)
        switch step {
        case .restart: restart()
        case .pcr(let expected, let selection): try policyPCR(expected, selection, pcrs)
        case .authValue: policyProof(.authValue)
        case .password: policyProof(.password)
        case .commandCode(let code): try policyCommandCode(code)
        case .or(let digests): try policyOR(digests)
        case .secret(let entityName, let hierarchy, let terms):
            return try policySecret(entityName, hierarchy, terms, moment, mint)
        case .signed(let key, let evidence, let hierarchy, let terms):
            return try policySigned(key, evidence, hierarchy, terms, moment, mint)
        case .ticket(let ticket, let proofDigest, let timeout, let entityName, let terms):
            try policyTicket(ticket, TicketHierarchy(ticket.hierarchy, proofDigest: proofDigest), timeout, entityName, terms, moment, mint)
        case .locality(let locality): try policyLocality(locality)
        case .physicalPresence: policyPhysicalPresence()
        case .bind(let kind, let digest): try policyBind(kind, digest)
        case .duplicationSelect(let objectName, let newParentName, let includeObject):
            try policyDuplicationSelect(objectName, newParentName, includeObject)
        case .authorize(let approvedPolicy, let policyRef, let keyName, let ticket, let proofDigest):
            let hierarchy = TicketHierarchy(ticket.hierarchy, proofDigest: proofDigest)
            try policyAuthorize(approvedPolicy, policyRef, keyName, ticket, hierarchy, mint)
        case .nvWritten(let isWritten): try policyNvWritten(isWritten)
        case .nv(let indexName, let actual, let comparison): try policyNV(indexName, actual, comparison)
        case .counterTimer(let actual, let comparison): try policyCounterTimer(actual, comparison)
        case .capability(let capability, let property, let actual, let comparison):
            try policyCapability(capability, property, actual, comparison)
        case .authorizeNV(let indexName, let approved): try policyAuthorizeNV(indexName, approved)
        }
        return nil
    }

    /// TPM2_PolicyRestart (11.2)
    private mutating func restart() {
        self = PolicyState(hash: hash, isTrial: isTrial, startTime: startTime, nonces: nonces)
    }

    /// TPM2_PolicyPCR (23.7)
    private mutating func policyPCR(
        _ expected: [UInt8], _ selection: [PCRSelection], _ pcrs: PCRReading?
    ) throws(TPMRC) {
        var selected = WireWriter()
        selected.list(selection)
        if isTrial && !expected.isEmpty { return extend(.policyPCR, selected.bytes, expected) }
        guard let pcrs else { throw .failure }
        let count = selection.reduce(0) { $0 + $1.pcrs.count }
        let current = digest(hash, pcrs.digests.prefix(count).flatMap { $0 })
        if !isTrial {
            guard pcrGeneration == nil || pcrGeneration == pcrs.generation else { throw .pcrChanged }
            guard expected.isEmpty || expected == current else { throw .value.parameter(1) }
            pcrGeneration = pcrs.generation
            let watched = UncountedPCRs.watched(uncountedPCRs, and: selection)
            uncountedPCRs = UncountedPCRs(uncountedPCRs, watched, Array(pcrs.digests.dropFirst(count)))
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
        clearDigest()
        extend(.policyOR, branches.flatMap { $0 })
    }

    /// TPM2_PolicyLocality (23.8): what the localities of several such commands have in common. Extended ones (above 31) stand
    /// alone.
    private mutating func policyLocality(_ given: LocalityAttributes) throws(TPMRC) {
        let former = locality ?? (given.isExtended ? given : LocalityAttributes(rawValue: 0x1F))
        guard former.isExtended == given.isExtended else { throw .range.parameter(1) }
        guard !given.isExtended || former == given else { throw .range.parameter(1) }
        let common = LocalityAttributes(rawValue: former.rawValue & given.rawValue)
        guard common.rawValue != 0 else { throw .range.parameter(1) }
        extend(.policyLocality, [given.rawValue])
        locality = common
    }

    /// TPM2_PolicyPhysicalPresence (23.12)
    private mutating func policyPhysicalPresence() {
        extend(.policyPhysicalPresence)
        isPhysicalPresenceNeeded = true
    }

    /// TPM2_PolicyNvWritten (23.20)
    private mutating func policyNvWritten(_ isWritten: Bool) throws(TPMRC) {
        guard nvWritten == nil || nvWritten == isWritten else { throw .value.parameter(1) }
        extend(.policyNvWritten, [isWritten ? 1 : 0])
        nvWritten = isWritten
    }

    /// policyDigest = H(policyDigest || TPM_CC || arguments)
    mutating func extend(_ command: TPMCommandCode, _ arguments: [UInt8]...) {
        policyDigest = digest(hash, policyDigest, command.wire, arguments.flatMap { $0 })
    }

    /// Back to where a session starts, as commands do that stand for whatever led to them.
    mutating func clearDigest() { policyDigest = [UInt8](repeating: 0, count: hash.digestSize) }
}

// MARK: The command's own digest

extension PolicyState {
    /// TPM2_PolicyCpHash (23.13), PolicyNameHash (23.14), PolicyTemplate (23.21) and PolicyParameters (23.24)
    private mutating func policyBind(_ kind: PolicyBinding, _ given: [UInt8]) throws(TPMRC) {
        switch kind {
        case .cpHash:
            try checkSize(given)
            guard binding == nil || binding == Binding(kind: .cpHash, digest: given) else { throw .cpHash }
        case .nameHash, .parameters:
            try checkSize(given)
            guard binding == nil else { throw .cpHash }
        case .template:
            guard isTemplateSet || binding == nil else { throw .cpHash }
            guard binding == nil || binding?.digest == given else { throw .value.parameter(1) }
            try checkSize(given)
            isTemplateSet = true
        }
        extend(kind.command, given)
        binding = binding ?? Binding(kind: kind, digest: given)
    }

    private func checkSize(_ given: [UInt8]) throws(TPMRC) {
        guard given.count == hash.digestSize else { throw .size.parameter(1) }
    }

    /// TPM2_PolicyDuplicationSelect (23.15): the Names of TPM2_Duplicate's handles, and nothing else of it.
    private mutating func policyDuplicationSelect(
        _ objectName: [UInt8], _ newParentName: [UInt8], _ includeObject: Bool
    ) throws(TPMRC) {
        guard binding == nil else { throw .cpHash }
        guard commandCode == nil else { throw .commandCode }
        extend(.policyDuplicationSelect, includeObject ? objectName : [], newParentName, [includeObject ? 1 : 0])
        binding = Binding(kind: .nameHash, digest: digest(hash, objectName, newParentName))
        commandCode = .duplicate
    }
}

extension PolicyBinding {
    fileprivate var command: TPMCommandCode {
        switch self {
        case .cpHash: .policyCpHash
        case .nameHash: .policyNameHash
        case .template: .policyTemplate
        case .parameters: .policyParameters
        }
    }
}
