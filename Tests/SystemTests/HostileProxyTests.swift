// The table of docs/threat-model.md, row by row: what a guest that took over its own proxy tries against real processes and a simulated chip, and what
// stops it. A row that names the chip shows the chip's response code.
import CSystem
import Foundation
import IPC
import RunningService
import SystemMap
import Testing
import TPMCrypto
import TPMWire
import Wire

private let secret = Array("what the policy guards".utf8)
private let ecdsa = Scheme(.ecdsa, .sha256)
private let hierarchy = TicketHierarchy(.owner, proofDigest: [UInt8](repeating: 9, count: TicketHierarchy.proofDigestSize))
private let circumstances = Statement.Circumstances(
    qualifiedSigner: [0, 11], clockInfo: ClockInfo(clock: 1, resetCount: 2, restartCount: 3, safe: true), firmwareVersion: 4)

@Suite(.serialized) struct HostileProxyTests {
    let broker: Broker
    let proxy: TakenOverProxy

    init() throws {
        broker = try Broker()
        proxy = try TakenOverProxy(broker)
        try proxy.startup()
    }

    /// Sealed data that PCR 10, as it is, opens.
    private func sealedToPCR() throws -> GatedObject {
        try proxy.create(.gated(TakenOverProxy.policyDigest(try proxy.pcrSession())), data: secret)
    }

    private func anotherProxy() throws -> TakenOverProxy {
        let other = try TakenOverProxy(broker)
        try other.startup()
        return other
    }

    // MARK: To unseal

    @Test func unsealsWithNoToken() throws {
        let object = try sealedToPCR()
        #expect(refusal { _ = try proxy.use(object, .unseal) } == TPMRC.authType.rawValue)
    }

    @Test func unsealsWithATokenOfAnotherSession() throws {
        let object = try sealedToPCR()
        #expect(try proxy.use(object, .unseal, token: try proxy.pcrSession()) == secret)
        #expect(refusal { _ = try proxy.use(object, .unseal, token: try proxy.startSession()) } == TPMRC.policyFail.rawValue)
        let otherCommand = try proxy.step(try proxy.startSession(), .commandCode(.sign))
        let bound = try proxy.create(.gated(TakenOverProxy.policyDigest(otherCommand)), data: secret)
        #expect(refusal { _ = try proxy.use(bound, .unseal, token: otherCommand) } == TPMRC.policyCC.rawValue)
    }

    @Test func unsealsWithATrialSession() throws {
        let object = try sealedToPCR()
        #expect(refusal { _ = try proxy.use(object, .unseal, token: try proxy.pcrSession(trial: true)) } == TPMRC.attributes.rawValue)
    }

    @Test func unsealsWithAnotherGuestsToken() throws {
        let object = try sealedToPCR()
        let other = try anotherProxy()
        #expect(refusal { _ = try proxy.use(object, .unseal, token: try other.pcrSession()) } == notPermitted)
    }

    @Test func unsealsAnotherGuestsEnvelope() throws {
        let object = try sealedToPCR()
        let other = try anotherProxy()
        // The right vPCRs are of no use: the chip knows the blob for a child of another key.
        #expect(refusal { _ = try other.use(object, .unseal, token: try other.pcrSession()) } == TPMRC.integrity.rawValue)
        let handle = try other.load(object)
        #expect(refusal { _ = try other.device.call(DeviceCalls.Unseal.self, handle) } == TPMRC.integrity.rawValue)
        // What an envelope is encrypted under begins with a secret that is another for each guest.
        let secrets = try [proxy, other].map { try $0.device.call(DeviceCalls.GuestSecret.self, Nothing()).bytes }
        #expect(secrets[0] != secrets[1])
    }

    @Test func replaysATokenAfterPCRExtend() throws {
        let object = try sealedToPCR()
        let token = try proxy.pcrSession()
        #expect(try proxy.use(object, .unseal, token: token) == secret)
        try proxy.extend()
        #expect(refusal { _ = try proxy.use(object, .unseal, token: token) } == TPMRC.pcrChanged.rawValue)
    }

    @Test func changesATokensBytes() throws {
        let object = try sealedToPCR()
        let token = try proxy.pcrSession()
        for index in token.indices {
            var changed = token
            changed[index] ^= 1 << UInt8(index % 8)
            #expect(refusal { _ = try proxy.use(object, .unseal, token: changed) } == notPermitted, "byte \(index)")
        }
        for count in 1..<token.count {
            #expect(refusal { _ = try proxy.use(object, .unseal, token: Array(token.prefix(count))) } == notPermitted, "\(count) bytes")
        }
    }

    @Test func claimsAnotherAuthPolicy() throws {
        let object = try sealedToPCR()
        try proxy.extend()
        let token = try proxy.pcrSession()
        var lie = object
        lie.area.authPolicy = TakenOverProxy.policyDigest(token)
        #expect(refusal { _ = try proxy.use(lie, .unseal, token: token) } == chipRefuses)
        lie.twin.gate?.salt[0] ^= 1
        #expect(refusal { _ = try proxy.use(lie, .unseal, token: token) } == chipRefuses)
    }

    @Test func claimsThatAPasswordIsEnough() throws {
        var lie = try sealedToPCR()
        lie.area.attributes.insert(.userWithAuth)
        #expect(refusal { _ = try proxy.use(lie, .unseal) } == malformed)
        // A key whose user role takes a password, and which is gated for its being restricted
        lie.area.parameters = PublicArea.attestationKey.parameters
        lie.area.unique = PublicArea.attestationKey.unique
        lie.area.attributes.formUnion([.sign, .restricted])
        #expect(refusal { _ = try proxy.use(lie, .unseal) } == malformed)
    }

    // MARK: To move what somebody agreed to

    /// Somebody's key, and his agreement to what a session's nonce names.
    private func agreement(_ nonce: [UInt8], seconds: Int32) throws -> PolicyStep {
        let signer = ECCKeyPair.generate(.p256)
        let terms = AuthorizationTerms(nonceTPM: nonce, expiration: seconds)
        let (r, s) = signer.signECDSA(digest: digest(.sha256, nonce, UInt32(bitPattern: seconds).wire))
        return .signed(
            key: Template.eccSigning(ecdsa).with(unique: .ecc(signer.publicPoint)), .signature(.ecc(.ecdsa, .sha256, r: r, s: s)),
            ticket: hierarchy, terms)
    }

    @Test func movesAnAuthorizationToAnotherSession() throws {
        let token = try proxy.startSession()
        let agreed = try agreement(try TakenOverProxy.nonces(token)[0], seconds: 0)
        _ = try proxy.step(token, agreed)
        #expect(refusal { _ = try proxy.step(try proxy.startSession(), agreed) } == TPMRC.nonce.parameter(1).rawValue)
    }

    @Test func stopsTheClock() throws {
        let token = try proxy.startSession()
        let agreed = try agreement(try TakenOverProxy.nonces(token)[0], seconds: 1)
        let signed = try proxy.step(token, agreed)
        let object = try proxy.create(.gated(TakenOverProxy.policyDigest(signed)), data: secret)
        #expect(try proxy.use(object, .unseal, token: signed) == secret)
        usleep(1_100_000)
        #expect(refusal { _ = try proxy.use(object, .unseal, token: signed) } == TPMRC.expired.rawValue)
        #expect(refusal { _ = try proxy.step(token, agreed) } == TPMRC.expired.parameter(4).rawValue)
        // A later power-on, and one that is yet to come
        #expect(refusal { _ = try proxy.use(object, .unseal, token: signed, epoch: 2) } == TPMRC.expired.rawValue)
        #expect(refusal { _ = try proxy.use(object, .unseal, token: signed, epoch: .max) } == malformed)
    }

    // MARK: To use a gated twin past the gate

    @Test func usesAGatedTwinsHandleItself() throws {
        let sealed = try proxy.load(try sealedToPCR())
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.Unseal.self, sealed) } == chipRefuses)
        let key = try proxy.load(try proxy.create(.attestationKey))
        let request = DeviceCalls.Sign.Request(handle: key, digest: digest(.sha256, [1]), scheme: ecdsa)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.Sign.self, request) } == chipRefuses)
        let policy = TakenOverProxy.policyDigest(try proxy.pcrSession())
        var area = PublicArea.gated(policy, [.fixedTPM, .fixedParent, .noDA, .sign])
        area.parameters = .keyedHash(scheme: Scheme(.hmac, .sha256))
        let mac = try proxy.load(try proxy.create(area, data: secret))
        let hmac = DeviceCalls.HMAC.Request(handle: mac, hash: .sha256, data: [1])
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.HMAC.self, hmac) } == chipRefuses)
        let step = DeviceCalls.HMACStep.Request(handle: mac, hash: .sha256, state: [], data: [1], isLast: false)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.HMACStep.self, step) } == chipRefuses)
    }

    @Test func duplicatesAGatedTwinItself() throws {
        let policy = TakenOverProxy.policyDigest(try proxy.step(try proxy.startSession(), .commandCode(.duplicate)))
        let object = try proxy.create(.gated(policy, .noDA), data: secret)
        let handle = try proxy.load(object)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.Duplicate.self, handle) } == chipRefusesPolicy)
        let names = [object.area.name, TPMHandle.null.wire]
        #expect(refusal { _ = try proxy.use(object, .duplicate, names: names) } == TPMRC.authType.rawValue)
    }

    // MARK: To attest

    private func wire(_ scheme: Scheme) -> [UInt8] {
        var writer = WireWriter()
        scheme.encode(to: &writer)
        return writer.bytes
    }

    private var forged: [UInt8] {
        Attestation.wire(
            tag: StructureTag.attestQuote, qualifiedSigner: [], extraData: [], clockInfo: circumstances.clockInfo, firmwareVersion: 4,
            body: Attestation.Attested.quote(selection: [PCRSelection(.sha256, pcrs: [10])], digest: digest(.sha256, [])).body)
    }

    @Test func signsAForgedAttestation() throws {
        let key = try proxy.create(.attestationKey)
        let handle = try proxy.load(key)
        let request = DeviceCalls.Sign.Request(handle: handle, digest: digest(.sha256, forged), scheme: ecdsa)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.Sign.self, request) } == chipRefuses)
        // As what other attestations say, or as a certificate
        let names = [TPMHandle.endorsement.wire, key.area.name]
        let own = Statement.attestation(circumstances, .own(tag: StructureTag.attestQuote, body: Array(forged.suffix(48))))
        #expect(refusal { _ = try proxy.use(key, .getTime, [0, 0] + wire(.null), names: names, own) } == malformed)
        let certificate = Statement.certificate(forged)
        #expect(refusal { _ = try proxy.use(key, .certifyX509, [0, 0] + wire(.null), names: [key.area.name, key.area.name], certificate) } == malformed)
    }

    @Test func quotesWhatItsVPCRsAreNot() throws {
        let key = try proxy.create(.attestationKey)
        var list = WireWriter()
        list.list([PCRSelection(.sha256, pcrs: [10])])
        let parameters = [0, 0] + wire(.null) + list.bytes
        let others = Statement.attestation(circumstances, .quote([PCRSelection(.sha256, pcrs: [11])]))
        #expect(refusal { _ = try proxy.use(key, .quote, parameters, others) } == malformed)
        let own = Statement.attestation(circumstances, .own(tag: StructureTag.attestQuote, body: Array(forged.suffix(48))))
        #expect(refusal { _ = try proxy.use(key, .quote, parameters, own) } == malformed)
        // What is signed has the values of paratpm-pcr.
        try proxy.extend()
        let quote = Statement.attestation(circumstances, .quote([PCRSelection(.sha256, pcrs: [10])]))
        var reader = WireReader(try proxy.use(key, .quote, parameters, quote))
        let extended = digest(.sha256, [UInt8](repeating: 0, count: 32), digest(.sha256, [1]))
        #expect(try reader.sized16().suffix(32) == digest(.sha256, extended)[...])
    }

    /// A restricted key with a private part of the proxy's own.
    private func keyOfItsOwn() -> PublicArea { PublicArea.attestationKey.with(unique: .ecc(ECCKeyPair.generate(.p256).publicPoint)) }

    @Test func certifiesAKeyItMadeItself() throws {
        let key = try proxy.create(.attestationKey)
        let mark = try #require(key.twin.gate?.mark)
        func certify(_ object: NamedObject) throws {
            let names = [object.area?.name ?? [], key.area.name]
            _ = try proxy.use(
                key, .certify, [0, 0] + wire(.null), names: names, .attestation(circumstances, .certify(object, qualifiedName: [])))
        }
        try certify(NamedObject(area: key.area, mark: mark))
        #expect(refusal { try certify(NamedObject(area: keyOfItsOwn(), mark: mark)) } == notPermitted)
        #expect(refusal { try certify(NamedObject(area: keyOfItsOwn(), mark: [])) } == notPermitted)
    }

    /// What the gate only seals, the proxy gave it: an ECDAA key, whatever it says of it, and an HMAC key longer than a block.
    @Test func hasAKeyOfItsOwnMarked() throws {
        let anonymous = Scheme(.ecdaa, .sha256, count: 0)
        let key = ECCKeyPair.generate(.p256)
        let ecdaa = Template.eccSigning(anonymous, restricted: true).with(unique: .ecc(key.publicPoint))
        for area in [ecdaa, Self.without(.sensitiveDataOrigin, ecdaa)] {
            #expect(try proxy.create(area, data: key.privateKey.bytes).twin.gate?.mark == [])
        }
        var mac = Template.hmacKey
        mac.attributes.insert(.restricted)
        let long = [UInt8](repeating: 1, count: 65)
        #expect(try proxy.create(mac, data: long).twin.gate?.mark == [])
        #expect(try proxy.create(Self.without(.sensitiveDataOrigin, mac), data: long).twin.gate?.mark.isEmpty == false)
        #expect(refusal { _ = try proxy.create(mac, data: secret) } == TPMRC.attributes.rawValue)
    }

    /// Of two signatures with one commitment the key could be computed.
    @Test func makesACommitmentSignTwice() throws {
        let template = Template.eccSigning(Scheme(.ecdaa, .sha256), restricted: true)
        let made = try proxy.policy.call(GateCalls.CreateAnonymous.self, template)
        let key = GatedObject(area: template.with(unique: .ecc(made.point)), twin: made.twin)
        func commit(_ count: UInt64, p1: ECCPoint = ECCPoint(x: [], y: [])) throws {
            let parameters = WireWriter.bytes {
                $0.sized16(p1)
                $0.sized16([UInt8]())
                $0.sized16([UInt8]())
            }
            _ = try proxy.use(key, .commit, parameters, .commitment(series: 1, count: count))
        }
        func sign(_ counter: UInt16) throws {
            _ = try proxy.use(
                key, .getTime, [0, 0] + wire(Scheme(.ecdaa, .sha256, count: counter)), names: [TPMHandle.endorsement.wire, key.area.name],
                .attestation(circumstances, .own(tag: StructureTag.attestTime, body: [])))
        }
        try commit(5)
        for passed: UInt64 in [5, 4, 0] { #expect(refusal { try commit(passed) } == malformed) }
        #expect(refusal { try commit(6, p1: ECCPoint(x: made.point.x, y: made.point.x)) } == malformed)
        try sign(5)
        #expect(refusal { try sign(5) } == TPMRC.value.rawValue)
        for code in [TPMCommandCode.unseal, .createLoaded] { #expect(refusal { _ = try proxy.use(key, code) } == notPermitted) }
    }

    private static func without(_ attribute: ObjectAttributes, _ area: PublicArea) -> PublicArea {
        var area = area
        area.attributes.remove(attribute)
        return area
    }

    // MARK: To mint tickets

    @Test func mintsAHashCheckTicket() throws {
        let key = try proxy.create(.attestationKey)
        let hashed = digest(.sha256, forged)
        func sign(_ ticket: Ticket) throws {
            let parameters = UInt16(hashed.count).wire + hashed + TPMAlgorithm.null.wire + ticket.wire
            _ = try proxy.use(key, .sign, parameters, .digest(proofDigest: hierarchy.proofDigest))
        }
        let own = Ticket(tag: StructureTag.hashCheck, hierarchy: .owner, digest: [UInt8](repeating: 7, count: 64))
        #expect(refusal { try sign(own) } == TPMRC.ticket.rawValue)
        #expect(refusal { try sign(.null(StructureTag.hashCheck)) } == TPMRC.ticket.rawValue)
        // Hashed by the checker, in whatever pieces, it gets none.
        let half = try proxy.policy.call(HashCalls.Step.self, .init(hash: .sha256, data: Array(forged.prefix(2))))
        let whole = try proxy.policy.call(HashCalls.Step.self, .init(
            hash: .sha256, state: half.result, data: Array(forged.dropFirst(2)), end: .init(ticket: hierarchy)))
        #expect(whole.result == hashed && whole.ticket == nil)
        var state = half.result
        state[0] ^= 1
        let changed = HashCalls.Step.Request(hash: .sha256, state: state, data: [], end: .init(ticket: hierarchy))
        #expect(refusal { _ = try proxy.policy.call(HashCalls.Step.self, changed) } == notPermitted)
    }

    @Test func mintsAVerifiedTicket() throws {
        let signer = ECCKeyPair.generate(.p256)
        let name = Template.eccSigning().with(unique: .ecc(signer.publicPoint)).name
        let token = try proxy.pcrSession()
        let own = Ticket(tag: StructureTag.verified, hierarchy: .owner, digest: [UInt8](repeating: 7, count: 64))
        #expect(refusal { _ = try proxy.step(token, .authorize(
            approvedPolicy: TakenOverProxy.policyDigest(token), policyRef: [], keyName: name, own, proofDigest: hierarchy.proofDigest))
        } == TPMRC.value.parameter(4).rawValue)
        // Its word that a signature is genuine does not count for a key whose signatures the checker can check.
        let area = Template.eccSigning(ecdsa).with(unique: .ecc(signer.publicPoint))
        let claim = PolicyCalls.Verify.Request(key: area, digest: digest(.sha256, [1]), evidence: .verdict(nil), hierarchy: hierarchy)
        #expect(refusal { _ = try proxy.policy.call(PolicyCalls.Verify.self, claim) } == TPMRC.failure.rawValue)
    }

    @Test func mintsAnAuthorizationTicket() throws {
        let own = Ticket(tag: StructureTag.authSigned, hierarchy: .owner, digest: [UInt8](repeating: 7, count: 64))
        #expect(refusal { _ = try proxy.step(try proxy.startSession(), .ticket(
            own, proofDigest: hierarchy.proofDigest, timeout: UInt64(Int64.max).wire, entityName: TPMHandle.owner.wire, AuthorizationTerms()))
        } == TPMRC.ticket.parameter(5).rawValue)
    }

    // MARK: To get at credentials

    @Test func activatesACredentialForAKeyItMadeItself() throws {
        let storageKey = try proxy.createOwn(Template.eccStorage)
        let key = try proxy.create(.attestationKey)
        let mark = try #require(key.twin.gate?.mark)
        func activate(_ object: NamedObject, for name: [UInt8]) throws -> [UInt8] {
            let (seed, secret) = try storageKey.area.shareSeed(for: .identity)
            let wrapper = try #require(OuterWrapper(protector: storageKey.area, seed: seed, name: name))
            return try proxy.policy.call(GateCalls.Activate.self, .init(
                key: storageKey, credential: wrapper.seal([0, 2, 5, 6]), secret: secret, object: object)).bytes
        }
        #expect(try activate(NamedObject(area: key.area, mark: mark), for: key.area.name) == [5, 6])
        let own = keyOfItsOwn()
        #expect(refusal { _ = try activate(NamedObject(area: own, mark: mark), for: own.name) } == notPermitted)
        #expect(refusal { _ = try activate(NamedObject(area: key.area, mark: mark), for: own.name) } == TPMRC.integrity.parameter(1).rawValue)
    }

    @Test func recoversACredentialsSeedByHand() throws {
        let ecc = try proxy.createOwn(Template.eccStorage)
        let handle = try proxy.load(ecc)
        let (_, secret) = try ecc.area.shareSeed(for: .identity)
        let seed = DeviceCalls.RecoverSeed.Request(handle: handle, use: .identity, hash: .sha256, secret: secret)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.RecoverSeed.self, seed) } == notPermitted)
        let point = try ECCPoint(wire: secret)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.Agree.self, .init(handle: handle, point: point)) } == notPermitted)
        // A twin said to be another kind of key has another public area, which is not the chip's.
        var lie = ecc
        lie.twin.spec.isStorageKey = false
        let other = try proxy.load(lie)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.Agree.self, .init(handle: other, point: point)) } == TPMRC.integrity.rawValue)

        let rsa = try proxy.load(try proxy.createOwn(Template.rsaStorage))
        let label = Array("IDENTITY".utf8) + [0]
        let decrypt = DeviceCalls.DecryptRSA.Request(
            handle: rsa, cipherText: [UInt8](repeating: 1, count: 256), scheme: Scheme(.oaep, .sha256), label: label)
        #expect(refusal { _ = try proxy.device.call(DeviceCalls.DecryptRSA.self, decrypt) } == notPermitted)
    }

    // MARK: To be the platform

    @Test func resetsItsVPCRs() throws {
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.PowerOn.self, Nothing()) } == notPermitted)
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.ResetPCR.self, 10) } == TPMRC.locality.rawValue)
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.ForgetGuest.self, .init([UInt8](repeating: 0, count: GuestID.size))) } == notPermitted)
    }

    @Test func runsTheDRTMHash() throws {
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.HashStart.self, Nothing()) } == notPermitted)
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.HashData.self, .init([1])) } == notPermitted)
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.HashEnd.self, Nothing()) } == notPermitted)
    }

    @Test func raisesItsLocality() throws {
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.SetLocality.self, 4) } == notPermitted)
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.ResetEstablished.self, 4) } == notPermitted)
        #expect(refusal { try proxy.extend(18) } == TPMRC.locality.rawValue)
    }

    @Test func startsTwice() throws {
        #expect(refusal { try proxy.startup() } == TPMRC.initialize.rawValue)
        #expect(refusal { _ = try proxy.pcr.call(PCRCalls.Startup.self, .init(state: true)) } == TPMRC.initialize.rawValue)
    }

    @Test func writesItsPage() {
        for raw in [proxy.page.raw, proxy.policyPage.raw] {
            #expect(mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw, 0) == MAP_FAILED)
            #expect(errno == EPERM)
            var byte: UInt8 = 1
            #expect(pwrite(raw, &byte, 1, 0) < 0 && errno == EPERM)
            #expect(ftruncate(raw, 0) < 0 && errno == EPERM)
        }
    }

    // MARK: To reach others

    @Test func guessesHandlesOfOtherConnections() throws {
        let other = try anotherProxy()
        let spec = TwinSpec(kind: .sealed, sign: false, decrypt: false, sensitiveDataOrigin: false, nameAlgorithm: .sha256)
        let twin = try other.device.call(DeviceCalls.Create.self, .init(spec: spec, data: secret))
        let handle = try other.device.call(DeviceCalls.Load.self, twin)
        #expect(try other.device.call(DeviceCalls.Unseal.self, handle).bytes == secret)
        let guesses = [handle] + (0..<64) + (0..<64).map { _ in UInt32.random(in: 0...UInt32.max) }
        for guess in guesses {
            #expect(refusal { _ = try proxy.device.call(DeviceCalls.Unseal.self, guess) } == CallStatus.unknownHandle.rawValue)
        }
    }

    @Test func introducesItselfAsAnotherGuest() throws {
        for (_, channel) in proxy.services {
            #expect(refusal { _ = try channel.call(Introduction.Hello.self, .init(name: "another")) } == notPermitted)
            #expect(refusal { _ = try channel.call(Introduction.Prove.self, .init([UInt8](repeating: 1, count: 64))) } == notPermitted)
            #expect(refusal { _ = try channel.exchange(Introduction.OpenProxyChannel.self, Nothing()) } == notPermitted)
        }
    }

    /// What the program in the proxy's place holds open: the test has got all that is of any use.
    @Test func holdsNothingMore() throws {
        let pids = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { pid_t($0) }.filter { pid in
            let line = FileManager.default.contents(atPath: "/proc/\(pid)/comm").map { String(decoding: $0, as: UTF8.self) } ?? ""
            return line == "paratpm-proxy\n" && Self.isDescendant(pid, of: proxy.emulator.child.pid)
        }
        let pid = try #require(pids.first)
        let directory = "/proc/\(pid)/fd"
        var targets: [String] = []
        // To the door, device, pcr and policy, and where extends are posted; where clients knock; and the test's own. While it hands them
        // out, the program holds what came with its door's last request besides.
        try eventually("the program has as many sockets as a proxy") {
            let open = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
            targets = open.filter { (Int($0) ?? 0) > 2 }.compactMap { try? FileManager.default.destinationOfSymbolicLink(atPath: directory + "/" + $0) }
            return !targets.isEmpty && targets.filter { $0.hasPrefix("socket:") }.count <= 7
        }
        // The vPCRs and the policy, which it can only read; and the mark, which is for the next proxy of the same guest
        let pages = ["/memfd:paratpm-vpcrs", "/memfd:paratpm-policy", "/memfd:paratpm-mark"]
        let files = targets.filter { target in !target.hasPrefix("socket:") && !pages.contains { target.hasPrefix($0) } }
        #expect(files == [proxy.emulator.stateFile], "\(targets)")
    }

    private static func isDescendant(_ pid: pid_t, of ancestor: pid_t) -> Bool {
        var pid = pid
        for _ in 0..<4 where pid > 1 {
            let stat = FileManager.default.contents(atPath: "/proc/\(pid)/stat").map { String(decoding: $0, as: UTF8.self) } ?? ""
            let fields = stat.split(separator: ")").last?.split(separator: " ") ?? []
            pid = fields.count > 1 ? pid_t(fields[1]) ?? 0 : 0
            if pid == ancestor { return true }
        }
        return false
    }
}
