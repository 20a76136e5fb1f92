// Part 3, 20: signing and signature verification.
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_VerifySignature (20.1)
    func verifySignature(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let digest = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let signature = try call.parameters.next(Signature.self)
        guard signature != .null else { throw TPMRC.scheme.parameter(2) }
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .attributes)
        guard key.attributes.contains(.sign) else { throw TPMRC.attributes.handle(1) }
        let validation: Ticket
        do throws(TPMRC) { validation = try verified(signature, digest, key) } catch { throw error.parameter(2) }
        return Reply { $0.value(validation) }
    }

    /// The signature's ticket. The checker makes those that say something, because policies rest on them.
    private func verified(_ signature: Signature, _ digest: [UInt8], _ key: LoadedObject) throws(TPMRC) -> Ticket {
        let evidence = evidence(of: signature, by: key) { _ in digest }
        guard key.hierarchy != .null, !key.name.isEmpty else {
            try key.publicArea.check(evidence) { _ in digest }
            return .null(StructureTag.verified)
        }
        return try policy.verify(
            PolicyCalls.Verify.Request(
                key: key.publicArea, digest: digest, evidence: evidence, hierarchy: ticketHierarchy(key.hierarchy)))
    }

    /// TPM2_Sign (20.2)
    func sign(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let digest = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let inScheme = try call.parameters.read { (reader) throws(WireError) in try Scheme.signing(&reader) }
        let validation = try call.parameters.ticket(StructureTag.hashCheck)
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .key)
        guard key.isSigningKey else { throw TPMRC.key.handle(1) }
        guard !key.attributes.contains(.x509sign) else { throw TPMRC.attributes.handle(1) }
        let scheme: Scheme
        do throws(TPMRC) { scheme = try key.publicArea.signingScheme(inScheme) } catch { throw error.parameter(2) }
        guard let hash = scheme.hash else { throw TPMRC.scheme.parameter(2) }
        if key.attributes.contains(.restricted) || !validation.digest.isEmpty {
            // A gated key's keeper checks the ticket itself.
            if key.gatedSigner == nil { try checkHash(validation, hash, digest) }
        } else {
            guard digest.count == hash.digestSize else { throw TPMRC.size.parameter(1) }
        }
        let signature: Signature
        do throws(TPMRC) {
            let proofDigest = ticketHierarchy(validation.hierarchy).proofDigest
            signature = try self.signature(by: key, of: digest, scheme: scheme, for: .digest(proofDigest: proofDigest))
        } catch {
            throw error == .ticket ? error.parameter(3) : error
        }
        return Reply { $0.value(signature) }
    }
}

extension LoadedObject {
    /// Whether the signature is this HMAC key's over the digest.
    /// - Throws: TPM_RC_SCHEME for a signature of another type of key; TPM_RC_HANDLE if the key's private part is not here.
    func verifiesHMAC(_ signature: Signature, _ digest: [UInt8]) throws(TPMRC) -> Bool {
        guard !isPublicOnly else { throw .handle }
        guard case .keyedHash(let scheme) = publicArea.parameters, case .hmac(let hash, let mac) = signature else { throw .scheme }
        guard scheme.isNull || scheme.algorithm == .hmac && scheme.hash == hash else { return false }
        if let gatedTwin { return try gatedTwin.verify(digest, TaggedDigest(hash, mac)) }
        return constantTimeEqual(try hmac(hash, digest), mac)
    }
}
