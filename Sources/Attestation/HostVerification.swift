// Whether a host's evidence holds: from the chip's endorsement key to the key that signs certificates.
import AttestationFormats
import CryptoBase
import TPMCrypto
import TPMWire
import Wire

/// Why a verifier believes that an endorsement key is a chip's.
public enum EndorsementTrust: Sendable {
    /// Its certificate leads to one of these roots; among them may be certificates in between. DER each.
    case roots([[UInt8]])
    /// Its Name, in hexadecimal, is known from somewhere else.
    case pinned(String)
    /// The evidence itself came from a place that is trusted.
    case given
}

/// A host's evidence that was found to hold.
public struct VerifiedHost: Sendable {
    /// What was found to hold.
    public let evidence: HostEvidence
    let attestationKey: PublicArea
    let certificateKey: PublicArea
    /// The host's own certificate, which the guests' certificates are signed with.
    let certificate: Certificate
    /// Qualified Name of the attestation key: its statements name their signer by it.
    let signerName: [UInt8]

    /// Checks every link from the endorsement key to the certificate key.
    /// - Parameters:
    ///   - time: seconds since 1970, for the certificates' validity.
    ///   - report: is told of every link that holds.
    /// - Throws: the first link that does not hold.
    public init(
        _ evidence: HostEvidence, trust: EndorsementTrust, time: Int64, report: (Link) -> Void = { _ in }
    ) throws(BrokenLink) {
        self.evidence = evidence
        let endorsementKey = try Self.checkEndorsement(evidence, trust, time: time, report)
        (attestationKey, certificateKey) = try Self.keys(evidence)
        try Self.checkActivation(evidence, endorsementKey, attestationKey)
        report(Link(.attestationKey, "is a restricted signing key of the chip (Name \(hexadecimal(attestationKey.name))), activated against its endorsement key"))
        signerName = try Self.checkCreation(evidence, attestationKey, certificateKey)
        certificate = try Self.hostCertificate(evidence, certificateKey)
        report(Link(.certificateKey, "was made in the same chip, says the attestation key, and signs as “\(certificate.subjectText)”"))
    }

    private static func checkEndorsement(
        _ evidence: HostEvidence, _ trust: EndorsementTrust, time: Int64, _ report: (Link) -> Void
    ) throws(BrokenLink) -> PublicArea {
        let key = try Link.Name.endorsementKey.check { () throws(FormatError) in
            try PublicArea("the endorsement key", evidence.endorsementKey)
        }
        guard key.attributes.contains([.restricted, .decrypt, .fixedTPM, .fixedParent]) else {
            throw BrokenLink(.endorsementKey, "is no restricted decryption key that is fixed to its TPM")
        }
        if !evidence.endorsementCertificate.isEmpty {
            let certificate = try Link.Name.endorsementKey.check { () throws(FormatError) in
                try Certificate(evidence.endorsementCertificate)
            }
            guard certificate.isOf(key) else { throw BrokenLink(.endorsementKey, "is not the key of its certificate") }
        }
        switch trust {
        case .roots(let roots):
            guard !evidence.endorsementCertificate.isEmpty else {
                throw BrokenLink(.endorsementKey, "has no certificate: pin its Name instead")
            }
            let root = try Link.Name.endorsementKey.check { () throws(FormatError) in
                try CertificateChain.verify(evidence.endorsementCertificate, roots: roots, time: time)
            }
            report(Link(.endorsementKey, "is certified by “\(root)”"))
        case .pinned(let name):
            guard evidence.endorsementKeyName == name.lowercased() else { throw BrokenLink(.endorsementKey, "is not the pinned one") }
            report(Link(.endorsementKey, "is the pinned one (Name \(evidence.endorsementKeyName))"))
        case .given: report(Link(.endorsementKey, "is taken from the evidence as it was given (Name \(evidence.endorsementKeyName))"))
        }
        return key
    }

    private static func keys(_ evidence: HostEvidence) throws(BrokenLink) -> (PublicArea, PublicArea) {
        let attestationKey = try Link.Name.attestationKey.check { () throws(FormatError) in
            try PublicArea("the attestation key", evidence.attestationKey)
        }
        guard attestationKey.isAttestationKey else {
            throw BrokenLink(.attestationKey, "is not restricted to signing what its TPM says")
        }
        let certificateKey = try Link.Name.certificateKey.check { () throws(FormatError) in
            try PublicArea("the certificate key", evidence.certificateKey)
        }
        guard certificateKey.attributes.contains([.sign, .fixedTPM, .fixedParent, .sensitiveDataOrigin]) else {
            throw BrokenLink(.certificateKey, "is no signing key that is fixed to its TPM")
        }
        return (attestationKey, certificateKey)
    }

    /// The credential binds the endorsement key's seed to the attestation key's Name.
    private static func checkActivation(
        _ evidence: HostEvidence, _ endorsementKey: PublicArea, _ attestationKey: PublicArea
    ) throws(BrokenLink) {
        let activation = evidence.activation
        guard let wrapper = OuterWrapper(protector: endorsementKey, seed: activation.seed, name: attestationKey.name),
            let content = try? wrapper.open(activation.blob), content == UInt16(activation.credential.count).wire + activation.credential
        else { throw BrokenLink(.attestationKey, "was not what the credential was activated for") }
    }

    /// The attestation key certifies the creation of the certificate key, and by its qualifying data all of the evidence.
    private static func checkCreation(
        _ evidence: HostEvidence, _ attestationKey: PublicArea, _ certificateKey: PublicArea
    ) throws(BrokenLink) -> [UInt8] {
        let (statement, signature, creation) = try Link.Name.certificateKey.check { () throws(FormatError) in
            (try AttestStatement(evidence.statement), try Signature("the evidence's signature", evidence.signature),
             try CreationData("the creation data", evidence.creationData))
        }
        guard attestationKey.signed(evidence.statement, signature) else {
            throw BrokenLink(.certificateKey, "is certified with a wrong signature")
        }
        guard statement.extraData == evidence.claim.qualifyingData else {
            throw BrokenLink(.certificateKey, "is certified for other evidence than this")
        }
        guard case .creation(let name, let hash) = statement.attested, name == certificateKey.name,
            let nameHash = certificateKey.nameAlgorithm, hash == digest(nameHash, evidence.creationData)
        else { throw BrokenLink(.certificateKey, "is not the key whose creation is certified") }
        // Both keys have one parent, so the signer's Qualified Name follows from the creation data.
        guard let signerHash = attestationKey.nameAlgorithm,
            case let own = qualifiedName(parent: creation.parentQualifiedName, name: attestationKey.name, signerHash),
            statement.qualifiedSigner == own
        else { throw BrokenLink(.certificateKey, "has another parent than the attestation key") }
        return own
    }

    private static func hostCertificate(_ evidence: HostEvidence, _ key: PublicArea) throws(BrokenLink) -> Certificate {
        let certificate = try Link.Name.certificateKey.check { () throws(FormatError) in try Certificate(evidence.hostCertificate) }
        guard certificate.isOf(key), certificate.isAuthority, certificate.isSigned(by: key) else {
            throw BrokenLink(.certificateKey, "did not sign the host's certificate")
        }
        return certificate
    }
}
