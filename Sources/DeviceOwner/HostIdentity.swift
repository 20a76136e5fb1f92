// The keys that speak for the host, and the evidence that they may.
import AttestationFormats
import ChipClient
import Glibc
import GuestIdentity
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// File: u8 version, u32 endorsement key's kind, the attestation key, the certificate key, sized16 evidence.
struct IdentityRecord: WireCodable {
    let endorsement: EndorsementCertificate
    let attestationKey: WrappedObject
    let certificateKey: WrappedObject
    let evidence: [UInt8]
    private static let version: UInt8 = 1
    static let largest = 8192 + HostEvidence.largest

    init(endorsement: EndorsementCertificate, attestationKey: WrappedObject, certificateKey: WrappedObject, evidence: [UInt8]) {
        self.endorsement = endorsement
        self.attestationKey = attestationKey
        self.certificateKey = certificateKey
        self.evidence = evidence
    }
    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        endorsement = try reader.value()
        attestationKey = try reader.value()
        certificateKey = try reader.value()
        evidence = try reader.sized16(max: HostEvidence.largest)
    }
    func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.value(endorsement)
        writer.value(attestationKey)
        writer.value(certificateKey)
        writer.sized16(evidence)
    }
}

final class HostIdentity {
    private let chip: Chip
    private let cache: ObjectCache
    private let instance: Instance
    private let root: HostRoot
    private var record: IdentityRecord?
    private(set) var evidenceID: [UInt8] = []
    /// The PCRs' values as the last quote had them, so that a quote need not read them again.
    private var lastRead: (selection: [PCRSelection], values: [UInt8]) = ([], [])
    /// The host's own objects in the cache are nobody's: no public key has the digest of nothing.
    private static let owner = GuestID(publicKey: [])
    private static let quoteTries = 3

    /// - Throws: what is wrong with the record, if there is one.
    init(_ chip: Chip, _ cache: ObjectCache, _ instance: Instance, _ root: HostRoot) throws(Failure) {
        self.chip = chip
        self.cache = cache
        self.instance = instance
        self.root = root
        guard let bytes = try Files.read(instance.identityRecord, max: IdentityRecord.largest) else { return }
        guard let record = try? IdentityRecord(wire: bytes), RootTemplate.attestationKey.isTemplate(of: record.attestationKey.area),
            RootTemplate.certificateKey.isTemplate(of: record.certificateKey.area)
        else { throw Failure(.dataError, "\(instance.identityRecord) is damaged; it was left alone") }
        use(record)
    }

    private func use(_ record: IdentityRecord) {
        self.record = record
        evidenceID = digest(.sha256, record.evidence)
    }

    var evidence: [UInt8]? { record?.evidence }
    var attestationKey: PublicArea? { record?.attestationKey.area }
    var certificateKey: PublicArea? { record?.certificateKey.area }

    // MARK: Making it

    /// - Parameter auth: the endorsement hierarchy's.
    func make(auth: Secret) throws(ChipError) {
        guard record == nil else { return }
        try cache.reserve(2)
        let attestationKey = try chip.createKey(RootTemplate.attestationKey, under: root.entity).object
        try cache.reserve(2)
        let certificateKey = try chip.createKey(RootTemplate.certificateKey, under: root.entity)
        let (kind, certificate) = try endorsementCertificate()
        let (endorsementKey, activation) = try activate(attestationKey, kind, auth: auth)
        let claim = HostEvidence.Claim(
            endorsementKey: endorsementKey.wire, endorsementCertificate: certificate, attestationKey: attestationKey.area.wire,
            certificateKey: certificateKey.object.area.wire, hostCertificate: try hostCertificate(certificateKey.object),
            creationData: certificateKey.creationData, activation: activation)
        let signer = try loaded(attestationKey)
        let (statement, signature) = try chip.certifyCreation(
            of: try loaded(certificateKey.object), certificateKey, with: signer, qualifyingData: claim.qualifyingData)
        let record = IdentityRecord(
            endorsement: kind, attestationKey: attestationKey, certificateKey: certificateKey.object,
            evidence: HostEvidence(claim, statement: statement, signature: signature.wire).bytes)
        do throws(Failure) {
            try Files.write(instance.identityRecord, record.wire, mode: 0o600, replacing: false)
        } catch { throw .refused(error.message) }
        use(record)
        log(.notice, .device, "made the host's attestation key and certificate key")
    }

    /// The certificate that the chip's maker put into it, and what kind of key it is for. Without one, a P-256 key is pinned.
    private func endorsementCertificate() throws(ChipError) -> (EndorsementCertificate, [UInt8]) {
        for kind in [EndorsementCertificate.eccP256, .rsa2048] {
            guard let contents = try chip.readNV(kind.index) else { continue }
            // Some chips keep more bytes than the certificate has.
            var reader = DER.Reader(contents[...])
            guard let certificate = reader.next(), certificate.tag == DER.sequence, certificate.whole.count <= 4096 else { continue }
            return (kind, Array(certificate.whole))
        }
        return (.eccP256, [])
    }

    /// Shows that the chip has both keys: it alone can tell what a credential for one, encrypted to the other, holds.
    private func activate(
        _ key: WrappedObject, _ kind: EndorsementCertificate, auth: Secret
    ) throws(ChipError) -> (PublicArea, HostEvidence.Activation) {
        try withEndorsementKey(key, kind, auth: auth) { (own, endorsementKey, area) throws(ChipError) in
            guard let credential = try? Credential(for: area, keyName: key.name) else { throw .garbage }
            let secret = try chip.activateCredential(credential.blob, credential.encryptedSecret, for: own, with: endorsementKey, auth: auth)
            guard constantTimeEqual(secret, credential.secret) else { throw .garbage }
            return (area, HostEvidence.Activation(seed: credential.seed, credential: credential.secret, blob: credential.blob))
        }
    }

    /// The attestation key in the chip, and the endorsement key beside it for as long as `body` takes.
    private func withEndorsementKey<R>(
        _ key: WrappedObject, _ kind: EndorsementCertificate, auth: Secret,
        _ body: (_ own: Entity, _ endorsementKey: Entity, _ area: PublicArea) throws(ChipError) -> R
    ) throws(ChipError) -> R {
        let own = try loaded(key)
        // What was used last stays.
        try cache.reserve(2)
        let (handle, area) = try chip.createEndorsementKey(kind, auth: auth)
        let result: R
        do throws(ChipError) { result = try body(own, Entity(handle, name: area.name), area) } catch {
            try chip.flushQuietly(handle)
            throw error
        }
        try chip.flushQuietly(handle)
        return result
    }

    private func hostCertificate(_ key: WrappedObject) throws(ChipError) -> [UInt8] {
        guard let authority = CertificateAuthority(key.area) else { throw .garbage }
        return try sign(authority.hostCertificate(serial: CertificateAuthority.newSerial(), from: now()), with: key)
    }

    // MARK: Using it

    private func loaded(_ object: WrappedObject) throws(ChipError) -> Entity {
        let handle = try cache.handle(object.key(Self.owner)) { () throws(ChipError) in
            // The object's slot, and one for the persistent parent while it is used.
            try cache.reserve(2)
            return try chip.load(object.area, object.wrapped, under: root.entity)
        }
        return Entity(handle, name: object.name)
    }

    private func existing() throws(ChipError) -> IdentityRecord {
        guard let record else { throw .refused("the host has no identity yet: paratpmctl host init makes it") }
        return record
    }

    /// A verifier's challenge.
    func answer(_ blob: [UInt8], _ encryptedSecret: [UInt8], auth: Secret) throws(ChipError) -> [UInt8] {
        let record = try existing()
        return try withEndorsementKey(record.attestationKey, record.endorsement, auth: auth) { (own, endorsementKey, _) throws(ChipError) in
            try chip.activateCredential(blob, encryptedSecret, for: own, with: endorsementKey, auth: auth)
        }
    }

    /// One signature of the chip. The PCRs are read only when the quote says that they are not what they were.
    func quote(_ request: HostCalls.Quote.Request) throws(ChipError) -> HostCalls.Quote.Reply {
        let record = try existing()
        let signer = try loaded(record.attestationKey)
        for _ in 0..<Self.quoteTries {
            let (statement, signature) = try chip.quote(
                request.selection, with: signer, qualifyingData: request.qualifyingData)
            guard let quoted = QuotedPCRs(statement), let hash = signature.hash else { throw .garbage }
            if lastRead.selection != quoted.selection || digest(hash, lastRead.values) != quoted.digest {
                lastRead = (quoted.selection, try chip.readPCRs(quoted.selection))
            }
            guard digest(hash, lastRead.values) == quoted.digest else { continue }
            return HostCalls.Quote.Reply(
                statement: statement, signature: signature, values: lastRead.values, attestationKey: record.attestationKey.area,
                evidenceID: evidenceID)
        }
        throw .rc(.retry)
    }

    /// Signs a certificate or a revocation list.
    func sign(_ make: (CertificateAuthority) -> Unsigned?) throws(ChipError) -> [UInt8] {
        let key = try existing().certificateKey
        guard let authority = CertificateAuthority(key.area), let unsigned = make(authority) else { throw .garbage }
        return try sign(unsigned, with: key)
    }

    private func sign(_ unsigned: Unsigned, with key: WrappedObject) throws(ChipError) -> [UInt8] {
        guard let signed = unsigned.signed(try chip.sign(unsigned.digest, Unsigned.scheme, with: try loaded(key))) else { throw .garbage }
        return signed
    }
}

/// Seconds since 1970
func now() -> Int64 { Int64(time(nil)) }
