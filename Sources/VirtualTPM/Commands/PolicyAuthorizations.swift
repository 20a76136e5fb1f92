// Part 3, 23.3 to 23.5 and 23.16: policy commands by which somebody agrees.
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_PolicySigned (23.3)
    func policySigned(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let terms = try call.parameters.authorizationTerms()
        let auth = try call.parameters.next(Signature.self)
        guard auth != .null else { throw TPMRC.scheme.parameter(5) }
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .scheme.parameter(5))
        let isTrial = volatile.sessions[call.handles[1]]?.kind == .trial
        let evidence = isTrial ? .signature(auth) : evidence(of: auth, by: key) { terms.digest($0) }
        let step = PolicyStep.signed(key: key.publicArea, evidence, ticket: ticketHierarchy(key.hierarchy), terms)
        return ticketReply(try takeStep(step, session: call.handles[1]), tag: StructureTag.authSigned)
    }

    /// TPM2_PolicySecret (23.4): the entity was authorized by the pipeline.
    func policySecret(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let terms = try call.parameters.authorizationTerms()
        try call.parameters.finish()

        let entity = call.handles[0]
        // Each use of a PIN Pass index counts: no ticket may stand for more of them.
        let isPINPass = durable.nv[entity]?.publicArea.attributes.indexType == .pinPass
        let step = PolicyStep.secret(
            entityName: name(of: entity), ticket: isPINPass ? nil : ticketHierarchy(hierarchy(of: entity)), terms)
        return ticketReply(try takeStep(step, session: call.handles[1]), tag: StructureTag.authSecret)
    }

    /// TPM2_PolicyTicket (23.5)
    func policyTicket(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let timeout = try call.parameters.bytes(max: 8)
        let cpHash = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let policyRef = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let authName = try call.parameters.name()
        let ticket = try call.parameters.ticket(StructureTag.authSigned, StructureTag.authSecret)
        try call.parameters.finish()

        let terms = AuthorizationTerms(cpHash: cpHash, policyRef: policyRef)
        let hierarchy = ticketHierarchy(ticket.hierarchy)
        try takeStep(
            .ticket(ticket, proofDigest: hierarchy.proofDigest, timeout: timeout, entityName: authName, terms),
            session: call.handles[0])
        return .empty
    }

    /// TPM2_PolicyAuthorize (23.16)
    func policyAuthorize(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let approvedPolicy = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let policyRef = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let keySign = try call.parameters.name()
        let checkTicket = try call.parameters.ticket(StructureTag.verified)
        try call.parameters.finish()

        try takeStep(
            .authorize(
                approvedPolicy: approvedPolicy, policyRef: policyRef, keyName: keySign, checkTicket,
                proofDigest: ticketHierarchy(checkTicket.hierarchy).proofDigest),
            session: call.handles[0])
        return .empty
    }

    private func ticketReply(_ reply: PolicyCalls.Step.Reply, tag: UInt16) -> Reply {
        Reply {
            $0.sized16(reply.timeout)
            $0.value(reply.ticket ?? .null(tag))
        }
    }

    /// The hierarchy as the checker's tickets are bound to it.
    func ticketHierarchy(_ hierarchy: TPMHandle) -> TicketHierarchy {
        TicketHierarchy(hierarchy, proofDigest: digest(.sha256, proof(of: hierarchy).bytes))
    }

    /// The hierarchy that a ticket for this entity is of.
    private func hierarchy(of entity: TPMHandle) -> TPMHandle {
        switch entity.kind {
        case .permanent: entity == .lockout ? .owner : entity
        case .transient, .persistent: (try? object(entity))?.hierarchy ?? .null
        case .nvIndex: durable.nv[entity]?.publicArea.attributes.contains(.platformCreate) == true ? .platform : .owner
        default: .owner
        }
    }

    /// What shows the checker that a signature is genuine: an asymmetric key's that signature itself, an HMAC key's our word,
    /// because only here is the key.
    func evidence(of signature: Signature, by key: LoadedObject, digest: (HashAlgorithm) -> [UInt8]) -> SignatureEvidence {
        guard key.publicArea.type == .keyedHash else { return .signature(signature) }
        do throws(TPMRC) {
            guard let hash = signature.hash else { throw .scheme }
            guard try key.verifiesHMAC(signature, digest(hash)) else { throw .signature }
            return .verdict(nil)
        } catch {
            return .verdict(error)
        }
    }
}

extension ParameterReader {
    /// nonceTPM, cpHashA, policyRef and expiration
    fileprivate mutating func authorizationTerms() throws(TPMRC) -> AuthorizationTerms {
        AuthorizationTerms(
            nonceTPM: try bytes(max: HashAlgorithm.largestDigest), cpHash: try bytes(max: HashAlgorithm.largestDigest),
            policyRef: try bytes(max: HashAlgorithm.largestDigest), expiration: Int32(bitPattern: try next(UInt32.self)))
    }
}
