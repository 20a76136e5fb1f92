// Gated twins on a real chip: what a taken-over proxy tries, and what stops it. Where it is the chip, its response code shows.
import IPC
import RunningService
import SystemMap
@testable import TPMCrypto
import TPMWire
import Testing
import Wire

private let secret = Array("what the policy guards".utf8)

@Suite(.serialized) struct GatedTwinTests {
    let bench: GateBench
    let guest: GateGuest
    init() throws {
        bench = try GateBench()
        guest = try GateGuest(bench, "one")
    }

    /// Sealed data that PCR 10, as it is, opens.
    private func sealedToPCR() throws -> GatedObject {
        try guest.create(.sealed(policy: GateGuest.policyDigest(try guest.pcrSession())), data: secret)
    }

    @Test func aPolicyThatHoldsOpensSealedData() throws {
        let object = try sealedToPCR()
        let token = try guest.pcrSession()
        #expect(try guest.use(object, .unseal, token: token) == secret)
        try bench.startPolicy()
        let again = try GateGuest(bench, "two")
        #expect(refusal { _ = try again.use(object, .unseal, token: token) } == notPermitted)
    }

    @Test func withoutItsTokenNothingOpens() throws {
        let object = try sealedToPCR()
        #expect(refusal { _ = try guest.use(object, .unseal) } == TPMRC.authType.rawValue)
        #expect(refusal { _ = try guest.use(object, .unseal, token: try guest.startSession()) } == TPMRC.policyFail.rawValue)
        #expect(refusal { _ = try guest.use(object, .unseal, token: try guest.pcrSession(trial: true)) } == TPMRC.attributes.rawValue)
        var changed = try guest.pcrSession()
        for index in [0, changed.count / 2, changed.count - 1] {
            changed[index] ^= 1
            #expect(refusal { _ = try guest.use(object, .unseal, token: changed) } == notPermitted)
            changed[index] ^= 1
        }
    }

    /// The proxy commits and signs; what its twin seals comes out by the policy alone.
    @Test func anECDAAKeyIsUnsealedByItsPolicy() throws {
        let pair = ECCKeyPair.generate(.p256)
        let policy = GateGuest.policyDigest(try guest.pcrSession())
        let area = PublicArea.ecc(.sign, policy: policy, scheme: Scheme(.ecdaa, .sha256)).with(unique: .ecc(pair.publicPoint))
        let twin = try guest.policy.call(GateCalls.Create.self, .init(area: area, data: pair.privateKey.bytes))
        let object = GatedObject(area: area, twin: twin)
        for code in [TPMCommandCode.commit, .sign] {
            #expect(try guest.use(object, code, token: try guest.pcrSession()) == pair.privateKey.bytes)
            #expect(refusal { _ = try guest.use(object, code) } == TPMRC.authType.rawValue)
        }
        var claimed = object
        claimed.area.attributes.insert(.userWithAuth)
        #expect(refusal { _ = try guest.use(claimed, .sign) } == CallStatus.malformed.rawValue)
        claimed.area.attributes = object.area.attributes
        claimed.area.authPolicy = []
        #expect(refusal { _ = try guest.use(claimed, .sign, token: try guest.startSession()) } == CallStatus.malformed.rawValue)
        claimed.area.authPolicy = GateGuest.policyDigest(try guest.startSession())
        #expect(refusal { _ = try guest.use(claimed, .sign, token: try guest.startSession()) } == chipRefuses)
        try guest.extend()
        #expect(refusal { _ = try guest.use(object, .commit, token: try guest.pcrSession()) } == TPMRC.policyFail.rawValue)
    }

    /// A private part that the proxy knows (as after TPM2_Import) shows whether signatures fit their commitments; one that the checker made
    /// comes out for nothing.
    @Test func aRestrictedECDAAKeyIsUsedByTheCheckerAlone() throws {
        let pair = ECCKeyPair.generate(.p256)
        let area = PublicArea.ecc([.sign, .restricted, .userWithAuth], scheme: Scheme(.ecdaa, .sha256)).with(unique: .ecc(pair.publicPoint))
        let given = GatedObject(area: area, twin: try guest.policy.call(GateCalls.Create.self, .init(area: area, data: pair.privateKey.bytes)))
        #expect(given.twin.gate?.mark == [])

        func commit(_ object: GatedObject, _ count: UInt64, of series: UInt64 = 1, p1: ECCPoint? = nil) throws -> CommitmentPoints {
            let parameters = WireWriter.bytes {
                $0.sized16(p1 ?? ECCPoint(x: [], y: []))
                $0.sized16([UInt8]())
                $0.sized16([UInt8]())
            }
            return try CommitmentPoints(wire: try guest.use(object, .commit, parameters, .commitment(series: series, count: count)))
        }
        func time(_ object: GatedObject, _ counter: UInt16) throws -> (statement: [UInt8], signature: Signature) {
            let circumstances = Statement.Circumstances(qualifiedSigner: [], clockInfo: ClockInfo(clock: 1, resetCount: 2, restartCount: 3, safe: true), firmwareVersion: 0)
            let scheme = WireWriter.bytes { Scheme(.ecdaa, .sha256, count: counter).encode(to: &$0) }
            var reader = WireReader(try guest.use(
                object, .getTime, [0, 0] + scheme, names: [TPMHandle.endorsement.wire, object.area.name],
                .attestation(circumstances, .own(tag: StructureTag.attestTime, body: [UInt8](repeating: 0, count: 33)))))
            return (try reader.sized16(), try reader.value())
        }

        let first = try commit(given, 5)
        let second = try commit(given, 7, p1: first.e)
        #expect(refusal { _ = try commit(given, 7) } == CallStatus.malformed.rawValue)
        #expect(refusal { _ = try commit(given, 6) } == CallStatus.malformed.rawValue)
        let outside = ECCPoint(x: first.e.x, y: first.e.x)
        #expect(refusal { _ = try commit(given, 8, p1: outside) } == CallStatus.malformed.rawValue)
        let (statement, signature) = try time(given, 5)
        guard case .ecc(.ecdaa, .sha256, let nonceK, let s) = signature else { throw TPMRC.scheme }
        #expect(try pair.committed(nonceK, s, digest(.sha256, statement)) == first.e)
        #expect(refusal { _ = try time(given, 5) } == TPMRC.value.rawValue)
        #expect(second.e != first.e)

        let made = try guest.policy.call(GateCalls.CreateAnonymous.self, area.with(unique: .ecc(ECCPoint(x: [], y: []))))
        let own = GatedObject(area: area.with(unique: .ecc(made.point)), twin: made.twin)
        #expect(made.twin.gate?.mark.isEmpty == false)
        #expect(refusal { _ = try time(own, 9) } == TPMRC.value.rawValue)
        _ = try commit(own, 8)
        _ = try time(own, 8)
        for code in [TPMCommandCode.unseal, .createLoaded, .hmac, .rsaDecrypt, .ecdhZGen, .encryptDecrypt] {
            #expect(refusal { _ = try guest.use(own, code) } == notPermitted)
        }
        #expect(refusal { _ = try guest.use(own, .duplicate, names: [own.area.name, TPMHandle.null.wire]) } == TPMRC.authType.rawValue)
        // Another power cycle
        _ = try commit(own, 0, of: 2)
        #expect(refusal { _ = try time(given, 7) } == TPMRC.value.rawValue)
        for wrong in [PublicArea.attestationKey, PublicArea.ecc([.sign, .userWithAuth], scheme: Scheme(.ecdaa, .sha256))] {
            #expect(refusal { _ = try guest.policy.call(GateCalls.CreateAnonymous.self, wrong) } == CallStatus.malformed.rawValue)
        }
    }

    @Test func aTokenEndsWithTheValuesThatItSaw() throws {
        let object = try sealedToPCR()
        let token = try guest.pcrSession()
        try guest.extend()
        #expect(refusal { _ = try guest.use(object, .unseal, token: token) } == TPMRC.pcrChanged.rawValue)
        #expect(refusal { _ = try guest.use(object, .unseal, token: try guest.pcrSession()) } == TPMRC.policyFail.rawValue)
    }

    /// PCR 16 is not counted in pcrUpdateCounter.
    @Test func aTokenEndsWithUncountedValuesToo() throws {
        let object = try guest.create(.sealed(policy: GateGuest.policyDigest(try guest.pcrSession(16))), data: secret)
        let token = try guest.pcrSession(16)
        try guest.extend(23)
        #expect(try guest.use(object, .unseal, token: token) == secret)
        try guest.extend(16)
        #expect(refusal { _ = try guest.use(object, .unseal, token: token) } == TPMRC.pcrChanged.rawValue)
        _ = try guest.pcr.call(PCRCalls.ResetPCR.self, 16)
        // The digest of both, with PCR 16 changed in between, never opens anything.
        let both = try guest.create(.sealed(policy: GateGuest.policyDigest(try twice { _ in })), data: secret)
        #expect(try guest.use(both, .unseal, token: try twice { _ in }) == secret)
        let changed = try twice { (guest) in
            try guest.extend(16)
            _ = try guest.pcr.call(PCRCalls.ResetPCR.self, 16)
        }
        #expect(try guest.use(both, .unseal, token: changed) == secret)
        let between = try twice { (guest) in try guest.extend(16) }
        #expect(refusal { _ = try guest.use(both, .unseal, token: between) } == TPMRC.pcrChanged.rawValue)
    }

    /// PolicyPCR of PCR 16, something, PolicyPCR of PCR 23.
    private func twice(_ between: (GateGuest) throws -> Void) throws -> [UInt8] {
        let first = try guest.pcrSession(16)
        try between(guest)
        return try guest.step(first, .pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [23])]))
    }

    @Test func anotherGuestsTokensAndBlobsAreNothing() throws {
        let object = try sealedToPCR()
        let other = try GateGuest(bench, "other")
        #expect(refusal { _ = try guest.use(object, .unseal, token: try other.pcrSession()) } == notPermitted)
        #expect(refusal { _ = try other.use(object, .unseal, token: try other.pcrSession()) } == TPMRC.integrity.rawValue)
    }

    @Test func theChipRefusesAWrongClaim() throws {
        let object = try sealedToPCR()
        try guest.extend()
        // A policy that holds, but is not the object's
        var lie = object
        lie.area.authPolicy = GateGuest.policyDigest(try guest.pcrSession())
        #expect(refusal { _ = try guest.use(lie, .unseal, token: try guest.pcrSession()) } == chipRefuses)
        // An object that its authValue opens
        lie = object
        lie.area.attributes.insert(.userWithAuth)
        #expect(refusal { _ = try guest.use(lie, .unseal) } == CallStatus.malformed.rawValue)
        lie.area.parameters = PublicArea.attestationKey.parameters
        lie.area.attributes.formUnion([.sign, .restricted])
        #expect(refusal { _ = try guest.use(lie, .unseal) } == CallStatus.malformed.rawValue)
        // Another salt
        lie = object
        lie.twin.gate?.salt[0] ^= 1
        let policy = GateGuest.policyDigest(try guest.startSession())
        lie.area.authPolicy = policy
        #expect(refusal { _ = try guest.use(lie, .unseal, token: try guest.startSession()) } == chipRefuses)
    }

    @Test func theChipRefusesTheProxyItself() throws {
        let sealed = try sealedToPCR()
        let handle = try guest.device.call(DeviceCalls.Load.self, sealed.twin)
        #expect(refusal { _ = try guest.device.call(DeviceCalls.Unseal.self, handle) } == chipRefuses)
        let key = try guest.create(.attestationKey)
        let signer = try guest.device.call(DeviceCalls.Load.self, key.twin)
        let forged = Attestation.wire(
            tag: StructureTag.attestQuote, qualifiedSigner: [], extraData: [],
            clockInfo: ClockInfo(clock: 0, resetCount: 0, restartCount: 0, safe: true), firmwareVersion: 0, body: [])
        let request = DeviceCalls.Sign.Request(handle: signer, digest: digest(.sha256, forged), scheme: Scheme(.ecdsa, .sha256))
        #expect(refusal { _ = try guest.device.call(DeviceCalls.Sign.self, request) } == chipRefuses)
    }

    @Test func whatMayBeDuplicatedTakesItsPolicyToo() throws {
        let policy = GateGuest.policyDigest(try guest.step(try guest.startSession(), .commandCode(.duplicate)))
        let object = try guest.create(.sealed(policy: policy, attributes: .noDA), data: secret)
        let handle = try guest.device.call(DeviceCalls.Load.self, object.twin)
        #expect(refusal { _ = try guest.device.call(DeviceCalls.Duplicate.self, handle) } == chipRefusesPolicy)
        let names = [object.area.name, TPMHandle.null.wire]
        #expect(refusal { _ = try guest.use(object, .duplicate, names: names) } == TPMRC.authType.rawValue)
        let token = try guest.step(try guest.startSession(), .commandCode(.duplicate))
        let sensitive = try SensitiveArea(wire: try guest.use(object, .duplicate, names: names, token: token))
        #expect(sensitive.sensitive == secret)
        #expect(object.area.unique == .digest(digest(.sha256, sensitive.seedValue, sensitive.sensitive)))
    }

    @Test func importedDataObeyTheirPolicy() throws {
        let seed = [UInt8](repeating: 7, count: 32)
        var area = PublicArea.sealed(policy: GateGuest.policyDigest(try guest.pcrSession()), attributes: .noDA)
        area.unique = .digest(digest(.sha256, seed, secret))
        let sensitive = SensitiveArea(type: .keyedHash, authValue: [], seedValue: seed, sensitive: secret)
        let twin = try guest.policy.call(GateCalls.Import.self, .init(area: area, sensitive: sensitive))
        #expect(twin.gate?.mark == [])
        let object = GatedObject(area: area, twin: twin)
        #expect(try guest.use(object, .unseal, token: try guest.pcrSession()) == secret)
        let handle = try guest.device.call(DeviceCalls.Load.self, twin)
        #expect(refusal { _ = try guest.device.call(DeviceCalls.Unseal.self, handle) } == chipRefuses)
        try guest.extend()
        #expect(refusal { _ = try guest.use(object, .unseal, token: try guest.pcrSession()) } == TPMRC.policyFail.rawValue)
    }

    @Test func everyKindOfKeyWorksBehindTheGate() throws {
        let policy = GateGuest.policyDigest(try guest.pcrSession())
        let token = try guest.pcrSession()
        let message = Array("message".utf8)

        let agreer = try guest.create(.ecc(.decrypt, policy: policy))
        let peer = ECCKeyPair.generate(.p256)
        let point = try ECCPoint(wire: try guest.use(agreer, .ecdhZGen, Sized(peer.publicPoint).wire, token: token))
        guard case .ecc(let own) = agreer.area.unique else { throw IPCError.malformed }
        #expect(point.x == peer.agree(own)?.x)

        let scheme = Scheme(.hmac, .sha256)
        var area = PublicArea.sealed(policy: policy, attributes: PublicArea.fixed.union(.sign))
        area.parameters = .keyedHash(scheme: scheme)
        let key = try guest.create(area, data: secret)
        let expected = hmac(.sha256, key: secret, message)
        let parameters = UInt16(message.count).wire + message + TPMAlgorithm.null.wire
        #expect(try guest.use(key, .hmac, parameters, token: token) == expected)
        let state = try guest.use(key, .hmacStart, [0, 0] + TPMAlgorithm.null.wire, token: token)
        let handle = try guest.device.call(DeviceCalls.Load.self, key.twin)
        let step = DeviceCalls.HMACStep.Request(handle: handle, hash: .sha256, state: state, data: message, isLast: true)
        #expect(try guest.device.call(DeviceCalls.HMACStep.self, step).bytes == expected)
        let beginning = DeviceCalls.HMACStep.Request(handle: handle, hash: .sha256, state: [], data: message, isLast: true)
        #expect(refusal { _ = try guest.device.call(DeviceCalls.HMACStep.self, beginning) } == chipRefuses)

        let mac = TaggedDigest(.sha256, expected)
        let genuine = GateCalls.VerifyMAC.Request(object: key, digest: message, mac: mac)
        _ = try guest.policy.call(GateCalls.VerifyMAC.self, genuine)
        let other = GateCalls.VerifyMAC.Request(object: key, digest: [1], mac: mac)
        #expect(refusal { _ = try guest.policy.call(GateCalls.VerifyMAC.self, other) } == TPMRC.signature.rawValue)
    }

    @Test func aGatedUnsealIsOneCommandOfTheChip() throws {
        let object = try sealedToPCR()
        let token = try guest.pcrSession()
        _ = try guest.use(object, .unseal, token: token)
        let before = try chipCommands()
        for _ in 0..<5 { _ = try guest.use(object, .unseal, token: token) }
        #expect(try chipCommands() - before == 5)
    }

    private func chipCommands() throws -> Int {
        let report = try bench.directory.connect(.device).call(StatusCall.self, Nothing())
        return Int(report.lines.first { $0.key == "commands" }?.value ?? "") ?? 0
    }

    @Test func aStorageKeyRecoversSeedsOnly() throws {
        let spec = TwinSpec(
            kind: .ecc(.p256), sign: false, decrypt: true, sensitiveDataOrigin: true, nameAlgorithm: .sha256, isStorageKey: true)
        var twin = try guest.device.call(DeviceCalls.Create.self, .init(spec: spec, data: []))
        var handle = try guest.device.call(DeviceCalls.Load.self, twin)
        let point = ECCKeyPair.generate(.p256).publicPoint
        #expect(refusal { _ = try guest.device.call(DeviceCalls.Agree.self, .init(handle: handle, point: point)) } == notPermitted)
        let salt = DeviceCalls.RecoverSeed.Request(handle: handle, use: .session, hash: .sha256, secret: point.wire)
        #expect(try guest.device.call(DeviceCalls.RecoverSeed.self, salt).bytes.count == 32)
        // Whoever says that it is none has another public area, which the chip did not make.
        twin.spec.isStorageKey = false
        handle = try guest.device.call(DeviceCalls.Load.self, twin)
        #expect(refusal { _ = try guest.device.call(DeviceCalls.Agree.self, .init(handle: handle, point: point)) } == TPMRC.integrity.rawValue)
    }
}

extension ECCKeyPair {
    /// [s - T d]G with T = H(nonceK || digest): what was committed, if the signature is right (Part 1, C.4.2.2).
    fileprivate func committed(_ nonceK: [UInt8], _ s: [UInt8], _ message: [UInt8]) throws -> ECCPoint {
        let math = Arithmetic()
        let n = BigNumber(CurveConstants(curve).n)
        let negative = try #require(math.product(BigNumber(digest(.sha256, nonceK, message)), n.minusOne(), modulo: n))
        let td = try #require(math.product(negative, BigNumber(privateKey.bytes), modulo: n))
        let r = try #require(math.sum(BigNumber(s), td, modulo: n)?.bytes(curve.fieldSize))
        return try #require(ECCKeyPair(curve: curve, privateKey: r)).publicPoint
    }
}
