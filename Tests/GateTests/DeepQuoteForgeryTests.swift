// What a taken-over proxy can try in order to get a deep quote of vPCRs that its guest does not have: with all channels that a proxy
// holds, and with keys of its own in the chip.
import Attestation
import CryptoBase
import IPC
import RunningService
import SystemMap
import TPMWire
import Testing
import Wire

private let time: Int64 = 1_795_392_000

@Suite(.serialized) struct DeepQuoteForgeryTests {
    private let bench: GateBench
    private let guest: GateGuest
    private let evidence: [UInt8]
    private let nonce = [UInt8](repeating: 9, count: 16)
    private let selection = [PCRSelection(.sha256, pcrs: [0, 7])]

    init() throws {
        bench = try GateBench()
        let device = try bench.directory.connect(.device)
        _ = try device.call(HostCalls.Initialize.self, Blob([]))
        evidence = try device.call(HostCalls.Evidence.self, Nothing()).bytes
        guest = try GateGuest(bench, "one")
        try guest.extend(0)
    }

    private var request: DeepQuoteRequest { get throws { try DeepQuoteRequest(nonce: nonce, selection: selection) } }
    private func bundle() throws -> [UInt8] { try guest.policy.call(DeepQuoteCalls.Own.self, Blob(try request.bytes)).bytes }
    private func verify(_ bundle: [UInt8]) -> DeepQuoteVerifier.Report {
        var verifier = DeepQuoteVerifier(nonce: nonce, time: time)
        verifier.guest = guest.id.bytes
        return verifier.verify(bundle, evidence: evidence, trust: .given)
    }

    /// vPCRs that never were: those of a guest that measured nothing.
    private let pristine = [UInt8](repeating: 0, count: 64)

    @Test func theVPCRsCannotBeTakenBack() throws {
        let genuine = verify(try bundle())
        #expect(genuine.holds && genuine.guestPCRs.values.contains { $0 != [UInt8](repeating: 0, count: 32) })
        #expect(refusal { _ = try guest.pcr.call(PCRCalls.ResetPCR.self, 0) } == TPMRC.locality.rawValue)
        #expect(refusal { _ = try guest.pcr.call(PCRCalls.Startup.self, .init(state: false)) } == TPMRC.initialize.rawValue)
        #expect(refusal { _ = try guest.pcr.call(PCRCalls.PowerOn.self, Nothing()) } == notPermitted)
        let event = FirstEvent(pcr: 7, digests: [])
        #expect(refusal { _ = try guest.pcr.call(PCRCalls.MeasuredPowerOn.self, event) } == notPermitted)
        #expect(refusal { _ = try guest.policy.call(HostBindingCalls.Event.self, Nothing()) } == notPermitted)
        // Only the door gives a boot, and then the bundle says so.
        _ = try guest.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try guest.pcr.call(PCRCalls.Startup.self, .init(state: false))
        #expect(try DeepQuote(try bundle()).bootCount == 2)
    }

    @Test func theHostsKeysSignForNoProxy() throws {
        let qualifyingData = DeepQuote.qualifyingData(guest: guest.id.bytes, request: try request, values: pristine, bootCount: 1)
        let quote = HostCalls.Quote.Request(qualifyingData: qualifyingData, selection: [PCRSelection(.sha256, pcrs: 0...7)])
        #expect(refusal { _ = try guest.device.call(HostCalls.Quote.self, quote) } == notPermitted)
        #expect(refusal { _ = try guest.device.call(HostCalls.Initialize.self, Blob([])) } == notPermitted)
        let activation = HostCalls.Activate.Request(blob: [0], encryptedSecret: [0], endorsementAuth: [])
        #expect(refusal { _ = try guest.device.call(HostCalls.Activate.self, activation) } == notPermitted)
        #expect(refusal { _ = try guest.device.call(CarryCalls.GuestRoot.self, Blob(guest.id.bytes)) } == notPermitted)
        let session = CarryCalls.StartSession.Request(nonceCaller: nonce, encryptedSalt: [0])
        #expect(refusal { _ = try guest.device.call(CarryCalls.StartSession.self, session) } == notPermitted)
        // paratpm-policy takes a proxy for no one else.
        let forAnother = DeepQuoteCalls.OfGuest.Request(guest: guest.id.bytes, name: try #require(GuestName("one")), request: try request.bytes)
        #expect(refusal { _ = try guest.policy.call(DeepQuoteCalls.OfGuest.self, forAnother) } == notPermitted)
    }

    /// A key of the guest's in the same chip signs a statement that says what the proxy likes.
    @Test func aKeyOfTheGuestsOwnDoesNotPassForTheHosts() throws {
        let genuine = try DeepQuote(try bundle())
        let spec = try #require(PublicArea.ecc([.userWithAuth, .sign]).twinSpec(.used))
        let twin = try guest.device.call(DeviceCalls.Create.self, .init(spec: spec, data: []))
        let handle = try guest.device.call(DeviceCalls.Load.self, twin)
        var statement = genuine.statement
        let claimed = DeepQuote.qualifyingData(guest: guest.id.bytes, request: try request, values: pristine, bootCount: genuine.bootCount)
        let genuineClaim = DeepQuote.qualifyingData(
            guest: guest.id.bytes, request: try request, values: genuine.values, bootCount: genuine.bootCount)
        let place = try #require(statement.indices.first { statement[$0...].starts(with: genuineClaim) })
        statement.replaceSubrange(place..<place + claimed.count, with: claimed)
        let signature = try guest.device.call(
            DeviceCalls.Sign.self, .init(handle: handle, digest: digest(.sha256, statement), scheme: Scheme(.ecdsa, .sha256)))
        let own = PublicArea.attestationKey.with(unique: twin.unique).wire
        for (key, link) in [(genuine.attestationKey, Link.Name.signature), (own, .bundle)] {
            let forged = DeepQuote(
                request: try request, guest: guest.id.bytes, bootCount: genuine.bootCount, values: pristine, hostValues: genuine.hostValues,
                statement: statement, signature: signature.wire, attestationKey: key, evidenceID: genuine.evidenceID)
            #expect(verify(forged.bytes).broken?.name == link)
        }
    }
}
