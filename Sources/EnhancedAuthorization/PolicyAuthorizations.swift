// Policy commands by which somebody agrees (Part 3, 23.3 to 23.5 and 23.16): PolicySigned, PolicySecret, PolicyTicket, PolicyAuthorize.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension PolicyState {
    /// TPM2_PolicySecret (23.4), after the entity's authorization was checked
    mutating func policySecret(
        _ entityName: [UInt8], _ hierarchy: TicketHierarchy?, _ terms: AuthorizationTerms, _ moment: Moment, _ mint: TicketMint
    ) throws(TPMRC) -> GivenTicket? {
        let limit = timeLimit(terms, moment.time)
        if !isTrial { try check(terms, limit, moment, numbers: (cpHash: 2, expiration: 4)) }
        agree(.policySecret, entityName, terms, limit)
        guard let hierarchy else { return nil }
        return ticket(StructureTag.authSecret, hierarchy, entityName, terms, limit, moment, mint)
    }

    /// TPM2_PolicySigned (23.3)
    mutating func policySigned(
        _ key: PublicArea, _ evidence: SignatureEvidence, _ hierarchy: TicketHierarchy, _ terms: AuthorizationTerms,
        _ moment: Moment, _ mint: TicketMint
    ) throws(TPMRC) -> GivenTicket? {
        let limit = timeLimit(terms, moment.time)
        if !isTrial {
            try check(terms, limit, moment, numbers: (cpHash: 2, expiration: 4))
            do throws(TPMRC) { try key.check(evidence) { terms.digest($0) } } catch { throw error.parameter(5) }
        }
        agree(.policySigned, key.name, terms, limit)
        return ticket(StructureTag.authSigned, hierarchy, key.name, terms, limit, moment, mint)
    }

    /// TPM2_PolicyTicket (23.5): what an entity agreed to before, in another session maybe.
    mutating func policyTicket(
        _ given: Ticket, _ hierarchy: TicketHierarchy, _ timeout: [UInt8], _ entityName: [UInt8], _ terms: AuthorizationTerms,
        _ moment: Moment, _ mint: TicketMint
    ) throws(TPMRC) {
        guard !isTrial else { throw .attributes.handle(1) }
        guard
            let claim = AuthorizationTicket(
                timeoutBuffer: timeout, epoch: moment.time.epoch, entityName: entityName, terms)
        else { throw .size.parameter(1) }
        // A timeout of 0 is none.
        let limit = claim.timeout == 0 ? nil : claim.timeout
        try check(terms, limit, moment, numbers: (cpHash: 2, expiration: 1))
        let genuine = mint.authorized(given.tag, hierarchy, claim)
        guard constantTimeEqual(genuine.digest, given.digest) else { throw .ticket.parameter(5) }
        agree(given.tag == StructureTag.authSigned ? .policySigned : .policySecret, entityName, terms, limit)
    }

    /// TPM2_PolicyAuthorize (23.16): the policy so far is one that the key's holder approved, and counts as the key.
    mutating func policyAuthorize(
        _ approvedPolicy: [UInt8], _ policyRef: [UInt8], _ keyName: [UInt8], _ given: Ticket, _ hierarchy: TicketHierarchy,
        _ mint: TicketMint
    ) throws(TPMRC) {
        guard let nameHash = HashAlgorithm(ofName: keyName) else { throw .hash.parameter(3) }
        guard keyName.count == 2 + nameHash.digestSize else { throw .size.parameter(3) }
        if !isTrial {
            guard approvedPolicy == policyDigest else { throw .value.parameter(1) }
            let genuine = mint.verified(hierarchy, digest: digest(nameHash, approvedPolicy, policyRef), keyName: keyName)
            guard constantTimeEqual(genuine.digest, given.digest) else { throw .value.parameter(4) }
        }
        clearDigest()
        policyUpdate(.policyAuthorize, keyName, policyRef)
    }

    /// policyUpdate (23.2.3): H(H(policyDigest || TPM_CC || Name) || policyRef)
    private mutating func policyUpdate(_ command: TPMCommandCode, _ name: [UInt8], _ policyRef: [UInt8]) {
        extend(command, name)
        policyDigest = digest(hash, policyDigest, policyRef)
    }

    /// The entity agreed: the digest says who, the session remembers for what and how long.
    private mutating func agree(_ command: TPMCommandCode, _ name: [UInt8], _ terms: AuthorizationTerms, _ limit: UInt64?) {
        policyUpdate(command, name, terms.policyRef)
        if !terms.cpHash.isEmpty { binding = Binding(kind: .cpHash, digest: terms.cpHash) }
        if let limit { timeout = min(limit, timeout ?? limit) }
    }

    /// When the authorization ends (23.2.2): seconds from the session's start if it names the session's nonce, else seconds
    /// of the guest's time. The sign of expiration only asks for a ticket. nil: never, and in a trial session.
    private func timeLimit(_ terms: AuthorizationTerms, _ now: GuestTime) -> UInt64? {
        guard !isTrial, terms.expiration != 0 else { return nil }
        // 2^31 seconds are not a number of them that a ticket could say: the longest is one less.
        let seconds = UInt64(min(terms.expiration.magnitude, UInt32(Int32.max)))
        // Rounded up to the fraction of a second that it is now, so as not to end too early.
        let base = terms.nonceTPM.isEmpty ? now.milliseconds % 1000 : startTime.milliseconds
        let (limit, overflow) = base.addingReportingOverflow(seconds * 1000)
        return overflow ? UInt64.max : limit
    }

    /// 23.2.2. nonceTPM is parameter 1 of the commands that have one.
    private func check(
        _ terms: AuthorizationTerms, _ limit: UInt64?, _ moment: Moment, numbers: (cpHash: Int, expiration: Int)
    ) throws(TPMRC) {
        guard terms.nonceTPM.isEmpty || constantTimeEqual(terms.nonceTPM, moment.nonceTPM) else { throw .nonce.parameter(1) }
        guard !hasPassed(limit, at: moment.time) else { throw .expired.parameter(numbers.expiration) }
        guard !terms.cpHash.isEmpty else { return }
        guard terms.cpHash.count == hash.digestSize else { throw .size.parameter(numbers.cpHash) }
        guard binding == nil || binding?.digest == terms.cpHash else { throw .cpHash }
    }

    private func ticket(
        _ tag: UInt16, _ hierarchy: TicketHierarchy, _ entityName: [UInt8], _ terms: AuthorizationTerms, _ limit: UInt64?,
        _ moment: Moment, _ mint: TicketMint
    ) -> GivenTicket? {
        guard let limit, terms.expiration < 0 else { return nil }
        let authorization = AuthorizationTicket(
            timeout: limit, expiresOnReset: terms.nonceTPM.isEmpty, epoch: moment.time.epoch, entityName: entityName, terms)
        return GivenTicket(timeout: authorization.timeoutBuffer, ticket: mint.authorized(tag, hierarchy, authorization))
    }
}

extension AuthorizationTerms {
    /// aHash (23.3): what PolicySigned's key signs.
    package func digest(_ hash: HashAlgorithm) -> [UInt8] {
        TPMCrypto.digest(hash, nonceTPM, UInt32(bitPattern: expiration).wire, cpHash, policyRef)
    }
}

extension HashAlgorithm {
    /// nameAlg, with which a Name begins
    fileprivate init?(ofName name: [UInt8]) {
        guard name.count >= 2 else { return nil }
        self.init(rawValue: UInt16(name[0]) << 8 | UInt16(name[1]))
    }
}

extension PublicArea {
    /// Whether the evidence shows a genuine signature of this key.
    /// - Parameter digest: what should be signed, by the signature's hash.
    /// - Throws: TPM_RC_SIGNATURE or TPM_RC_SCHEME; for an HMAC key what the proxy says.
    package func check(_ evidence: SignatureEvidence, digest: (HashAlgorithm) -> [UInt8]) throws(TPMRC) {
        switch evidence {
        case .signature(let signature):
            guard let hash = signature.hash else { throw .scheme }
            guard try verifies(signature, digest(hash)) else { throw .signature }
        case .verdict(let code):
            // Only an HMAC key's signatures are the proxy's to judge.
            guard type == .keyedHash else { throw .failure }
            if let code { throw code }
        }
    }
}
