// Deep quotes from the services themselves, asked for by a guest's own proxy, honest or not.
import Attestation
import CryptoBase
import GuestIdentity
import HostPolicy
import IPC
import RunningService
import SystemMap
import TPMWire
import Testing
import Wire

@testable import PolicyChecker

private let time: Int64 = 1_795_392_000

@Suite(.serialized) struct DeepQuoteServiceTests {
    private let bench: GateBench
    private let guest: TestGuest
    private let pcrs: Channel
    private let nonce = [UInt8](repeating: 9, count: 16)
    private let evidence: [UInt8]

    init() throws {
        bench = try GateBench()
        guest = try bench.directory.addGuest("one")
        let device = try bench.directory.connect(.device)
        _ = try device.call(HostCalls.Initialize.self, Blob([]))
        evidence = try device.call(HostCalls.Evidence.self, Nothing()).bytes
        let door = try guest.door(.pcr)
        _ = try door.call(PCRCalls.PowerOn.self, Nothing())
        pcrs = try guest.proxy(.pcr).channel
        _ = try pcrs.call(PCRCalls.Startup.self, .init(state: false))
    }

    private var request: Blob {
        get throws { Blob(try DeepQuoteRequest(nonce: nonce, pcrs: PCRChoice("sha256:0,16")).bytes) }
    }
    private func verify(_ bundle: [UInt8], guest: GuestID) -> DeepQuoteVerifier.Report {
        var verifier = DeepQuoteVerifier(nonce: nonce, time: time)
        verifier.guest = guest.bytes
        return verifier.verify(bundle, evidence: evidence, trust: .given)
    }

    /// Deep quotes under another policy than the built-in one.
    private func quotes(_ change: (inout GuestPolicy) -> Void) -> DeepQuotes {
        var policy = GuestPolicy.builtIn
        change(&policy)
        let rule = HostRule(policy)
        return DeepQuotes(bench.directory.instance, VPCRReader(bench.directory.instance)) { _ in rule }
    }

    @Test func aProxyGetsWhatItsGuestsVPCRsAre() throws {
        let proxy = try guest.proxy(.policy).channel
        let before = try proxy.call(DeepQuoteCalls.Own.self, request).bytes
        #expect(verify(before, guest: guest.id).guestPCRs[PCRIndex(.sha256, 16)] == [UInt8](repeating: 0, count: 32))
        let measured = digest(.sha256, [1])
        _ = try pcrs.call(PCRCalls.Extend.self, .init(pcr: 16, digests: [TaggedDigest(.sha256, measured)]))
        let report = verify(try proxy.call(DeepQuoteCalls.Own.self, request).bytes, guest: guest.id)
        #expect(report.holds)
        #expect(report.guestPCRs[PCRIndex(.sha256, 16)] == digest(.sha256, [UInt8](repeating: 0, count: 32), measured))
    }

    @Test func aHostileProxyCannotSpeakForOthersNorForTheHost() throws {
        let other = try bench.directory.addGuest("two")
        let proxy = try guest.proxy(.policy).channel
        #expect(!verify(try proxy.call(DeepQuoteCalls.Own.self, request).bytes, guest: other.id).holds)
        #expect(throws: IPCError.status(.notPermitted)) {
            try proxy.call(DeepQuoteCalls.OfGuest.self, .init(guest: other.id.bytes, name: other.name, request: try request.bytes))
        }
        // With the genuine statement it cannot claim other values, another nonce or another boot.
        let genuine = try DeepQuote(try proxy.call(DeepQuoteCalls.Own.self, request).bytes)
        let otherNonce = try DeepQuoteRequest(nonce: [1], pcrs: PCRChoice("sha256:0,16"))
        let own = try DeepQuoteRequest(nonce: nonce, pcrs: PCRChoice("sha256:0,16"))
        let claims: [(DeepQuoteRequest, [UInt8], UInt64)] = [
            (own, [UInt8](repeating: 0xEE, count: 64), genuine.bootCount), (otherNonce, genuine.values, genuine.bootCount),
            (own, genuine.values, genuine.bootCount + 1),
        ]
        for (request, values, boot) in claims {
            let forged = DeepQuote(
                request: request, guest: guest.id.bytes, bootCount: boot, values: values, hostValues: genuine.hostValues,
                statement: genuine.statement, signature: genuine.signature, attestationKey: genuine.attestationKey,
                evidenceID: genuine.evidenceID)
            var verifier = DeepQuoteVerifier(nonce: request.nonce, time: time)
            verifier.guest = guest.id.bytes
            #expect(verifier.verify(forged.bytes, evidence: evidence, trust: .given).broken?.name == .binding)
        }
    }

    @Test func theAdministratorAsksForAGuest() throws {
        let admin = try bench.directory.connect(.policy)
        let bundle = try admin.call(DeepQuoteCalls.OfGuest.self, .init(guest: guest.id.bytes, name: guest.name, request: try request.bytes)).bytes
        #expect(verify(bundle, guest: guest.id).holds)
        #expect(throws: IPCError.status(.notPermitted)) { try admin.call(DeepQuoteCalls.Own.self, request) }
        let unknown = [UInt8](repeating: 0, count: 32)
        #expect(throws: IPCError.status(.unavailable)) {
            try admin.call(DeepQuoteCalls.OfGuest.self, .init(guest: unknown, name: guest.name, request: try request.bytes))
        }
    }

    @Test func whatIsNoRequestIsRefused() throws {
        let proxy = try guest.proxy(.policy).channel
        for bytes in [[], [0, 0, 0, 0, 0, 0], try request.bytes + [0], [0, 1, 7, 0, 0, 0, 1, 0, 0x12, 3, 1, 0, 0]] as [[UInt8]] {
            #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.value.rawValue))) {
                try proxy.call(DeepQuoteCalls.Own.self, Blob(bytes))
            }
        }
    }

    @Test func aGuestThatTheServiceDoesNotKnowAsStartedGetsNone() throws {
        let door = try guest.door(.pcr)
        _ = try door.call(PCRCalls.PowerOn.self, Nothing())
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.initialize.rawValue))) {
            try guest.proxy(.policy).channel.call(DeepQuoteCalls.Own.self, request)
        }
    }

    @Test func aFloodIsSlowedDownAndAnotherGuestIsNot() throws {
        let proxy = try guest.proxy(.policy).channel
        var refused = 0
        for _ in 0..<HostRule.burst + 5 {
            do throws(IPCError) { _ = try proxy.call(DeepQuoteCalls.Own.self, try! request) } catch {
                #expect(error == .status(CallStatus(rawValue: TPMRC.retry.rawValue)))
                refused += 1
            }
        }
        #expect(refused > 0)
        let other = try bench.directory.addGuest("two")
        _ = try other.door(.pcr).call(PCRCalls.PowerOn.self, Nothing())
        _ = try other.proxy(.pcr).channel.call(PCRCalls.Startup.self, .init(state: false))
        _ = try other.proxy(.policy).channel.call(DeepQuoteCalls.Own.self, request)
    }

    @Test func aGuestThatMayNotHasNone() throws {
        let quotes = quotes { $0.deepQuotePCRs = .none }
        let known = KnownGuest(id: guest.id, name: guest.name)
        #expect(throws: CallStatus(rawValue: TPMRC.disabled.rawValue)) { try quotes.quote(try request.bytes, for: known) }
    }

    @Test func whatTheHostIsIsMeasuredBeforeAnythingElse() throws {
        let known = KnownGuest(id: guest.id, name: guest.name)
        #expect(try quotes { _ in }.firstEvent(of: known).event == nil)
        let event = try quotes { $0.hostBinding = HostPCRs([0, 7]) }.firstEvent(of: known)
        let door = try guest.door(.pcr)
        let first = try #require(event.event)
        _ = try door.call(PCRCalls.MeasuredPowerOn.self, first)
        _ = try pcrs.call(PCRCalls.Startup.self, .init(state: false))
        let request = Blob(try DeepQuoteRequest(nonce: nonce, pcrs: PCRChoice("sha256:14+sha384:14")).bytes)
        let bundle = try guest.proxy(.policy).channel.call(DeepQuoteCalls.Own.self, request).bytes
        var verifier = DeepQuoteVerifier(nonce: nonce, time: time)
        verifier.eventLogs = [try EventLog(event.log)]
        let report = verifier.verify(bundle, evidence: evidence, trust: .given)
        #expect(report.broken == nil)
        #expect(report.proved.last?.statement == "begins with the host's PCRs sha256:0,7")
        // Once for each boot, and only as a door says.
        _ = try door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try pcrs.call(PCRCalls.Startup.self, .init(state: false))
        let next = verifier.verify(try guest.proxy(.policy).channel.call(DeepQuoteCalls.Own.self, request).bytes, evidence: evidence, trust: .given)
        #expect(next.guestPCRs[PCRIndex(.sha256, 14)] == [UInt8](repeating: 0, count: 32))
        #expect(throws: IPCError.status(.notPermitted)) { try pcrs.call(PCRCalls.MeasuredPowerOn.self, first) }
        #expect(try guest.door(.policy).call(HostBindingCalls.Event.self, Nothing()).event == nil)
    }

    @Test func withoutAnIdentityThereIsNoQuote() throws {
        let bare = try GateBench()
        let guest = try bare.directory.addGuest("one")
        _ = try guest.door(.pcr).call(PCRCalls.PowerOn.self, Nothing())
        _ = try guest.proxy(.pcr).channel.call(PCRCalls.Startup.self, .init(state: false))
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.disabled.rawValue))) {
            try guest.proxy(.policy).channel.call(DeepQuoteCalls.Own.self, request)
        }
    }
}
