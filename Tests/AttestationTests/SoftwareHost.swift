// A host whose chip is software: the keys and statements of which evidence and bundles are made.
import CryptoBase
import TPMCrypto
import TPMWire
import Wire

@testable import Attestation
@testable import AttestationFormats

/// An elliptic-curve key that signs as a chip's would.
struct SoftwareKey {
    let pair: ECCKeyPair
    let area: PublicArea

    init(_ attributes: ObjectAttributes, symmetric: SymmetricDefinition = .null, scheme: Scheme = .null) {
        pair = ECCKeyPair.generate(.p256)
        area = PublicArea(
            nameAlgorithm: .sha256, attributes: attributes.union([.fixedTPM, .fixedParent, .sensitiveDataOrigin]),
            parameters: .ecc(symmetric: symmetric, scheme: scheme, curve: .p256, kdf: .null), unique: .ecc(pair.publicPoint))
    }

    func sign(_ bytes: [UInt8]) -> Signature {
        let (r, s) = pair.signECDSA(digest: digest(.sha256, bytes))
        return .ecc(.ecdsa, .sha256, r: r, s: s)
    }

    static func endorsement() -> SoftwareKey { SoftwareKey([.restricted, .decrypt], symmetric: .aes(keyBits: 128, mode: .cfb)) }
    static func attestation() -> SoftwareKey { SoftwareKey([.restricted, .sign], scheme: Scheme(.ecdsa, .sha256)) }
    static func certificate() -> SoftwareKey { SoftwareKey([.sign], scheme: Scheme(.ecdsa, .sha256)) }
}

struct SoftwareHost {
    var endorsement = SoftwareKey.endorsement()
    var attestation = SoftwareKey.attestation()
    var certificate = SoftwareKey.certificate()
    var endorsementCertificate: [UInt8] = []
    /// The seconds since 1970 of 2026-11-23, 00:00.
    static let now: Int64 = 1_795_392_000
    static let parentName = [UInt8](repeating: 7, count: 34)

    let pcrs: PCRValues = [PCRIndex(.sha256, 0): [UInt8](repeating: 1, count: 32), PCRIndex(.sha256, 7): [UInt8](repeating: 2, count: 32)]
    let selection = [PCRSelection(.sha256, pcrs: [0, 7])]
    var authority: CertificateAuthority { CertificateAuthority(certificate.area)! }

    func sign(_ unsigned: Unsigned) -> [UInt8] { unsigned.signed(certificate.sign(unsigned.bytes))! }

    /// - Parameter change: what a forger does before the attestation key signs.
    func evidence(_ change: (inout HostEvidence.Claim) throws -> Void = { _ in }) throws -> HostEvidence {
        let credential = try Credential(for: endorsement.area, keyName: attestation.area.name)
        let creation = CreationData(
            pcrSelect: [], pcrDigest: [], locality: LocalityAttributes(locality: 0), parentNameAlgorithm: .sha256,
            parentName: Self.parentName, parentQualifiedName: Self.parentName, outsideInfo: [])
        var claim = HostEvidence.Claim(
            endorsementKey: endorsement.area.wire, endorsementCertificate: endorsementCertificate, attestationKey: attestation.area.wire,
            certificateKey: certificate.area.wire,
            hostCertificate: sign(authority.hostCertificate(serial: CertificateAuthority.newSerial(), from: Self.now)), creationData: creation.wire,
            activation: .init(seed: credential.seed, credential: credential.secret, blob: credential.blob))
        try change(&claim)
        let statement = statement(
            claim.qualifyingData,
            .creation(objectName: try PublicArea(wire: claim.certificateKey).name, creationHash: digest(.sha256, claim.creationData)))
        return HostEvidence(claim, statement: statement, signature: attestation.sign(statement).wire)
    }

    func statement(_ extraData: [UInt8], _ attested: TPMWire.Attestation.Attested) -> [UInt8] {
        TPMWire.Attestation(
            qualifiedSigner: qualifiedName(parent: Self.parentName, name: attestation.area.name, .sha256), extraData: extraData,
            clockInfo: ClockInfo(clock: 5, resetCount: 1, restartCount: 0, safe: true), firmwareVersion: 9, attested: attested).wire
    }

    func bundle(
        _ evidence: HostEvidence, _ request: DeepQuoteRequest, guest: [UInt8], values: PCRValues, bootCount: UInt64 = 3
    ) -> DeepQuote {
        let guestValues = values.concatenated(request.selection)!
        let hostValues = pcrs.concatenated(selection)!
        let statement = statement(
            DeepQuote.qualifyingData(guest: guest, request: request, values: guestValues, bootCount: bootCount),
            .quote(selection: selection, digest: digest(.sha256, hostValues)))
        return DeepQuote(
            request: request, guest: guest, bootCount: bootCount, values: guestValues, hostValues: hostValues, statement: statement,
            signature: attestation.sign(statement).wire, attestationKey: attestation.area.wire, evidenceID: evidence.id)
    }
}
