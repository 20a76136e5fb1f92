// Part 3, 18 and 31.16: attestation commands.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// Who signs an attestation, and how.
private struct Signer {
    /// nil for TPM_RH_NULL: the signature is null.
    let key: LoadedObject?
    let scheme: Scheme

    /// qualifiedSigner: nobody, where the signature is anonymous (Part 2, 10.12.8).
    var name: [UInt8] { key?.publicArea.isAnonymous == true ? [] : key?.qualifiedName ?? TPMHandle.null.wire }
}

extension VirtualTPM {
    /// TPM2_Certify (18.2)
    func certify(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.qualifyingData()
        let inScheme = try call.parameters.signatureScheme()
        try call.parameters.finish()

        let signer = try signer(call.handles[1], number: 2, inScheme, parameter: 2)
        // A sequence has neither Name nor Qualified Name.
        let certified = try? object(call.handles[0])
        let attested = Attestation.Attested.certify(
            name: certified?.name ?? [], qualifiedName: certified?.qualifiedName ?? [])
        return try attest(attested, qualifyingData, signer, of: certified)
    }

    /// TPM2_CertifyCreation (18.3)
    func certifyCreation(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.qualifyingData()
        let creationHash = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let inScheme = try call.parameters.signatureScheme()
        let given = try call.parameters.ticket(StructureTag.creation)
        try call.parameters.finish()

        let signer = try signer(call.handles[0], number: 1, inScheme, parameter: 3)
        let objectName = name(of: call.handles[1])
        let genuine = creationTicket(given.hierarchy, name: objectName, creationHash: creationHash)
        guard constantTimeEqual(genuine.digest, given.digest) else { throw TPMRC.ticket.parameter(4) }
        return try attest(
            .creation(objectName: objectName, creationHash: creationHash), qualifyingData, signer, of: try? object(call.handles[1]))
    }

    /// TPM2_Quote (18.4)
    func quote(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.qualifyingData()
        let inScheme = try call.parameters.signatureScheme()
        let selection = try call.parameters.list(PCRSelection.self, max: PCRSelection.listMax)
        try call.parameters.finish()

        let signer = try signer(call.handles[0], number: 1, inScheme, parameter: 2)
        // The scheme's hash digests the PCRs too: nobody can sign a quote without one.
        guard let hash = signer.scheme.hash else { throw TPMRC.scheme.parameter(2) }
        let digest = try pcrDigest(selection, hash: hash)
        return try attest(.quote(selection: volatile.banks.present(selection), digest: digest), qualifyingData, signer)
    }

    /// TPM2_GetSessionAuditDigest (18.5)
    func getSessionAuditDigest(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.qualifyingData()
        let inScheme = try call.parameters.signatureScheme()
        try call.parameters.finish()

        let signer = try signer(call.handles[1], number: 2, inScheme, parameter: 2)
        let session = call.handles[2]
        guard let digest = volatile.sessions[session]?.auditDigest else { throw TPMRC.type.handle(3) }
        let exclusive = volatile.exclusiveAuditSession == session
        return try attest(.sessionAudit(exclusive: exclusive, digest: digest), qualifyingData, signer)
    }

    /// TPM2_GetCommandAuditDigest (18.6): reading it with a signature begins a new digest.
    func getCommandAuditDigest(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.qualifyingData()
        let inScheme = try call.parameters.signatureScheme()
        try call.parameters.finish()

        let signer = try signer(call.handles[1], number: 2, inScheme, parameter: 2)
        let audit = durable.audit
        let attested = Attestation.Attested.commandAudit(
            counter: audit.counter, algorithm: audit.hash, auditDigest: volatile.commandAuditDigest,
            commandDigest: audit.commandDigest)
        let reply = try attest(attested, qualifyingData, signer)
        if signer.key != nil { volatile.commandAuditDigest = [] }
        return reply
    }

    /// TPM2_GetTime (18.7): time, clock and firmware version twice, obfuscated where others must not know them, and inside in plain.
    func getTime(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.qualifyingData()
        let inScheme = try call.parameters.signatureScheme()
        try call.parameters.finish()

        let signer = try signer(call.handles[1], number: 2, inScheme, parameter: 2)
        let attested = Attestation.Attested.time(
            time: time, clockInfo: clockInfo, firmwareVersion: Identification.firmwareVersion)
        return try attest(attested, qualifyingData, signer)
    }

    /// TPM2_NV_Certify (31.16): a part of the index's data, or for size 0 at offset 0 the digest of all of it.
    func nvCertify(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.qualifyingData()
        let inScheme = try call.parameters.signatureScheme()
        let size = try call.parameters.next(UInt16.self)
        let offset = try call.parameters.next(UInt16.self)
        try call.parameters.finish()

        let signer = try signer(call.handles[0], number: 1, inScheme, parameter: 2)
        let index = try nvIndex(call.handles[2])
        try nvReadChecks(authHandle: call.handles[1], index: index)
        let range = Int(offset)..<Int(offset) + Int(size)
        guard range.upperBound <= index.data.count else { throw .nvRange }
        guard Int(size) <= Limits.nvBuffer else { throw TPMRC.value.parameter(3) }
        let name = index.publicArea.name
        let attested: Attestation.Attested = size == 0 && offset == 0
            ? .nvDigest(indexName: name, digest: signer.scheme.hash.map { digest($0, index.data) } ?? [])
            : .nv(indexName: name, offset: offset, contents: Array(index.data[range]))
        return try attest(attested, qualifyingData, signer)
    }

    /// The signing key of an attestation command, and the scheme it will use.
    /// - Parameters:
    ///   - number: of the handle.
    ///   - parameter: inScheme's number.
    private func signer(
        _ handle: TPMHandle, number: Int, _ given: Scheme, parameter: Int
    ) throws(TPMRC) -> Signer {
        guard handle != .null else { return Signer(key: nil, scheme: .null) }
        let key = try object(handle, number: number, orSequence: .key)
        guard key.isSigningKey else { throw TPMRC.key.handle(number) }
        do throws(TPMRC) { return Signer(key: key, scheme: try key.publicArea.signingScheme(given)) } catch {
            throw error.parameter(parameter)
        }
    }

    /// Composes a TPMS_ATTEST (Part 2, 10.12.8) and signs it: TPM2B_ATTEST and TPMT_SIGNATURE. Where the key is gated, the policy checker
    /// composes it. A signed clock undoes a shutdown, so that nobody sees the clock that it kept again.
    /// - Parameter object: the one that it is about.
    private func attest(
        _ attested: Attestation.Attested, _ qualifyingData: [UInt8], _ signer: Signer, of object: LoadedObject? = nil
    ) throws(TPMRC) -> Reply {
        var attestation = Attestation(
            qualifiedSigner: signer.name, extraData: qualifyingData, clockInfo: clockInfo,
            firmwareVersion: Identification.firmwareVersion, attested: attested)
        if signer.key?.hierarchy != .endorsement && signer.key?.hierarchy != .platform { obfuscate(&attestation) }
        if let gated = signer.key?.gatedSigner {
            let reply = try gated.use(Statement(attestation, of: object))
            if signer.scheme.algorithm == .ecdaa { volatile.commitments.end(signer.scheme.count) }
            undoShutdown()
            return Reply { $0.raw(reply) }
        }
        let wire = attestation.wire
        var signature = Signature.null
        if let key = signer.key, let hash = signer.scheme.hash {
            signature = try self.signature(by: key, of: digest(hash, wire), scheme: signer.scheme)
            undoShutdown()
        }
        return Reply {
            $0.sized16(wire)
            $0.value(signature)
        }
    }

    /// Keeps what would identify the TPM from signers outside the endorsement and platform hierarchies (Part 1, 36.7).
    private func obfuscate(_ attestation: inout Attestation) {
        let mask = kdfa(
            Self.contextHash, key: proof(of: .owner).bytes, label: "OBFUSCATE", contextU: attestation.qualifiedSigner, bits: 128)
        var reader = WireReader(mask)
        guard let firmware = try? reader.u64(), let resets = try? reader.u32(), let restarts = try? reader.u32() else { return }
        attestation.firmwareVersion &+= firmware
        attestation.clockInfo.resetCount &+= resets
        attestation.clockInfo.restartCount &+= restarts
    }
}

extension Statement {
    /// What of an attestation the proxy contributes.
    fileprivate init(_ attestation: Attestation, of object: LoadedObject?) {
        let circumstances = Circumstances(
            qualifiedSigner: attestation.qualifiedSigner, clockInfo: attestation.clockInfo, firmwareVersion: attestation.firmwareVersion)
        let named = object?.named ?? NamedObject(area: nil, mark: [])
        let content: Content = switch attestation.attested {
        case .quote(let selection, _): .quote(selection)
        case .certify(_, let qualifiedName): .certify(named, qualifiedName: qualifiedName)
        case .creation(_, let creationHash): .creation(named, creationHash: creationHash)
        default: .own(tag: attestation.attested.tag, body: attestation.attested.body)
        }
        self = .attestation(circumstances, content)
    }
}

extension LoadedObject {
    /// A key that may sign: asymmetric or keyed hash. The sign attribute of a symmetric cipher key means encryption.
    var isSigningKey: Bool { attributes.contains(.sign) && publicArea.type != .symcipher }
}

extension ParameterReader {
    /// TPM2B_DATA (Part 2, 10.4.3)
    mutating func qualifyingData() throws(TPMRC) -> [UInt8] { try bytes(max: CreationRequest.outsideInfoMax) }

    /// TPMT_SIG_SCHEME+
    mutating func signatureScheme() throws(TPMRC) -> Scheme {
        try read { (reader) throws(WireError) in try Scheme.signing(&reader) }
    }
}
