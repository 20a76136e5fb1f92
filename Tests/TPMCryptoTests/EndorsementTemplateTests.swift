// The TCG's templates of endorsement keys.
import TPMWire
import Testing
import Wire

@testable import TPMCrypto

@Suite struct EndorsementTemplateTests {
    /// TCG EK Credential Profile 2.5, B.6.2 and B.6.5
    @Test func thePoliciesAreTheProfiles() {
        #expect(EndorsementCertificate.policyA(.sha256) == hex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"))
        #expect(EndorsementCertificate.policyB(.sha256) == hex("ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"))
        #expect(EndorsementCertificate.policyB(.sha384) == hex(
            "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"))
        #expect(EndorsementCertificate.policyB(.sha512) == hex(
            "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a429c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea"))
    }

    /// B.3.3 (L-1) and B.4.5 (H-2)
    @Test func templatesAreTheseBytes() {
        #expect(EndorsementCertificate.rsa2048.template.wire == hex(
            "0001 000b 000300b2 0020 837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa 0006 0080 0043 0010 0800 00000000 0100")
            + [UInt8](repeating: 0, count: 256))
        #expect(EndorsementCertificate.highP256.template.wire == hex(
            "0023 000b 000300f2 0020 ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0 0006 0080 0043 0010 0003 0010 0000 0000"))
    }
}
