// Twins: made, loaded, used, and shared out over too few slots.
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Testing

@testable import DeviceOwner

@Suite(.serialized) struct TwinTests {
    let bench: DeviceBench
    let device: Device
    init() throws {
        bench = try DeviceBench()
        device = try bench.device()
    }

    /// TPM_ALG_ECC, SHA-256, attributes, no policy, symmetric, scheme, curve and KDF, an empty point
    @Test func aTemplateIsTheseBytes() {
        #expect(TwinSpec.p256Signer.template.wire == [
            0x00, 0x23, 0x00, 0x0B, 0x00, 0x04, 0x04, 0x72, 0x00, 0x00,
            0x00, 0x10, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00,
        ])
        for spec in [TwinSpec.p256Signer, .p256Agreer, .rsaSigner, .rsaDecrypter, .sealed, .givenHMAC, .madeHMAC] {
            let attributes = spec.template.attributes
            #expect(attributes.isSuperset(of: [.fixedTPM, .fixedParent, .noDA, .userWithAuth]))
            #expect(attributes.isDisjoint(with: [.restricted, .adminWithPolicy, .encryptedDuplication]))
            #expect(spec.template.parameters.scheme.isNull)
        }
    }

    @Test func signsWithECC() throws {
        for curve in [ECCCurve.p256, .p384] {
            var spec = TwinSpec.p256Signer
            spec.kind = .ecc(curve)
            let twin = try device.twin(spec, for: bench.guest)
            #expect(twin.verifies(try device.sign(someDigest, ecdsa, with: twin), someDigest))
        }
    }

    @Test func signsWithRSA() throws {
        let twin = try device.twin(.rsaSigner, for: bench.guest)
        for scheme in [TPMAlgorithm.rsassa, .rsapss] {
            #expect(twin.verifies(try device.sign(someDigest, Scheme(scheme, .sha256), with: twin), someDigest))
        }
    }

    @Test func unsealsWhatWasSealed() throws {
        let secret = randomBytes(SensitiveCreate.dataMax)
        let twin = try device.twin(.sealed, data: secret, for: bench.guest)
        #expect(try device.unseal(twin) == secret)
    }

    @Test func agreesOnTheSamePoint() throws {
        let twin = try device.twin(.p256Agreer, for: bench.guest)
        let other = ECCKeyPair.generate(.p256)
        #expect(try device.agree(other.publicPoint, with: twin).x == other.agree(twin.point)?.x)
    }

    @Test func decryptsOAEPWithALabel() throws {
        let twin = try device.twin(.rsaDecrypter, for: bench.guest)
        let scheme = Scheme(.oaep, .sha256)
        let label = Array("DUPLICATE".utf8) + [0]
        let cipher = try RSAPublicKey(modulus: twin.modulus, exponent: 0).encrypt([1, 2, 3], scheme: scheme, label: label)
        #expect(try device.decryptRSA(cipher, scheme, label: label, with: twin) == [1, 2, 3])
        // swtpm says TPM_RC_FAILURE where Part 3, 14.3 says TPM_RC_VALUE.
        #expect(throws: CallStatus.self) {
            try device.decryptRSA(cipher, scheme, label: Array("SECRET".utf8) + [0], with: twin)
        }
    }

    @Test func computesHMACsWithAnyHash() throws {
        let key = randomBytes(40)
        let twin = try device.twin(.givenHMAC, data: key, for: bench.guest)
        let data = randomBytes(DeviceCalls.HMAC.dataMax)
        for hash in HashAlgorithm.allCases {
            #expect(try device.hmac(hash, data, with: twin) == hmac(hash, key: key, data))
        }
        let made = try device.twin(.madeHMAC, for: bench.guest)
        #expect(try device.hmac(.sha256, data, with: made).count == 32)
    }

    @Test func anotherProcessLoadsTheSameBlob() throws {
        let blob = try device.create(.p256Signer, data: [], for: bench.guest)
        let again = Twin(try TwinBlob(wire: blob.wire), of: bench.guest)
        #expect(again.verifies(try device.sign(someDigest, ecdsa, with: again), someDigest))
    }

    @Test func moreTwinsThanSlots() throws {
        let twins = try (0..<6).map { _ in try device.twin(.p256Signer, for: bench.guest) }
        for _ in 0..<3 {
            for twin in twins { #expect(twin.verifies(try device.sign(someDigest, ecdsa, with: twin), someDigest)) }
        }
        #expect(device.count("evictions") >= 12)
        #expect(device.count("loads") <= 6 + 1 + 6)
        #expect(device.count("context-loads") >= 12)
    }

    @Test func theSameTwinAgainIsOneCommand() throws {
        let signer = try device.twin(.p256Signer, for: bench.guest)
        let sealed = try device.twin(.sealed, data: [1], for: bench.guest)
        _ = try device.sign(someDigest, ecdsa, with: signer)
        _ = try device.unseal(sealed)
        let before = device.count("commands")
        for _ in 0..<10 {
            _ = try device.sign(someDigest, ecdsa, with: signer)
            _ = try device.unseal(sealed)
        }
        #expect(device.count("commands") - before == 20)
    }

    @Test func anotherGuestsBlobIsUseless() throws {
        try device.ensureGuest(bench.otherGuest)
        let blob = try device.create(.sealed, data: [1, 2, 3], for: bench.guest)
        #expect(throws: CallStatus(rawValue: TPMRC.integrity.rawValue)) {
            try device.unseal(Twin(blob, of: bench.otherGuest))
        }
        #expect(try device.unseal(Twin(blob, of: bench.guest)) == [1, 2, 3])
    }

    @Test func aLoadedTwinIsNotForWhoHasItsPublicPartOnly() throws {
        var blob = try device.create(.p256Signer, data: [], for: bench.guest)
        _ = try device.sign(someDigest, ecdsa, with: Twin(blob, of: bench.guest))
        blob.hardwarePrivate[20] ^= 1
        #expect(throws: CallStatus.self) { try device.sign(someDigest, ecdsa, with: Twin(blob, of: bench.guest)) }
    }

    @Test func theChipsWordIsPassedOnWithoutNumbers() throws {
        let signer = try device.twin(.p256Signer, for: bench.guest)
        #expect(throws: CallStatus(rawValue: TPMRC.size.rawValue)) { try device.sign([1], ecdsa, with: signer) }
        #expect(throws: CallStatus(rawValue: TPMRC.scheme.rawValue)) {
            try device.sign(someDigest, Scheme(.rsassa, .sha256), with: signer)
        }
        #expect(throws: CallStatus.self) { try device.unseal(signer) }
        #expect(throws: CallStatus(rawValue: TPMRC.eccPoint.rawValue)) {
            let agreer = try device.twin(.p256Agreer, for: bench.guest)
            return try device.agree(ECCPoint(x: [1], y: [1]), with: agreer)
        }
        #expect(throws: CallStatus.self) { try device.create(.sealed, data: [], for: bench.guest) }
    }

    @Test func givesRandomBytes() throws {
        let bytes = try device.random(256)
        #expect(bytes.count == 256)
        #expect(Set(bytes).count > 100)
        #expect(try device.random(0).isEmpty)
    }

    @Test func saysWhatTheChipCanDo() throws {
        let description = try device.describe()
        #expect(description.hashes.contains(.sha256))
        #expect(description.curves.contains(.p256))
        #expect(description.rsaBits.contains(2048))
        #expect(description.aesBits.contains(128))
        #expect(description.manufacturerText == "IBM")
    }
}
