// What a restricted key says for a taken-over proxy, and for which keys credentials are activated.
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

private let circumstances = Statement.Circumstances(
    qualifiedSigner: [0, 11], clockInfo: ClockInfo(clock: 1, resetCount: 2, restartCount: 3, safe: true), firmwareVersion: 4)
private let ecdsa = Scheme(.ecdsa, .sha256)
private let hierarchy = TicketHierarchy(.owner, proofDigest: [UInt8](repeating: 9, count: 32))
private let selection = [PCRSelection(.sha256, pcrs: [10, 16])]

@Suite(.serialized) struct AttestationGateTests {
    let bench: GateBench
    let guest: GateGuest
    let key: GatedObject
    init() throws {
        bench = try GateBench()
        guest = try GateGuest(bench, "one")
        key = try guest.create(.attestationKey)
    }

    private func scheme(_ scheme: Scheme = .null) -> [UInt8] {
        var writer = WireWriter()
        scheme.encode(to: &writer)
        return writer.bytes
    }

    /// TPMS_ATTEST and whether its signature is the key's.
    private func attested(_ bytes: [UInt8]) throws -> (attestation: [UInt8], isSigned: Bool) {
        var reader = WireReader(bytes)
        let attestation = try reader.sized16()
        let signature = try reader.value(Signature.self)
        return (attestation, try key.area.verifies(signature, digest(.sha256, attestation)))
    }

    private func quote(_ content: Statement.Content, asking asked: [PCRSelection] = selection) throws -> [UInt8] {
        var list = WireWriter()
        list.list(asked)
        return try guest.use(key, .quote, [0, 1, 7] + scheme() + list.bytes, .attestation(circumstances, content))
    }

    @Test func aQuoteHasTheValuesOfParatpmPCR() throws {
        try guest.extend()
        let (attestation, isSigned) = try attested(try quote(.quote(selection)))
        #expect(isSigned)
        let extended = digest(.sha256, [UInt8](repeating: 0, count: 32), digest(.sha256, [1]))
        let expected = Attestation(
            qualifiedSigner: circumstances.qualifiedSigner, extraData: [7], clockInfo: circumstances.clockInfo,
            firmwareVersion: circumstances.firmwareVersion,
            attested: .quote(selection: selection, digest: digest(.sha256, extended + [UInt8](repeating: 0, count: 32))))
        #expect(attestation == expected.wire)
    }

    @Test func noOtherStatementIsAQuote() throws {
        let malformed = CallStatus.malformed.rawValue
        let body = Attestation.Attested.quote(selection: selection, digest: [1]).body
        #expect(refusal { _ = try quote(.own(tag: StructureTag.attestQuote, body: body)) } == malformed)
        #expect(refusal { _ = try quote(.quote(selection), asking: []) } == malformed)
        let time = Statement.attestation(circumstances, .own(tag: StructureTag.attestQuote, body: body))
        let names = [TPMHandle.endorsement.wire, key.area.name]
        #expect(refusal { _ = try guest.use(key, .getTime, [0, 0] + scheme(), names: names, time) } == malformed)
        #expect(refusal { _ = try guest.use(key, .getTime, [0, 0] + scheme(), names: names, .certificate(Attestation.magic.wire)) } == malformed)
        let x509 = [key.area.name, key.area.name]
        #expect(refusal { _ = try guest.use(key, .certifyX509, [0, 0] + scheme(), names: x509, .certificate(Attestation.magic.wire)) } == malformed)
    }

    private func hash(_ parts: [[UInt8]], _ end: TicketHierarchy? = hierarchy) throws -> HashCalls.Step.Reply {
        var state: [UInt8] = []
        for part in parts.dropLast() {
            state = try guest.policy.call(HashCalls.Step.self, .init(hash: .sha256, state: state, data: part)).result
        }
        return try guest.policy.call(
            HashCalls.Step.self, .init(hash: .sha256, state: state, data: parts.last ?? [], end: .init(ticket: end)))
    }

    private func sign(_ digest: [UInt8], _ ticket: Ticket) throws -> Signature {
        let parameters = UInt16(digest.count).wire + digest + scheme() + ticket.wire
        return try Signature(wire: try guest.use(key, .sign, parameters, .digest(proofDigest: hierarchy.proofDigest)))
    }

    @Test func aRestrictedKeySignsOnlyWhatTheCheckerHashed() throws {
        let hashed = try hash([[1, 2], [3, 4, 5]])
        #expect(hashed.result == digest(.sha256, [1, 2, 3, 4, 5]))
        let ticket = try #require(hashed.ticket)
        #expect(try key.area.verifies(try sign(hashed.result, ticket), hashed.result))

        let forged = Attestation.magic.wire + [0x80, 0x18]
        for parts in [[forged], [Array(forged.prefix(2)), Array(forged.dropFirst(2))], [[], forged]] {
            #expect(try hash(parts).ticket == nil)
        }
        let wrong = TPMRC.ticket.rawValue
        #expect(refusal { _ = try sign(digest(.sha256, forged), ticket) } == wrong)
        #expect(refusal { _ = try sign(digest(.sha256, forged), .null(StructureTag.hashCheck)) } == wrong)
        var changed = ticket
        changed.digest[0] ^= 1
        #expect(refusal { _ = try sign(hashed.result, changed) } == wrong)
        changed = ticket
        changed.hierarchy = .null
        #expect(refusal { _ = try sign(hashed.result, changed) } == wrong)
        let other = try GateGuest(bench, "other")
        let check = HashCalls.Check.Request(ticket: ticket, proofDigest: hierarchy.proofDigest, hash: .sha256, digest: hashed.result)
        _ = try guest.policy.call(HashCalls.Check.self, check)
        #expect(refusal { _ = try other.policy.call(HashCalls.Check.self, check) } == wrong)
        let state = try guest.policy.call(HashCalls.Step.self, .init(hash: .sha256, data: [1])).result
        #expect(refusal { _ = try other.policy.call(HashCalls.Step.self, .init(hash: .sha256, state: state, data: [])) } == notPermitted)
    }

    private var mark: [UInt8] { key.twin.gate?.mark ?? [] }

    /// A restricted key of the proxy's own making
    private func foreignKey() -> PublicArea { PublicArea.attestationKey.with(unique: .ecc(ECCKeyPair.generate(.p256).publicPoint)) }

    @Test func aKeyOfTheProxysOwnIsNotCertified() throws {
        func certify(_ object: NamedObject) throws -> [UInt8] {
            let names = [object.area?.name ?? [], key.area.name]
            return try guest.use(
                key, .certify, [0, 0] + scheme(), names: names,
                .attestation(circumstances, .certify(object, qualifiedName: [])))
        }
        #expect(try attested(try certify(NamedObject(area: key.area, mark: mark))).isSigned)
        #expect(refusal { _ = try certify(NamedObject(area: key.area, mark: [])) } == notPermitted)
        #expect(refusal { _ = try certify(NamedObject(area: foreignKey(), mark: mark)) } == notPermitted)
    }

    @Test(arguments: [TwinSpec.Kind.ecc(.p256), .rsa(bits: 2048, exponent: 0)])
    func aCredentialIsActivatedForKeysThatTheGateMade(kind: TwinSpec.Kind) throws {
        let aes = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)
        var area = PublicArea.ecc([.userWithAuth, .restricted, .decrypt])
        switch kind {
        case .rsa:
            area.parameters = .rsa(symmetric: aes, scheme: .null, keyBits: 2048, exponent: 0)
            area.unique = .rsa([])
        default: area.parameters = .ecc(symmetric: aes, scheme: .null, curve: .p256, kdf: .null)
        }
        let twin = try guest.device.call(DeviceCalls.Create.self, .init(spec: try #require(area.twinSpec(.used)), data: []))
        area.unique = twin.unique
        let storageKey = GatedObject(area: area, twin: twin)
        func activate(_ object: NamedObject, for name: [UInt8], with storageKey: GatedObject = storageKey) throws -> [UInt8] {
            let (seed, secret) = try area.shareSeed(for: .identity)
            let wrapper = try #require(OuterWrapper(protector: area, seed: seed, name: name))
            return try guest.policy.call(GateCalls.Activate.self, .init(
                key: storageKey, credential: wrapper.seal([0, 2, 5, 6]), secret: secret, object: object)).bytes
        }
        #expect(try activate(NamedObject(area: key.area, mark: mark), for: key.area.name) == [5, 6])
        let foreign = foreignKey()
        #expect(refusal { _ = try activate(NamedObject(area: foreign, mark: mark), for: foreign.name) } == notPermitted)
        let integrity = TPMRC.integrity.parameter(1).rawValue
        #expect(refusal { _ = try activate(NamedObject(area: key.area, mark: mark), for: foreign.name) } == integrity)
        var other = storageKey
        other.twin.spec.isStorageKey = false
        #expect(refusal { _ = try activate(NamedObject(area: key.area, mark: mark), for: key.area.name, with: other) } == CallStatus.malformed.rawValue)

        let handle = try guest.device.call(DeviceCalls.Load.self, twin)
        let (_, secret) = try area.shareSeed(for: .identity)
        let seed = DeviceCalls.RecoverSeed.Request(handle: handle, use: .identity, hash: .sha256, secret: secret)
        #expect(refusal { _ = try guest.device.call(DeviceCalls.RecoverSeed.self, seed) } == notPermitted)
        let raw = DeviceCalls.DecryptRSA.Request(handle: handle, cipherText: secret, scheme: .null, label: [])
        #expect(refusal { _ = try guest.device.call(DeviceCalls.DecryptRSA.self, raw) } == notPermitted)
    }

    @Test func thePlatformsSignalsAreNotAProxys() throws {
        func refuses<C: Call>(_ call: C.Type, _ request: C.Request, _ channels: Channel...) {
            for channel in channels { #expect(refusal { _ = try channel.call(call, request) } == notPermitted) }
        }
        refuses(PCRCalls.PowerOn.self, Nothing(), guest.pcr)
        refuses(PCRCalls.SetLocality.self, 4, guest.pcr)
        refuses(PCRCalls.HashStart.self, Nothing(), guest.pcr)
        refuses(PCRCalls.HashData.self, Blob([1]), guest.pcr)
        refuses(PCRCalls.HashEnd.self, Nothing(), guest.pcr)
        refuses(PCRCalls.ResetEstablished.self, 3, guest.pcr)
        refuses(PCRCalls.ForgetGuest.self, Blob(guest.id.bytes), guest.pcr)
        refuses(DeviceCalls.ForgetGuest.self, Blob(guest.id.bytes), guest.device)
        refuses(CarryCalls.GuestRoot.self, Blob(guest.id.bytes), guest.device)
        refuses(StatusCall.self, Nothing(), guest.device, guest.pcr, guest.policy)
        refuses(Introduction.Hello.self, .init(name: "one"), guest.device, guest.pcr, guest.policy)
        refuses(Introduction.OpenProxyChannel.self, Nothing(), guest.device, guest.pcr, guest.policy)
        #expect(refusal { _ = try guest.pcr.call(PCRCalls.Startup.self, .init(state: false)) } == TPMRC.initialize.rawValue)
    }
}
