// Deep quotes: the vPCRs come from paratpm-pcr and the signature from the chip, so a proxy can neither choose the values nor the guest.
import Attestation
import CryptoBase
import Glibc
import GuestIdentity
import HostPolicy
import IPC
import SystemMap
import TPMWire
import Wire

/// What the policy says of a guest's deep quotes.
package struct DeepQuoteRule: Sendable, Equatable {
    package var isAllowed = true
    /// The host's PCRs that are quoted.
    package var hostPCRs = [PCRSelection(.sha256, pcrs: 0...7)]
    /// How many a guest may have one right behind the other, and how many in a minute.
    package var burst = 20
    package var perMinute = 60
    package init() {}

    /// As the administrator's policy has it.
    init(_ policy: GuestPolicy) {
        isAllowed = !policy.deepQuotePCRs.isEmpty
        hostPCRs = [PCRSelection(.sha256, pcrs: policy.deepQuotePCRs.numbers)]
    }
}

package final class DeepQuotes {
    private let vpcrs: VPCRReader
    private let device: HostKeys
    /// The rule for each guest, as the policy in force has it.
    package var rule: (KnownGuest) -> DeepQuoteRule = { _ in DeepQuoteRule() }
    private var rates: [GuestID: Allowance] = [:]
    private static let guestsMax = 4096

    package init(_ instance: Instance, _ vpcrs: VPCRReader) {
        self.vpcrs = vpcrs
        device = HostKeys(instance)
    }

    /// What the guest's own proxy asks for.
    package func quote(_ request: [UInt8], for guest: KnownGuest) throws(CallStatus) -> [UInt8] {
        guard let request = try? DeepQuoteRequest(request) else { throw CallStatus(rawValue: TPMRC.value.rawValue) }
        let rule = rule(guest)
        guard rule.isAllowed else {
            note("the policy does not allow guest \(guest.name) a deep quote", guest.id)
            throw CallStatus(rawValue: TPMRC.disabled.rawValue)
        }
        guard spend(guest.id, rule) else {
            note("guest \(guest.name) asks for more than \(rule.perMinute) deep quotes in a minute", guest.id)
            throw CallStatus(rawValue: TPMRC.retry.rawValue)
        }
        do throws(CallStatus) { return try compose(request, guest.id, rule) } catch {
            if error.rawValue == TPMRC.disabled.rawValue {
                note("there is no deep quote for guest \(guest.name): the host has no identity yet (paratpmctl host init)", guest.id)
            }
            throw error
        }
    }

    /// What an administrator asks for.
    package func quote(_ request: [UInt8], of guest: GuestID) throws(CallStatus) -> [UInt8] {
        guard let request = try? DeepQuoteRequest(request) else { throw .malformed }
        return try compose(request, guest, DeepQuoteRule())
    }

    private func compose(_ request: DeepQuoteRequest, _ guest: GuestID, _ rule: DeepQuoteRule) throws(CallStatus) -> [UInt8] {
        let (values, bootCount) = try vpcrs.snapshot(guest, request.selection)
        let quote = try device.quote(.init(
            qualifyingData: DeepQuote.qualifyingData(guest: guest.bytes, request: request, values: values, bootCount: bootCount),
            selection: rule.hostPCRs))
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
        var notedAt: Int?
    }

    private func spend(_ guest: GuestID, _ rule: DeepQuoteRule) -> Bool {
        let now = milliseconds()
        var allowance = allowance(guest, rule, now)
        let earned = (now - allowance.at) * rule.perMinute / 60_000
        if earned > 0 {
            allowance.left = min(rule.burst, allowance.left + earned)
            allowance.at = now
        }
        let isGranted = allowance.left > 0
        if isGranted { allowance.left -= 1 }
        rates[guest] = allowance
        return isGranted
    }

    private func allowance(_ guest: GuestID, _ rule: DeepQuoteRule, _ now: Int) -> Allowance {
        if let known = rates[guest] { return known }
        // One that has not asked for a minute starts as anew.
        if rates.count >= Self.guestsMax { rates = rates.filter { now - $0.value.at < 60_000 } }
        return Allowance(left: rule.burst, at: now)
    }

    /// A guest that asks again and again shall not fill the log.
    private func note(_ why: String, _ guest: GuestID) {
        let now = milliseconds()
        var allowance = allowance(guest, DeepQuoteRule(), now)
        if let last = allowance.notedAt, now - last < 10_000 { return }
        allowance.notedAt = now
        rates[guest] = allowance
        log(.warning, .policy, why)
    }

    private func milliseconds() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}

/// paratpm-policy's way to the host's attestation key.
private final class HostKeys {
    /// Seconds that paratpm-device, which may wait for RSA key generation on a slow chip, may take.
    private static let patience = 300
    private let path: String
    private var channel: Channel?

    init(_ instance: Instance) { path = instance.socket(.device) }

    /// Asks; and once more on a new connection, in case paratpm-device was restarted since the last time.
    func quote(_ request: HostCalls.Quote.Request) throws(CallStatus) -> HostCalls.Quote.Reply {
        if channel != nil, let reply = try attempt(request) { return reply }
        channel = try? Channel.connect(path, timeout: Self.patience)
        guard let reply = try attempt(request) else { throw .unavailable }
        return reply
    }

    /// nil: the connection is of no more use.
    private func attempt(_ request: HostCalls.Quote.Request) throws(CallStatus) -> HostCalls.Quote.Reply? {
        do throws(IPCError) {
            return try channel?.call(HostCalls.Quote.self, request)
        } catch {
            if case .status(let status) = error { throw status }
            // A late reply must not answer a later question.
            channel = nil
            return nil
        }
    }
}
