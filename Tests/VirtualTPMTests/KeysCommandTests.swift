// Part 3, 14 to 20 as a guest sees them: what keys do.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

private let nullTicket = Ticket.null(StructureTag.hashCheck)
private let aDigest = [UInt8](repeating: 1, count: 32)

private func signParameters(
    _ scheme: Scheme, digest: [UInt8] = aDigest, ticket: Ticket = nullTicket
) -> (inout WireWriter) -> Void {
    { writer in
        writer.sized16(digest)
        scheme.encode(to: &writer)
        writer.value(ticket)
    }
}

@Suite("Sign and VerifySignature")
struct SigningTests {
    @Test("every scheme's signature verifies, with a ticket of the key's hierarchy")
    func signatures() throws {
        let guest = try Guest()
        let (ecc, rsa) = (try guest.child(Templates.eccSign), try guest.child(Templates.rsaSign))
        let hmacKey = try guest.child(Templates.hmac)
        let cases: [(TPMHandle, Scheme)] = [
            (ecc, Scheme(.ecdsa, .sha256)), (ecc, Scheme(.ecschnorr, .sha256)), (rsa, Scheme(.rsassa, .sha256)),
            (rsa, Scheme(.rsapss, .sha256)), (hmacKey, Scheme(.hmac, .sha256)), (hmacKey, .null),
        ]
        for (key, scheme) in cases {
            var reader = try guest.succeed(.sign, [key], signParameters(scheme))
            let signature = try reader.value(Signature.self)
            try reader.finish()
            var verified = try guest.succeed(.verifySignature, [key]) { $0.sized16(aDigest); $0.value(signature) }
            let ticket = try verified.value(Ticket.self)
            #expect(ticket.tag == StructureTag.verified)
            #expect(ticket.hierarchy == .owner)
            #expect(ticket.digest.count == 64)
            #expect(try guest.code(.verifySignature, [key]) { $0.sized16([2]); $0.value(signature) } == 0x2DB)
        }
    }

    @Test("the scheme is the key's, or the caller's where the key leaves it open")
    func schemes() throws {
        let guest = try Guest()
        let open = try guest.child(Templates.eccSign)
        #expect(try guest.code(.sign, [open], signParameters(.null)) == 0x2D2)
        #expect(try guest.code(.sign, [open], signParameters(Scheme(.rsassa, .sha256))) == 0x2D2)
        #expect(try guest.code(.sign, [open], signParameters(Scheme(.ecdsa, .sha256), digest: [1])) == 0x1D5)
        let mac = try guest.child(Templates.hmac)
        #expect(try guest.code(.sign, [mac], signParameters(Scheme(.hmac, .sha384))) == 0x2D2)
        let both = try guest.child(Templates.keyedHash(Templates.fixed.union([.sign, .decrypt])))
        #expect(try guest.code(.sign, [both], signParameters(Scheme(.rsassa, .sha256))) == 0x2D2)
        #expect(try guest.code(.sign, [both], signParameters(Scheme(.hmac, .sha256))) == 0)
        let cipher = try guest.child(Templates.aes)
        #expect(try guest.code(.sign, [cipher], signParameters(Scheme(.hmac, .sha256))) == 0x19C)
        let storage = try #require(try guest.createPrimary().handle)
        #expect(try guest.code(.sign, [storage], signParameters(Scheme(.ecdsa, .sha256))) == 0x19C)
    }

    @Test("a restricted key signs only what this TPM has digested and did not make itself")
    func restricted() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.eccAttest)
        #expect(try guest.code(.sign, [key], signParameters(.null)) == 0x3E0)
        func hash(_ data: [UInt8], _ hierarchy: TPMHandle = .owner) throws -> ([UInt8], Ticket) {
            var reader = try guest.succeed(.hash) {
                $0.sized16(data)
                $0.value(HashAlgorithm.sha256)
                $0.value(hierarchy)
            }
            return (try reader.sized16(), try reader.value())
        }
        let (digest, ticket) = try hash([1, 2, 3])
        #expect(digest == TPMCrypto.digest(.sha256, [1, 2, 3]))
        #expect(try guest.code(.sign, [key], signParameters(.null, digest: digest, ticket: ticket)) == 0)
        #expect(try guest.code(.sign, [key], signParameters(.null, digest: aDigest, ticket: ticket)) == 0x3E0)
        let (forged, noTicket) = try hash(Attestation.magic.wire + [1])
        #expect(noTicket == nullTicket)
        #expect(try guest.code(.sign, [key], signParameters(.null, digest: forged, ticket: noTicket)) == 0x3E0)
        #expect(try hash([1], .null).1 == nullTicket)
        let wrongKind = Ticket.null(StructureTag.verified)
        #expect(try guest.code(.sign, [key], signParameters(.null, ticket: wrongKind)) == 0x3D7)
    }

    @Test("an unrestricted key takes no false ticket")
    func falseTicket() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.eccSign)
        let ticket = Ticket(tag: StructureTag.hashCheck, hierarchy: .null, digest: [UInt8](repeating: 0, count: 64))
        #expect(try guest.code(.sign, [key], signParameters(Scheme(.ecdsa, .sha256), ticket: ticket)) == 0x3E0)
    }

    @Test("signatures of another type of key, and keys that do not sign, are refused")
    func verification() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.eccSign)
        func answer(_ key: TPMHandle, _ signature: Signature) throws -> UInt32 {
            try guest.code(.verifySignature, [key]) { $0.sized16(aDigest); $0.value(signature) }
        }
        #expect(try answer(key, .null) == 0x2D2)
        #expect(try answer(key, .rsa(.rsassa, .sha256, aDigest)) == 0x2D2)
        #expect(try answer(key, .ecc(.ecdsa, .sha256, r: aDigest, s: aDigest)) == 0x2DB)
        #expect(try answer(try #require(try guest.createPrimary().handle), .ecc(.ecdsa, .sha256, r: aDigest, s: aDigest)) == 0x182)
        let publicMAC = Templates.keyedHash([.sign], scheme: Scheme(.hmac, .sha256)).with(unique: .digest(aDigest))
        let loaded = try guest.run(.loadExternal) {
            $0.u16(0)
            $0.sized16(publicMAC)
            $0.value(TPMHandle.owner)
        }
        #expect(try answer(try #require(loaded.handle), .hmac(.sha256, aDigest)) == 0x2CB)
    }
}

@Suite("Quote")
struct QuoteTests {
    private func parameters(
        _ scheme: Scheme, _ selection: [PCRSelection], qualifyingData: [UInt8] = [0xAB]
    ) -> (inout WireWriter) -> Void {
        { writer in
            writer.sized16(qualifyingData)
            scheme.encode(to: &writer)
            writer.list(selection)
        }
    }

    @Test("says the PCRs' digest under the scheme's hash, and who signs")
    func content() throws {
        let guest = try Guest()
        try guest.pcrs.extend(7, [TaggedDigest(.sha256, aDigest)])
        let selection = [PCRSelection(.sha256, pcrs: [7, 8])]
        let key = try guest.child(Templates.eccAttest)
        var reader = try guest.succeed(.quote, [key], parameters(.null, selection))
        let attest = try reader.sized16()
        let signature = try reader.value(Signature.self)
        try reader.finish()
        #expect(try guest.tpm.object(key).publicArea.verifies(signature, digest(.sha256, attest)))
        var body = WireReader(attest)
        #expect(try body.u32() == 0xFF54_4347)
        #expect(try body.u16() == StructureTag.attestQuote)
        #expect(try body.sized16() == guest.tpm.object(key).qualifiedName)
        #expect(try body.sized16() == [0xAB])
        _ = try body.value(ClockInfo.self)
        #expect(try body.u64() != guest.device.chip.firmware, "obfuscated outside the endorsement hierarchy")
        #expect(try body.list(PCRSelection.self, max: 1) == selection)
        let values = [7, 8].map { guest.pcrs.pcrs.values.digest(.sha256, $0) }
        #expect(try body.sized16() == digest(.sha256, values[0], values[1]))
        try body.finish()
    }

    @Test("of an endorsement key hides nothing; HMAC keys quote too")
    func plain() throws {
        let guest = try Guest()
        let parent = try #require(try guest.createPrimary(in: .endorsement).handle)
        let key = try #require(try guest.load(try guest.create(Templates.hmac, under: parent), under: parent).handle)
        var reader = try guest.succeed(.quote, [key], parameters(.null, []))
        let attest = try reader.sized16()
        guard case .hmac(.sha256, _) = try reader.value(Signature.self) else { return #expect(Bool(false)) }
        var body = WireReader(attest)
        _ = try (body.u32(), body.u16(), body.sized16(), body.sized16())
        let clock = try body.value(ClockInfo.self)
        #expect(clock.resetCount == guest.tpm.clockInfo.resetCount)
        #expect(try body.u64() == Identification.firmwareVersion)
    }

    @Test("needs a signing key and a scheme")
    func rules() throws {
        let guest = try Guest()
        let storage = try #require(try guest.createPrimary().handle)
        #expect(try guest.code(.quote, [storage], parameters(Scheme(.ecdsa, .sha256), [])) == 0x19C)
        #expect(try guest.code(.quote, [.null], parameters(Scheme(.ecdsa, .sha256), [])) == 0x2D2)
        let open = try guest.child(Templates.eccSign)
        #expect(try guest.code(.quote, [open], parameters(.null, [])) == 0x2D2)
        let long = [UInt8](repeating: 0, count: 67)
        #expect(try guest.code(.quote, [open], parameters(.null, [], qualifyingData: long)) == 0x1D5)
    }
}

@Suite("Asymmetric primitives")
struct AsymmetricTests {
    private func rsa(_ text: [UInt8], _ scheme: Scheme, label: [UInt8] = []) -> (inout WireWriter) -> Void {
        { writer in
            writer.sized16(text)
            scheme.encode(to: &writer)
            writer.sized16(label)
        }
    }

    @Test("RSA decrypts what it encrypted, under every padding")
    func rsaRoundTrip() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.rsaDecrypt)
        let paddings: [(Scheme, [UInt8])] = [(Scheme(.oaep, .sha256), [0x4C, 0]), (Scheme(.oaep, .sha1), []), (Scheme(.rsaes), [])]
        for (scheme, label) in paddings {
            var reader = try guest.succeed(.rsaEncrypt, [key], rsa([1, 2, 3], scheme, label: label))
            let cipherText = try reader.sized16()
            #expect(cipherText.count == 256)
            var plain = try guest.succeed(.rsaDecrypt, [key], rsa(cipherText, scheme, label: label))
            #expect(try plain.sized16() == [1, 2, 3])
        }
        var raw = try guest.succeed(.rsaEncrypt, [key], rsa([1, 2, 3], .null))
        var plain = try guest.succeed(.rsaDecrypt, [key], rsa(try raw.sized16(), .null))
        #expect(try plain.sized16() == [UInt8](repeating: 0, count: 253) + [1, 2, 3])
    }

    @Test("RSA commands answer wrong parameters with their numbers")
    func rsaRules() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.rsaDecrypt)
        let oaep = Scheme(.oaep, .sha256)
        #expect(try guest.code(.rsaEncrypt, [key], rsa([1], oaep, label: [1])) == 0x3C4)
        #expect(try guest.code(.rsaEncrypt, [key], rsa([UInt8](repeating: 1, count: 250), oaep)) == 0x84)
        #expect(try guest.code(.rsaEncrypt, [key], rsa([UInt8](repeating: 0xFF, count: 257), .null)) == 0x84)
        #expect(try guest.code(.rsaDecrypt, [key], rsa([UInt8](repeating: 1, count: 255), .null)) == 0x95)
        #expect(try guest.code(.rsaDecrypt, [key], rsa([UInt8](repeating: 1, count: 256), oaep)) == 0x84)
        let storage = try #require(try guest.createPrimary(Templates.rsaStorage).handle)
        #expect(try guest.code(.rsaDecrypt, [storage], rsa([UInt8](repeating: 1, count: 256), oaep)) == 0x182)
        let signing = try guest.child(Templates.rsaSign)
        #expect(try guest.code(.rsaEncrypt, [signing], rsa([1], oaep)) == 0x182)
        #expect(try guest.code(.rsaEncrypt, [try guest.child(Templates.eccAgree)], rsa([1], oaep)) == 0x19C)
        let fixedScheme = try guest.child(Templates.rsa(Templates.fixed.union(.decrypt), scheme: oaep))
        #expect(try guest.code(.rsaEncrypt, [fixedScheme], rsa([1], Scheme(.rsaes))) == 0x2D2)
        #expect(try guest.code(.rsaEncrypt, [fixedScheme], rsa([1], .null)) == 0)
    }

    @Test("ECDH: both sides come to the same point")
    func ecdh() throws {
        let guest = try Guest()
        let key = try guest.child(Templates.eccAgree)
        var reader = try guest.succeed(.ecdhKeyGen, [key])
        let (shared, ephemeral) = (try reader.value(Sized<ECCPoint>.self), try reader.value(Sized<ECCPoint>.self))
        try reader.finish()
        var answer = try guest.succeed(.ecdhZGen, [key]) { $0.value(ephemeral) }
        #expect(try answer.value(Sized<ECCPoint>.self).value == shared.value)
        let offCurve = Sized(ECCPoint(x: aDigest, y: aDigest))
        #expect(try guest.code(.ecdhZGen, [key]) { $0.value(offCurve) } == 0x1E7)
        let storage = try #require(try guest.createPrimary().handle)
        #expect(try guest.code(.ecdhZGen, [storage]) { $0.value(ephemeral) } == 0x182)
        #expect(try guest.code(.ecdhKeyGen, [try guest.child(Templates.rsaDecrypt)]) == 0x19C)
    }

    @Test("a session's salt comes back through the twin of a storage key")
    func salts() throws {
        let guest = try Guest()
        let rsaKey = try guest.tpm.object(try #require(try guest.createPrimary(Templates.rsaStorage).handle))
        let label = Array("SECRET".utf8) + [0]
        let publicKey = RSAPublicKey(modulus: FakeDevice.modulus, exponent: 0)
        let encrypted = try publicKey.encrypt([1, 2, 3], scheme: Scheme(.oaep, .sha256), label: label)
        #expect(try guest.tpm.recoverSalt(encrypted, key: rsaKey) == [1, 2, 3])
        let long = try publicKey.encrypt([UInt8](repeating: 1, count: 33), scheme: Scheme(.oaep, .sha256), label: label)
        #expect(throws: TPMRC.value) { try guest.tpm.recoverSalt(long, key: rsaKey) }
        #expect(throws: TPMRC.size) { try guest.tpm.recoverSalt([1], key: rsaKey) }

        let eccKey = try guest.tpm.object(try #require(try guest.createPrimary().handle))
        guard case .ecc(let point) = eccKey.publicArea.unique else { return #expect(Bool(false)) }
        let ephemeral = ECCKeyPair.generate(.p256)
        let z = try #require(ephemeral.agree(point))
        let expected = kdfe(.sha256, z: z.x, label: "SECRET", partyU: ephemeral.publicPoint.x, partyV: point.x, bits: 256)
        #expect(try guest.tpm.recoverSalt(ephemeral.publicPoint.wire, key: eccKey) == expected)
        #expect(throws: TPMRC.eccPoint) { try guest.tpm.recoverSalt(ECCPoint(x: aDigest, y: aDigest).wire, key: eccKey) }
        #expect(throws: TPMRC.insufficient) { try guest.tpm.recoverSalt([0], key: eccKey) }
    }
}

@Suite("Hashes, HMACs, sequences, random numbers")
struct SymmetricTests {
    @Test("HMAC takes the key's hash, and the caller's only where it is the same or the key has none")
    func hmacRules() throws {
        let guest = try Guest()
        func answer(_ key: TPMHandle, _ hash: HashAlgorithm?) throws -> UInt32 {
            try guest.code(.hmac, [key]) { $0.sized16([1]); $0.hashOrNull(hash) }
        }
        let key = try guest.child(Templates.hmac)
        #expect(try answer(key, nil) == 0)
        #expect(try answer(key, .sha256) == 0)
        #expect(try answer(key, .sha384) == 0x2C4)
        #expect(try answer(try guest.child(Templates.eccSign), .sha256) == 0x18A)
        #expect(try answer(try guest.child(Templates.aes), .sha256) == 0x2C4)
        #expect(try answer(try guest.child(Templates.aes), nil) == 0x2D2)
        #expect(try answer(try guest.child(Templates.sealed, data: [1]), .sha256) == 0x19C)
        let open = try guest.child(Templates.keyedHash(Templates.fixed.union([.sign, .decrypt])))
        #expect(try answer(open, nil) == 0x2C4)
        #expect(try answer(open, .sha384) == 0)
        #expect(try guest.code(.hmac, [key]) { $0.sized16([UInt8](repeating: 1, count: 1025)); $0.hashOrNull(nil) } == 0x1D5)
    }

    @Test("a hash sequence digests its parts; its ticket depends on how it began")
    func sequences() throws {
        let guest = try Guest()
        func sequence(_ parts: [[UInt8]], hierarchy: TPMHandle = .owner) throws -> ([UInt8], Ticket) {
            let started = try guest.run(.hashSequenceStart) { $0.sized16([5]); $0.value(HashAlgorithm.sha384) }
            let handle = try #require(started.handle)
            for part in parts.dropLast() { _ = try guest.succeed(.sequenceUpdate, [handle], passwords: [[5]]) { $0.sized16(part) } }
            var reader = try guest.succeed(.sequenceComplete, [handle], passwords: [[5]]) {
                $0.sized16(parts.last ?? [])
                $0.value(hierarchy)
            }
            #expect(guest.tpm.volatile.transient[handle] == nil)
            return (try reader.sized16(), try reader.value())
        }
        let (result, ticket) = try sequence([[1, 2, 3, 4], [5], []])
        #expect(result == digest(.sha384, [1, 2, 3, 4, 5]))
        #expect(ticket.digest.count == 64)
        #expect(try sequence([[1, 2, 3]]).1 == nullTicket)
        #expect(try sequence([Attestation.magic.wire, [1]]).1 == nullTicket)
        #expect(try sequence([[1, 2, 3, 4]], hierarchy: .null).1 == nullTicket)
        #expect(try sequence([[1, 2, 3, 4]]).1.hierarchy == .owner)
    }

    @Test("sequence commands want the right kind of sequence, and key commands a key")
    func sequenceRules() throws {
        let guest = try Guest()
        let storage = try #require(try guest.createPrimary().handle)
        #expect(try guest.code(.sequenceUpdate, [storage]) { $0.sized16([1]) } == 0x1C9)
        #expect(try guest.code(.sequenceComplete, [storage]) { $0.sized16([1]); $0.value(TPMHandle.null) } == 0x189)
        let event = try #require(try guest.run(.hashSequenceStart) { $0.sized16([]); $0.hashOrNull(nil) }.handle)
        #expect(try guest.code(.sequenceUpdate, [event]) { $0.sized16([1]) } == 0)
        #expect(try guest.code(.sequenceComplete, [event]) { $0.sized16([1]); $0.value(TPMHandle.null) } == 0x189)
        #expect(try guest.code(.hashSequenceStart) { $0.sized16([]); $0.u16(6) } == 0x2C3)

        #expect(try guest.code(.readPublic, [event]) == 0x103)
        #expect(try guest.code(.sign, [event], signParameters(Scheme(.ecdsa, .sha256))) == 0x19C)
        #expect(try guest.code(.unseal, [event]) == 0x18A)
        #expect(try guest.code(.ecdhKeyGen, [event]) == 0x19C)
        #expect(try guest.code(.load, [event]) { $0.sized16(aDigest); $0.sized16(Templates.sealed) } == 0x18A)
        #expect(try guest.code(.evictControl, [.owner, event]) { $0.u32(0x8100_0005) } == 0x282)
    }

    @Test("the answer to SequenceComplete is authorized by the sequence that ends with it")
    func responseHMAC() throws {
        let guest = try Guest()
        let sequence = try #require(
            try guest.run(.hashSequenceStart) { $0.sized16([5]); $0.value(HashAlgorithm.sha256) }.handle)
        let nonce = [UInt8](repeating: 3, count: 32)
        var started = try guest.run(.startAuthSession, [.null, .null]) {
            $0.sized16(nonce)
            $0.sized16([])
            $0.u8(0)
            $0.value(TPMAlgorithm.null)
            $0.value(HashAlgorithm.sha256)
        }
        let nonceTPM = Array(started.parameters.dropFirst(2))
        var parameters = WireWriter()
        parameters.sized16([1])
        parameters.value(TPMHandle.null)
        let cpHash = digest(.sha256, TPMCommandCode.sequenceComplete.wire, parameters.bytes)
        let attributes: SessionAttributes = [.continueSession]
        let auth = AuthCommand(
            handle: try #require(started.handle), nonce: nonce, attributes: attributes,
            hmac: hmac(.sha256, key: [5], cpHash, nonce, nonceTPM, [attributes.rawValue]))
        started = try guest.run(.sequenceComplete, [sequence], sessions: [auth]) { $0.raw(parameters.bytes) }
        let answer = try #require(started.sessions.first)
        let rpHash = digest(.sha256, TPMRC.success.rawValue.wire, TPMCommandCode.sequenceComplete.wire, started.parameters)
        #expect(answer.hmac == hmac(.sha256, key: [5], rpHash, answer.nonce, nonce, [attributes.rawValue]))
        #expect(guest.tpm.volatile.transient[sequence] == nil)
    }

    @Test("GetRandom gives at most a digest's worth; StirRandom takes up to 128 bytes")
    func random() throws {
        let guest = try Guest()
        var reader = try guest.succeed(.getRandom) { $0.u16(200) }
        #expect(try reader.sized16().count == 64)
        var none = try guest.succeed(.getRandom) { $0.u16(0) }
        #expect(try none.sized16().isEmpty)
        #expect(try guest.code(.stirRandom) { $0.sized16([UInt8](repeating: 1, count: 128)) } == 0)
        #expect(try guest.code(.stirRandom) { $0.sized16([UInt8](repeating: 1, count: 129)) } == 0x1D5)
    }
}
