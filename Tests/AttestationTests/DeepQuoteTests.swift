// Deep quotes: what holds, and that nothing forged does.
import CryptoBase
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import Attestation
@testable import AttestationFormats

@Suite struct DeepQuoteTests {
    let host = SoftwareHost()
    let evidence: HostEvidence
    let guest = [UInt8](repeating: 0x61, count: 32)
    let nonce = [UInt8](repeating: 0x6E, count: 20)
    let values: PCRValues = [
        PCRIndex(.sha256, 0): [UInt8](repeating: 3, count: 32), PCRIndex(.sha256, 16): [UInt8](repeating: 4, count: 32),
    ]
    let request: DeepQuoteRequest
    let bundle: [UInt8]
    let verifier: DeepQuoteVerifier

    init() throws {
        evidence = try host.evidence()
        request = try DeepQuoteRequest(nonce: nonce, pcrs: PCRChoice("sha256:0,16"))
        bundle = host.bundle(evidence, request, guest: guest, values: values).bytes
        verifier = DeepQuoteVerifier(nonce: nonce, time: SoftwareHost.now)
    }

    private func broken(_ verifier: DeepQuoteVerifier, _ bundle: [UInt8]) throws -> Link.Name? {
        let report = verifier.verify(bundle, evidence: evidence.bytes, trust: .given)
        #expect(report.holds == (report.broken == nil))
        return report.broken?.name
    }

    @Test func aGenuineBundleProvesEveryLink() throws {
        var verifier = verifier
        verifier.guest = guest
        verifier.hostPCRs = host.pcrs
        verifier.guestPCRs = values
        let report = verifier.verify(bundle, evidence: evidence.bytes, trust: .pinned(evidence.endorsementKeyName))
        #expect(report.broken == nil)
        #expect(report.proved.map(\.name) == [
            .endorsementKey, .attestationKey, .certificateKey, .bundle, .signature, .binding, .nonce, .guest, .hostPCRs, .guestPCRs,
        ])
        #expect(report.hostPCRs == host.pcrs && report.guestPCRs == values && report.guest == guest)
    }

    @Test func noBitOfABundleCanBeChanged() throws {
        let verified = try VerifiedHost(evidence, trust: .given, time: SoftwareHost.now)
        #expect(verifier.verify(bundle, of: verified).holds)
        for bit in 0..<bundle.count * 8 {
            var forged = bundle
            forged[bit / 8] ^= 1 << (bit % 8)
            #expect(!verifier.verify(forged, of: verified).holds, "bit \(bit)")
        }
    }

    /// Each field, and the links that may break over a bit of it.
    @Test func aForgeryIsNamed() throws {
        let quote = try DeepQuote(bundle)
        let fields: [(size: Int, links: Set<Link.Name>)] = [
            (6, [.bundle]),  // magic, version
            (DeepQuote.idSize, [.binding]),
            (2, [.bundle, .signature]), (quote.nonce.count, [.binding]),
            (8, [.binding]),  // boot count
            (4, [.bundle]), (3 + 3, [.bundle, .binding]),  // selection
            (2, [.bundle, .signature]), (quote.values.count, [.binding]),
            (2, [.bundle, .signature]), (quote.hostValues.count, [.hostPCRs]),
            (2, [.bundle, .signature]), (quote.statement.count, [.signature]),
            (2, [.bundle, .signature]), (quote.signature.count, [.signature]),
            (2, [.bundle]), (quote.attestationKey.count, [.bundle]),
            (32, [.bundle]),  // the host's evidence
        ]
        let verified = try VerifiedHost(evidence, trust: .given, time: SoftwareHost.now)
        var offset = 0
        for (number, field) in fields.enumerated() {
            for bit in offset * 8..<(offset + field.size) * 8 {
                var forged = bundle
                forged[bit / 8] ^= 1 << (bit % 8)
                let broken = try #require(verifier.verify(forged, of: verified).broken)
                #expect(field.links.contains(broken.name), "field \(number), bit \(bit): \(broken)")
            }
            offset += field.size
        }
        #expect(offset == bundle.count)
    }

    @Test func noBitOfTheEvidenceCanBeChanged() throws {
        for bit in 0..<evidence.bytes.count * 8 {
            var forged = evidence.bytes
            forged[bit / 8] ^= 1 << (bit % 8)
            let holds = (try? VerifiedHost(try HostEvidence(forged), trust: .given, time: SoftwareHost.now)) != nil
            #expect(!holds, "bit \(bit)")
        }
    }

    @Test func aBundleCutOffAnywhereOrWithMoreBehindIsRefused() throws {
        for count in 0..<bundle.count { #expect(throws: FormatError.self) { try DeepQuote(Array(bundle[..<count])) } }
        #expect(throws: FormatError.self) { try DeepQuote(bundle + [0]) }
        let bytes = evidence.bytes
        for count in 0..<bytes.count { #expect(throws: FormatError.self) { try HostEvidence(Array(bytes[..<count])) } }
    }

    @Test func aReplayedBundleIsRefusedForItsNonce() throws {
        let fresh = DeepQuoteVerifier(nonce: [9], time: SoftwareHost.now)
        #expect(try broken(fresh, bundle) == .nonce)
    }

    @Test func anotherGuestsBundleIsRefused() throws {
        var verifier = verifier
        verifier.guest = [UInt8](repeating: 0x62, count: 32)
        #expect(try broken(verifier, bundle) == .guest)
        // With the other guest's identity written into it, the quote is not for it.
        let genuine = try DeepQuote(bundle)
        let renamed = DeepQuote(
            request: request, guest: [UInt8](repeating: 0x62, count: 32), bootCount: genuine.bootCount, values: genuine.values,
            hostValues: genuine.hostValues, statement: genuine.statement, signature: genuine.signature,
            attestationKey: genuine.attestationKey, evidenceID: genuine.evidenceID)
        #expect(try broken(verifier, renamed.bytes) == .binding)
    }

    @Test func anotherHostsBundleIsRefused() throws {
        let other = SoftwareHost()
        let foreign = other.bundle(try other.evidence(), request, guest: guest, values: values)
        #expect(try broken(verifier, foreign.bytes) == .bundle)
        // A forger names our host's evidence and key, but signs with its own.
        let disguised = DeepQuote(
            request: request, guest: guest, bootCount: 3, values: foreign.values, hostValues: foreign.hostValues,
            statement: foreign.statement, signature: foreign.signature, attestationKey: host.attestation.area.wire, evidenceID: evidence.id)
        #expect(try broken(verifier, disguised.bytes) == .signature)
    }

    @Test func aStatementThatIsNoQuoteIsNone() throws {
        let statement = host.statement(
            DeepQuote.qualifyingData(guest: guest, request: request, values: values.concatenated(request.selection)!, bootCount: 3),
            .creation(objectName: host.certificate.area.name, creationHash: []))
        let forged = DeepQuote(
            request: request, guest: guest, bootCount: 3, values: values.concatenated(request.selection)!, hostValues: [],
            statement: statement, signature: host.attestation.sign(statement).wire, attestationKey: host.attestation.area.wire,
            evidenceID: evidence.id)
        #expect(try broken(verifier, forged.bytes) == .signature)
    }

    @Test func expectedValuesMustBeQuotedAndEqual() throws {
        var verifier = verifier
        verifier.hostPCRs = [PCRIndex(.sha256, 7): [UInt8](repeating: 0, count: 32)]
        #expect(try broken(verifier, bundle) == .hostPCRs)
        verifier.hostPCRs = [PCRIndex(.sha256, 1): [UInt8](repeating: 0, count: 32)]
        #expect(try broken(verifier, bundle) == .hostPCRs)
        verifier.hostPCRs = [:]
        verifier.guestPCRs = [PCRIndex(.sha256, 0): [UInt8](repeating: 4, count: 32)]
        #expect(try broken(verifier, bundle) == .guestPCRs)
    }

    @Test func theGuestsCertificateIsTheHostsForThisGuest() throws {
        func certificate(_ issuer: SoftwareHost, _ guest: [UInt8]) throws -> [UInt8] {
            issuer.sign(try #require(issuer.authority.guestCertificate(
                .endorsementKey, of: SoftwareKey.endorsement().area, guest: guest, name: "web", serial: CertificateAuthority.newSerial(),
                from: SoftwareHost.now)))
        }
        let genuine = try certificate(host, guest)
        let host = try VerifiedHost(evidence, trust: .given, time: SoftwareHost.now)
        var verifier = verifier
        func broken(_ certificate: [UInt8]) -> Link.Name? {
            verifier.certificate = certificate
            return verifier.verify(bundle, of: host).broken?.name
        }
        #expect(broken(genuine) == nil)
        #expect(try broken(certificate(self.host, [UInt8](repeating: 0x62, count: 32))) == .certificate)
        #expect(try broken(certificate(SoftwareHost(), guest)) == .certificate)
        for bit in 0..<genuine.count * 8 {
            var forged = genuine
            forged[bit / 8] ^= 1 << (bit % 8)
            #expect(broken(forged) == .certificate, "bit \(bit)")
        }
        // A certificate is not yet one before it was made.
        verifier.time = SoftwareHost.now - 1
        #expect(broken(genuine) == .certificate)
    }

    @Test func aRequestIsANonceAndASelection() throws {
        #expect(request.bytes == [0, 20] + nonce + [0, 0, 0, 1, 0, 0x0B, 3, 1, 0, 1])
        #expect(try DeepQuoteRequest(request.bytes).bytes == request.bytes)
        for count in 0..<request.bytes.count { #expect(throws: FormatError.self) { try DeepQuoteRequest(Array(request.bytes[..<count])) } }
        #expect(throws: FormatError.self) { try DeepQuoteRequest(nonce: [], pcrs: PCRChoice("sha256:0")) }
        #expect(throws: FormatError.self) { try DeepQuoteRequest(nonce: [1], selection: []) }
        let twice = PCRSelection(.sha256, pcrs: [0])
        #expect(throws: FormatError.self) { try DeepQuoteRequest(nonce: [1], selection: [twice, twice]) }
        // 24 vPCRs of SHA-512 are 1536 bytes.
        #expect(throws: FormatError.self) { try DeepQuoteRequest(nonce: [1], selection: [PCRSelection(.sha512, pcrs: 0..<24)]) }
    }

    @Test func valuesAreReadAsTpm2PcrreadPrintsThem() throws {
        let text = "  sha256:\n    0 : 0x\(String(repeating: "0A", count: 32))\n    16: 0x\(String(repeating: "ff", count: 32))\n"
        let values = try PCRValues(text: text)
        #expect(values == [
            PCRIndex(.sha256, 0): [UInt8](repeating: 10, count: 32), PCRIndex(.sha256, 16): [UInt8](repeating: 255, count: 32),
        ])
        #expect(try PCRValues(text: values.text) == values)
        for wrong in ["sha256:\n 24 : 0x00", "0 : 0x00", "sha256:\n 0 : 0x00", "sha3:\n", "sha256\n"] {
            #expect(throws: FormatError.self) { try PCRValues(text: wrong) }
        }
    }
}
