// A host's evidence: which chip, which keys, and what makes a verifier refuse them.
import CryptoBase
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import Attestation
@testable import AttestationFormats

@Suite struct HostEvidenceTests {
    private func broken(_ evidence: HostEvidence, trust: EndorsementTrust = .given) -> Link.Name? {
        do throws(BrokenLink) {
            _ = try VerifiedHost(evidence, trust: trust, time: SoftwareHost.now)
            return nil
        } catch { return error.name }
    }

    @Test func theEndorsementKeyIsThePinnedOneOrNone() throws {
        let evidence = try SoftwareHost().evidence()
        #expect(broken(evidence, trust: .pinned(evidence.endorsementKeyName.uppercased())) == nil)
        #expect(broken(evidence, trust: .pinned(String(repeating: "0", count: 68))) == .endorsementKey)
        #expect(broken(evidence, trust: .roots([])) == .endorsementKey)
    }

    @Test func theEndorsementKeysCertificateLeadsToARoot() throws {
        let maker = SoftwareHost()
        let root = maker.sign(maker.authority.hostCertificate(serial: [1], from: SoftwareHost.now - 1000))
        var host = SoftwareHost()
        host.endorsementCertificate = maker.sign(try #require(maker.authority.guestCertificate(
            .endorsementKey, of: host.endorsement.area, guest: [], name: "chip", serial: [2], from: SoftwareHost.now - 1000)))
        let evidence = try host.evidence()
        #expect(broken(evidence, trust: .roots([root])) == nil)
        #expect(broken(evidence, trust: .pinned(evidence.endorsementKeyName)) == nil)
        let other = SoftwareHost()
        let otherRoot = other.sign(other.authority.hostCertificate(serial: [1], from: 0))
        #expect(broken(evidence, trust: .roots([otherRoot])) == .endorsementKey)
        // A certificate that is no authority's certifies nobody.
        #expect(broken(evidence, trust: .roots([host.endorsementCertificate])) == .endorsementKey)
        #expect(throws: BrokenLink.self) { try VerifiedHost(evidence, trust: .roots([root]), time: SoftwareHost.now - 2000) }
    }

    @Test func aCertificateOfAnotherKeyIsRefused() throws {
        let maker = SoftwareHost()
        var host = SoftwareHost()
        host.endorsementCertificate = maker.sign(try #require(maker.authority.guestCertificate(
            .endorsementKey, of: SoftwareKey.endorsement().area, guest: [], name: "chip", serial: [2], from: 0)))
        #expect(broken(try host.evidence()) == .endorsementKey)
    }

    @Test func keysThatAreNotWhatTheyShouldBeAreRefused() throws {
        var host = SoftwareHost()
        host.attestation = SoftwareKey([.sign], scheme: Scheme(.ecdsa, .sha256))
        #expect(broken(try host.evidence()) == .attestationKey)
        host = SoftwareHost()
        #expect(broken(try host.evidence { $0.endorsementKey = SoftwareKey.certificate().area.wire }) == .endorsementKey)
        #expect(broken(try host.evidence { $0.certificateKey = SoftwareKey.attestation().area.wire }) == .certificateKey)
    }

    @Test func theCredentialBindsTheTwoKeys() throws {
        let host = SoftwareHost()
        let other = try Credential(for: host.endorsement.area, keyName: SoftwareKey.attestation().area.name)
        let evidence = try host.evidence { $0.activation = .init(seed: other.seed, credential: other.secret, blob: other.blob) }
        #expect(broken(evidence) == .attestationKey)
    }

    @Test func theHostsCertificateIsOfItsCertificateKey() throws {
        let (host, other) = (SoftwareHost(), SoftwareHost())
        let foreign = other.sign(other.authority.hostCertificate(serial: [1], from: 0))
        #expect(broken(try host.evidence { $0.hostCertificate = foreign }) == .certificateKey)
    }

    @Test func onlyTheChipCanAnswerAChallenge() throws {
        let host = SoftwareHost()
        let (challenge, answer) = try HostChallenge.make(for: try host.evidence())
        let received = try HostChallenge(challenge.bytes)
        // TPM2_ActivateCredential's calculation (Part 3, 12.5)
        let point = try ECCPoint(wire: received.encryptedSecret)
        let own = host.endorsement.pair.publicPoint
        let seed = kdfe(.sha256, z: host.endorsement.pair.agree(point)!.x, label: "IDENTITY", partyU: point.x, partyV: own.x, bits: 256)
        let wrapper = try #require(OuterWrapper(protector: host.endorsement.area, seed: seed, name: host.attestation.area.name))
        #expect(try wrapper.open(received.blob) == [0, 32] + answer)
        let wrong = try #require(OuterWrapper(protector: host.endorsement.area, seed: seed, name: host.certificate.area.name))
        #expect(throws: TPMRC.integrity) { try wrong.open(received.blob) }
    }
}
