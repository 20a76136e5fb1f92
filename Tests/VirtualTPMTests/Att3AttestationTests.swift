// Attestations: what is signed can be checked with the signer's public key.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

@Suite struct Att3AttestationTests {
    private func isSigned(_ guest: Guest, by key: TPMHandle, _ digest: [UInt8], _ signature: Signature) throws -> Bool {
        try guest.run(.verifySignature, [key]) {
            $0.sized16(digest)
            $0.value(signature)
        }.code == .success
    }

    @Test func aCertifiedNameIsSigned() throws {
        let guest = try Guest()
        let signer = try #require(try guest.createPrimary(Templates.eccAttest, in: .endorsement).handle)
        let certified = try guest.createPrimary()
        let key = try #require(certified.handle)
        var reader = try guest.succeed(.certify, [key, signer]) {
            $0.sized16([4, 2])
            Scheme.null.encode(to: &$0)
        }
        let attested = try reader.sized16()
        #expect(try isSigned(guest, by: signer, digest(.sha256, attested), try reader.value()))
        var body = WireReader(attested)
        _ = try body.bytes(6)
        _ = try body.sized16()
        #expect(try body.sized16() == [4, 2])
        _ = try body.bytes(17 + 8)
        #expect(try body.sized16() == certified.publicArea.name)
        #expect(try body.sized16().count == 34)
        #expect(body.isAtEnd)
    }

    @Test func creationIsCertifiedByItsTicketOnly() throws {
        let guest = try Guest()
        let created = try guest.createPrimary()
        let key = try #require(created.handle)
        for (hash, ok) in [(created.creationHash, true), ([UInt8](repeating: 0, count: 32), false)] {
            let response = try guest.run(.certifyCreation, [.null, key]) {
                $0.sized16([])
                $0.sized16(hash)
                Scheme.null.encode(to: &$0)
                $0.value(created.ticket)
            }
            #expect(response.code == (ok ? .success : TPMRC.ticket.parameter(4)))
        }
    }

    @Test(arguments: [false, true]) func aCertificateIsCompletedAndSigned(rsa: Bool) throws {
        let guest = try Guest()
        let signer = try #require(try guest.createPrimary(rsa ? Templates.rsaSign : Templates.eccSign).handle)
        let scheme = rsa ? Scheme(.rsapss, .sha256) : Scheme(.ecdsa, .sha384)
        let name = DER.element(DER.sequence)
        let extensions = DER.element(
            DER.context(3),
            DER.element(
                DER.sequence,
                DER.element(
                    DER.sequence, DER.identifier([0x55, 0x1D, 0x0F]),
                    DER.element(DER.octetString, DER.element(DER.bitString, [7, 0x80])))))
        let partial = DER.element(DER.sequence, name, name, name, extensions)
        func certify(_ partial: [UInt8], _ key: TPMHandle) throws -> ResponseMessage {
            try guest.run(.certifyX509, [key, signer]) {
                $0.sized16([])
                scheme.encode(to: &$0)
                $0.sized16(partial)
            }
        }
        let response = try certify(partial, signer)
        try #require(response.code == .success)
        var reader = WireReader(response.parameters)
        let added = try reader.sized16()
        let tbsDigest = try reader.sized16()
        #expect(try isSigned(guest, by: signer, tbsDigest, try reader.value()))

        // Version, serial number, algorithm, key: with the caller's fields between the last two.
        var parts: [[UInt8]] = []
        var outer = DER.Reader(added[...])
        let sequence = outer.next()
        var inner = DER.Reader(try #require(sequence).contents)
        while let part = inner.next() { parts.append(Array(part.whole)) }
        try #require(parts.count == 4)
        let certificate = DER.element(DER.sequence, parts[0], parts[1], parts[2], name, name, name, parts[3], extensions)
        #expect(digest(scheme.hash ?? .sha256, certificate) == tbsDigest)

        let storage = try #require(try guest.createPrimary().handle)
        #expect(try certify(partial, storage).code == TPMRC.value.parameter(3), "that key does not sign")
        for length in 0..<partial.count { #expect(try certify(Array(partial[..<length]), signer).code != .success) }
        #expect(try certify(DER.element(DER.sequence, name, name, extensions), signer).code == TPMRC.value.parameter(3))
        #expect(try certify(DER.element(DER.sequence, name, name, name), signer).code == TPMRC.value.parameter(3))
    }

    @Test func aKeyAgreementOfTwoPhases() throws {
        let guest = try Guest()
        let key = try #require(try guest.createPrimary(Templates.eccAgree).handle)
        var reader = try guest.succeed(.ecEphemeral) { $0.value(ECCCurve.p256) }
        let own = try reader.value(Sized<ECCPoint>.self).value
        let counter = try reader.u16()
        let (other, ephemeral) = (ECCKeyPair.generate(.p256), ECCKeyPair.generate(.p256))
        func exchange() throws -> ResponseMessage {
            try guest.run(.zGen2Phase, [key]) {
                $0.sized16(other.publicPoint)
                $0.sized16(ephemeral.publicPoint)
                $0.value(TPMAlgorithm.ecdh)
                $0.u16(counter)
            }
        }
        let response = try exchange()
        var points = WireReader(response.parameters)
        var area = try guest.succeed(.readPublic, [key])
        guard case .ecc(let keyPoint) = try area.value(Sized<PublicArea>.self).value.unique else { throw TPMRC.key }
        #expect(try points.value(Sized<ECCPoint>.self).value == other.agree(keyPoint))
        #expect(try points.value(Sized<ECCPoint>.self).value == ephemeral.agree(own))
        #expect(try exchange().code == TPMRC.value.parameter(4), "a counter is good once")
    }
}
