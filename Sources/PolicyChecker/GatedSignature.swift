// What gated keys sign. A restricted key signs digests of data that the checker saw, and attestations that the checker composed; a quote
// has no values but those of paratpm-pcr.
import CryptoBase
import EnhancedAuthorization
import IPC
import SystemMap
import TPMWire
import Wire

extension Gatekeeper {
    /// TPM2_Sign (Part 3, 20.2)
    func sign(
        _ statement: Statement?, _ parameters: inout WireReader, _ area: PublicArea, _ twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8] {
        guard case .digest(let proofDigest) = statement else { throw .malformed }
        let (digest, given, ticket) = try decoded { () throws(WireError) in
            (try parameters.sized16(max: HashAlgorithm.largestDigest), try Scheme.signing(&parameters), try parameters.value(Ticket.self))
        }
        // The key says what it attests by TPMS_ATTEST and CertifyX509 alone (Part 2, 8.3.3).
        guard !area.attributes.contains(.x509sign) else { throw CallStatus(.attributes) }
        let scheme = try checked { () throws(TPMRC) in try area.signingScheme(given) }
        guard let hash = scheme.hash else { throw CallStatus(.scheme) }
        if area.attributes.contains(.restricted) || !ticket.digest.isEmpty {
            let hierarchy = TicketHierarchy(ticket.hierarchy, proofDigest: proofDigest)
            guard isGenuine(ticket, hierarchy, hash, digest, twin.guest) else { throw CallStatus(.ticket) }
        } else {
            guard digest.count == hash.digestSize else { throw CallStatus(.size) }
        }
        return try signature(of: digest, hash, scheme, area, twin).wire
    }

    /// TPM2_CertifyX509 (Part 3, 18.8): a restricted key signs nothing that looks like an attestation.
    func signCertificate(
        _ statement: Statement?, _ parameters: inout WireReader, _ area: PublicArea, _ twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8] {
        guard case .certificate(let certificate) = statement, !Attestation.isImitated(by: certificate) else { throw .malformed }
        let (scheme, hash, _) = try attestationParameters(.certifyX509, &parameters, area)
        return try signature(of: digest(hash, certificate), hash, scheme, area, twin).wire
    }

    /// The attestation commands (Part 3, 18 and 31.16): TPM2B_ATTEST and TPMT_SIGNATURE.
    func attest(_ request: GateCalls.Use.Request, _ guest: GuestID, _ twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        guard case .attestation(let circumstances, let content) = request.statement else { throw .malformed }
        var parameters = WireReader(request.command.parameters)
        let (scheme, hash, qualifyingData) = try attestationParameters(request.command.code, &parameters, request.object.area)
        let (tag, body) = try self.body(content, request.command.code, &parameters, hash, guest)
        let attestation = Attestation.wire(
            tag: tag, qualifiedSigner: circumstances.qualifiedSigner, extraData: qualifyingData, clockInfo: circumstances.clockInfo,
            firmwareVersion: circumstances.firmwareVersion, body: body)
        var writer = WireWriter()
        writer.sized16(attestation)
        writer.value(try signature(of: digest(hash, attestation), hash, scheme, request.object.area, twin))
        return writer.bytes
    }

    /// qualifyingData and inScheme, with which these commands begin; CertifyCreation has the creation hash between them.
    private func attestationParameters(
        _ code: TPMCommandCode, _ parameters: inout WireReader, _ area: PublicArea
    ) throws(CallStatus) -> (scheme: Scheme, hash: HashAlgorithm, qualifyingData: [UInt8]) {
        let qualifyingData = try decoded { () throws(WireError) in try parameters.sized16(max: 2 + HashAlgorithm.largestDigest) }
        let given = try decoded { () throws(WireError) in
            if code == .certifyCreation { _ = try parameters.sized16(max: HashAlgorithm.largestDigest) }
            return try Scheme.signing(&parameters)
        }
        let scheme = try checked { () throws(TPMRC) in try area.signingScheme(given) }
        guard let hash = scheme.hash else { throw CallStatus(.scheme) }
        return (scheme, hash, qualifyingData)
    }

    private func body(
        _ content: Statement.Content, _ code: TPMCommandCode, _ parameters: inout WireReader, _ hash: HashAlgorithm, _ guest: GuestID
    ) throws(CallStatus) -> (tag: UInt16, body: [UInt8]) {
        let attested: Attestation.Attested
        switch (code, content) {
        case (.quote, .quote(let present)):
            let asked = try decoded { () throws(WireError) in try parameters.list(PCRSelection.self, max: PCRSelection.listMax) }
            guard Self.isPart(present, of: asked) else { throw .malformed }
            let values = try vpcrs.read(guest, present)
            attested = .quote(selection: present, digest: digest(hash, values.digests.flatMap { $0 }))
        case (.certify, .certify(let object, let qualifiedName)):
            attested = .certify(name: try vouchedName(object, guest), qualifiedName: qualifiedName)
        case (.certifyCreation, .creation(let object, let creationHash)):
            attested = .creation(objectName: try vouchedName(object, guest), creationHash: creationHash)
        case (_, .own(let tag, let body)):
            guard code.attestation?.contains(tag) == true, code != .quote, code != .certify, code != .certifyCreation else {
                throw .malformed
            }
            return (tag, body)
        default: throw .malformed
        }
        return (attested.tag, attested.body)
    }

    /// Which PCRs a guest's TPM has allocated, it says itself: a quote may have fewer than the command names, and says which.
    private static func isPart(_ present: [PCRSelection], of asked: [PCRSelection]) -> Bool {
        present.count == asked.count && zip(present, asked).allSatisfy {
            $0.hash == $1.hash && $0.pcrs.isSubset(of: $1.pcrs)
        }
    }

    /// The object's Name. That of a restricted signing key says that a TPM keeps the key to itself, if it is fixed to that; so it must
    /// be one that was made here.
    func vouchedName(_ object: NamedObject, _ guest: GuestID) throws(CallStatus) -> [UInt8] {
        guard let area = object.area else { return [] }
        let name = area.name
        guard !(area.isRestrictedSigningKey && area.attributes.contains(.fixedTPM))
            || constantTimeEqual(keys.mark(guest, name: name), object.mark)
        else { throw .notPermitted }
        return name
    }

    private func signature(
        of digest: [UInt8], _ hash: HashAlgorithm, _ scheme: Scheme, _ area: PublicArea, _ twin: OpenedTwin
    ) throws(CallStatus) -> Signature {
        switch twin.blob.spec.kind {
        case _ where area.isAnonymous: try anonymousSignature(of: digest, hash, scheme, area, twin)
        case .rsa, .ecc: try twins.sign(digest, scheme, with: twin)
        case .hmac, .sealed: .hmac(hash, try hmac(hash, digest, with: twin))
        }
    }
}

extension TPMCommandCode {
    /// What an attestation command's TPMS_ATTEST is tagged with.
    var attestation: [UInt16]? {
        switch self {
        case .quote: [StructureTag.attestQuote]
        case .certify: [StructureTag.attestCertify]
        case .certifyCreation: [StructureTag.attestCreation]
        case .getSessionAuditDigest: [StructureTag.attestSessionAudit]
        case .getCommandAuditDigest: [StructureTag.attestCommandAudit]
        case .getTime: [StructureTag.attestTime]
        case .nvCertify: [StructureTag.attestNV, StructureTag.attestNVDigest]
        default: nil
        }
    }
}
