// Deep quotes: the vPCRs come from paratpm-pcr and the signature from the chip, so a proxy can neither choose the values nor the guest.
import AttestationFormats
import CryptoBase
import Glibc
import GuestIdentity
import HostPolicy
import IPC
import SystemMap
import TPMWire
import Wire

/// What the policy says of a guest and its host.
package struct HostRule: Sendable, Equatable {
    /// The host's PCRs that deep quotes are over; none: no deep quotes.
    let quoted: [PCRSelection]
    /// The host's PCRs that are measured at each start; none: nothing is.
    let measured: [PCRSelection]
    /// The vPCR that they are measured into.
    let vpcr: UInt8

    /// The PCRs' SHA-256 bank, which every chip has.
    package init(_ policy: GuestPolicy) {
        func selections(_ pcrs: HostPCRs) -> [PCRSelection] { pcrs.isEmpty ? [] : [PCRSelection(.sha256, pcrs: pcrs.numbers)] }
        quoted = selections(policy.deepQuotePCRs)
        measured = selections(policy.hostBinding)
        vpcr = UInt8(clamping: policy.hostBindingVPCR)
    }

    /// Deep quotes that a guest may have right behind each other, and in a minute.
    package static let burst = 20
    package static let perMinute = 60
}

package final class DeepQuotes {
    private let vpcrs: VPCRReader
    private let device: HostKeys
    /// The rule for each guest, as the policy in force has it.
    private let rule: (KnownGuest) -> HostRule
    private var rates: [GuestID: Allowance] = [:]
    private var refusals = LogLimiter()
    private static let guestsMax = 4096

    package init(_ instance: Instance, _ vpcrs: VPCRReader, rule: @escaping (KnownGuest) -> HostRule) {
        self.vpcrs = vpcrs
        self.rule = rule
        device = HostKeys(instance)
    }

    /// What the guest's own proxy asks for.
    package func quote(_ request: [UInt8], for guest: KnownGuest) throws(CallStatus) -> [UInt8] {
        guard let request = try? DeepQuoteRequest(request) else { throw CallStatus(rawValue: TPMRC.value.rawValue) }
        let rule = rule(guest)
        guard !rule.quoted.isEmpty else {
            note("the policy does not allow it", guest)
            throw CallStatus(rawValue: TPMRC.disabled.rawValue)
        }
        guard spend(guest.id) else {
            note("more than \(HostRule.perMinute) in a minute", guest)
            throw CallStatus(rawValue: TPMRC.retry.rawValue)
        }
        do throws(CallStatus) { return try compose(request, guest.id, rule.quoted) } catch {
            if error.rawValue == TPMRC.disabled.rawValue {
                note("the host has no identity yet (paratpmctl host init)", guest)
            }
            throw error
        }
    }

    /// What an administrator asks for.
    package func quote(_ request: [UInt8], of guest: KnownGuest) throws(CallStatus) -> [UInt8] {
        guard let request = try? DeepQuoteRequest(request) else { throw .malformed }
        let allowed = rule(guest).quoted
        return try compose(request, guest.id, allowed.isEmpty ? HostRule(.builtIn).quoted : allowed)
    }

    /// What is measured into the guest's vPCRs before its TPM starts.
    package func firstEvent(of guest: KnownGuest) throws(CallStatus) -> HostBindingCalls.Event.Reply {
        let rule = rule(guest)
        guard !rule.measured.isEmpty else { return .nothing }
        var values: [UInt8] = []
        for selection in rule.measured { values += try device.ask(HostCalls.ReadPCRs.self, selection).bytes }
        let data = HostBinding.data(rule.measured, values)
        return HostBindingCalls.Event.Reply(
            event: .init(pcr: rule.vpcr, digests: HostBinding.digests(of: data)), log: HostBinding.log(vpcr: Int(rule.vpcr), data: data))
    }

    private func compose(_ request: DeepQuoteRequest, _ guest: GuestID, _ quoted: [PCRSelection]) throws(CallStatus) -> [UInt8] {
        let (values, bootCount) = try vpcrs.snapshot(guest, request.selection)
        let quote = try device.ask(HostCalls.Quote.self, .init(
            qualifyingData: DeepQuote.qualifyingData(guest: guest.bytes, request: request, values: values, bootCount: bootCount),
            selection: quoted))
        let bundle = DeepQuote(
            request: request, guest: guest.bytes, bootCount: bootCount, values: values, hostValues: quote.values,
            statement: quote.statement, signature: quote.signature.wire, attestationKey: quote.attestationKey.wire,
            evidenceID: quote.evidenceID
        ).bytes
        guard bundle.count <= NVPublic.dataMax else { throw CallStatus(rawValue: TPMRC.size.rawValue) }
        return bundle
    }

    // MARK: Rate

    private struct Allowance {
        var left: Int
        /// Milliseconds
        var at: Int
    }

    private func spend(_ guest: GuestID) -> Bool {
        let now = milliseconds()
        var allowance = allowance(guest, now)
        let earned = (now - allowance.at) * HostRule.perMinute / 60_000
        if earned > 0 {
            allowance.left = min(HostRule.burst, allowance.left + earned)
            allowance.at = now
        }
        let isGranted = allowance.left > 0
        if isGranted { allowance.left -= 1 }
        rates[guest] = allowance
        return isGranted
    }

    private func allowance(_ guest: GuestID, _ now: Int) -> Allowance {
        if let known = rates[guest] { return known }
        // One that has not asked for a minute starts as anew.
        if rates.count >= Self.guestsMax { rates = rates.filter { now - $0.value.at < 60_000 } }
        return Allowance(left: HostRule.burst, at: now)
    }

    private func note(_ why: String, _ guest: KnownGuest) {
        refusals.log(.warning, .policy, .deepQuoteRefused, guest: guest.name, [("why", why)])
    }
}

/// paratpm-policy's way to the host's keys and PCRs.
private final class HostKeys {
    /// Seconds that paratpm-device, which may wait for RSA key generation on a slow chip, may take.
    private static let patience = 300
    private let path: String
    private var channel: Channel?

    init(_ instance: Instance) { path = instance.socket(.device) }

    /// Asks; and once more on a new connection, in case paratpm-device was restarted since the last time.
    func ask<C: Call>(_ call: C.Type, _ request: C.Request) throws(CallStatus) -> C.Reply {
        if channel != nil, let reply = try attempt(call, request) { return reply }
        channel = try? Channel.connect(path, timeout: Self.patience)
        guard let reply = try attempt(call, request) else { throw .unavailable }
        return reply
    }

    /// nil: the connection is of no more use.
    private func attempt<C: Call>(_ call: C.Type, _ request: C.Request) throws(CallStatus) -> C.Reply? {
        do throws(IPCError) {
            return try channel?.call(call, request)
        } catch {
            if case .status(let status) = error { throw status }
            // A late reply must not answer a later question.
            channel = nil
            return nil
        }
    }
}
