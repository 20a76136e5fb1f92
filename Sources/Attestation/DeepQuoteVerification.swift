// Whether a deep quote holds, link by link.
import AttestationFormats
import CryptoBase
import TPMCrypto
import TPMWire
import Wire

/// What a verifier knows and demands.
///
/// Make one with the nonce that was sent, set what else shall hold, and call `verify` with the bundle and the host's evidence:
///
///     var verifier = DeepQuoteVerifier(nonce: nonce, time: now)
///     verifier.hostPCRs = try PCRValues(text: expected)
///     let report = verifier.verify(bundle, evidence: evidence, trust: .pinned(name))
///     print(report.holds, report.proved, report.broken)
public struct DeepQuoteVerifier: Sendable {
    /// What the guest was asked with.
    public var nonce: [UInt8]
    /// The guest's identity that is expected, 32 bytes; nil: any, and the report says which.
    public var guest: [UInt8]?
    /// The guest's endorsement key certificate (DER), which must be the host's and name the guest.
    public var certificate: [UInt8]?
    /// The host's revocation list (DER): the guest's certificate must not be on it.
    public var revocationList: [UInt8]?
    /// Values that PCRs of the host must have; each must be quoted.
    public var hostPCRs: PCRValues = [:]
    /// Values that vPCRs must have; each must be quoted.
    public var guestPCRs: PCRValues = [:]
    /// Event logs of one boot, in the order in which they were begun; all quoted vPCRs must follow from them.
    public var eventLogs: [EventLog] = []
    /// Seconds since 1970, for the certificates' validity.
    public var time: Int64

    /// - Parameter time: now, in seconds since 1970.
    public init(nonce: [UInt8], time: Int64) {
        self.nonce = nonce
        self.time = time
    }

    /// What was found.
    public struct Report: Sendable {
        /// The links that hold, in order.
        public internal(set) var proved: [Link] = []
        /// The first one that does not; nothing behind it was checked.
        public internal(set) var broken: BrokenLink?
        /// The host's PCRs that were quoted. This and what follows means something only if `holds`.
        public internal(set) var hostPCRs: PCRValues = [:]
        /// The guest's vPCRs that were quoted.
        public internal(set) var guestPCRs: PCRValues = [:]
        /// The guest's identity.
        public internal(set) var guest: [UInt8] = []
        /// Whether every link holds.
        public var holds: Bool { broken == nil }
    }

    /// Checks the host's evidence, then a bundle. Never throws: what is wrong stands in the report.
    public func verify(_ bundle: [UInt8], evidence: [UInt8], trust: EndorsementTrust) -> Report {
        var links: [Link] = []
        do throws(BrokenLink) {
            let evidence = try Link.Name.evidence.check { () throws(FormatError) in try HostEvidence(evidence) }
            let host = try VerifiedHost(evidence, trust: trust, time: time) { links.append($0) }
            var report = verify(bundle, of: host)
            report.proved.insert(contentsOf: links, at: 0)
            return report
        } catch {
            return Report(proved: links, broken: error)
        }
    }

    /// Checks a bundle of a host whose evidence was found to hold.
    public func verify(_ bundle: [UInt8], of host: VerifiedHost) -> Report {
        var report = Report()
        do throws(BrokenLink) { try verify(bundle, host, &report) } catch { report.broken = error }
        return report
    }

    private func verify(_ bundle: [UInt8], _ host: VerifiedHost, _ report: inout Report) throws(BrokenLink) {
        let quote = try Link.Name.bundle.check { () throws(FormatError) in try DeepQuote(bundle) }
        try checkKeys(quote, host, &report)
        let selection = try checkStatement(quote, host, &report)
        guard quote.nonce == nonce else { throw BrokenLink(.nonce, "is not the one that was asked with: \(hexadecimal(quote.nonce))") }
        report.proved.append(Link(.nonce, "is the one that was asked with, so the quote was made after it"))
        try checkGuest(quote, host, &report)
        try checkHostPCRs(quote, selection, &report)
        try checkGuestPCRs(quote, &report)
    }

    private func checkKeys(_ quote: DeepQuote, _ host: VerifiedHost, _ report: inout Report) throws(BrokenLink) {
        guard quote.evidenceID == host.evidence.id else { throw BrokenLink(.bundle, "names the evidence of another host, or of another time") }
        guard quote.attestationKey == host.evidence.attestationKey else {
            throw BrokenLink(.bundle, "names another attestation key than the host's")
        }
        report.proved.append(Link(.bundle, "comes from this host (evidence \(hexadecimal(quote.evidenceID.prefix(8)))…)"))
    }

    /// - Returns: which PCRs of the host are quoted.
    private func checkStatement(
        _ quote: DeepQuote, _ host: VerifiedHost, _ report: inout Report
    ) throws(BrokenLink) -> [PCRSelection] {
        let signature = try Link.Name.signature.check { () throws(FormatError) in try Signature("the signature", quote.signature) }
        guard host.attestationKey.signed(quote.statement, signature), let hash = signature.hash else {
            throw BrokenLink(.signature, "is not the attestation key's")
        }
        let statement = try Link.Name.signature.check { () throws(FormatError) in try AttestStatement(quote.statement) }
        guard case .quote(let selection, let pcrDigest) = statement.attested, statement.qualifiedSigner == host.signerName else {
            throw BrokenLink(.signature, "is not over a quote by this key")
        }
        report.proved.append(Link(.signature, "is the attestation key's, over a quote that the chip made"))
        let expected = DeepQuote.qualifyingData(
            guest: quote.guest, request: try request(of: quote), values: quote.values, bootCount: quote.bootCount)
        guard statement.extraData == expected else {
            throw BrokenLink(.binding, "the quote was made for another guest, nonce, boot, or for other vPCRs")
        }
        report.proved.append(Link(.binding, "the quote was made for exactly this guest, nonce, boot and vPCRs"))
        guard digest(hash, quote.hostValues) == pcrDigest else { throw BrokenLink(.hostPCRs, "are not those that were quoted") }
        return selection
    }

    private func request(of quote: DeepQuote) throws(BrokenLink) -> DeepQuoteRequest {
        try Link.Name.bundle.check { () throws(FormatError) in try DeepQuoteRequest(nonce: quote.nonce, selection: quote.selection) }
    }

    private func checkGuest(_ quote: DeepQuote, _ host: VerifiedHost, _ report: inout Report) throws(BrokenLink) {
        if let guest, guest != quote.guest { throw BrokenLink(.guest, "is not the expected one, but \(hexadecimal(quote.guest))") }
        report.guest = quote.guest
        report.proved.append(Link(.guest, "is \(guest == nil ? "" : "the expected one, ")\(hexadecimal(quote.guest)), in boot \(quote.bootCount)"))
        guard let certificate else { return }
        let decoded = try Link.Name.certificate.check { () throws(FormatError) in
            let decoded = try Certificate(certificate)
            try decoded.check(at: time)
            return decoded
        }
        guard decoded.issuer == host.certificate.subject, decoded.isSigned(by: host.certificateKey) else {
            throw BrokenLink(.certificate, "was not signed by this host")
        }
        guard decoded.subjectSerialNumber == hexadecimal(quote.guest) else {
            throw BrokenLink(.certificate, "is another guest's")
        }
        if let revocationList {
            let list = try Link.Name.certificate.check { () throws(FormatError) in try RevocationList(revocationList) }
            guard list.isSigned(by: host.certificateKey) else { throw BrokenLink(.certificate, "the revocation list was not signed by this host") }
            guard list.isCurrent(at: time) else { throw BrokenLink(.certificate, "the revocation list is not valid at this time") }
            guard !list.serials.contains(decoded.serial) else { throw BrokenLink(.certificate, "is revoked") }
        }
        report.proved.append(Link(.certificate, "was signed by this host for this guest" + (revocationList == nil ? "" : ", and is not revoked")))
    }

    private func checkHostPCRs(_ quote: DeepQuote, _ selection: [PCRSelection], _ report: inout Report) throws(BrokenLink) {
        guard let values = PCRValues(quote.hostValues, selection) else { throw BrokenLink(.hostPCRs, "do not fit what was quoted") }
        report.hostPCRs = values
        try check(values, hostPCRs, .hostPCRs)
        let what = PCRChoice(selection).description
        report.proved.append(Link(.hostPCRs, hostPCRs.isEmpty ? "\(what) were quoted" : "\(what) were quoted and are as expected"))
    }

    private func checkGuestPCRs(_ quote: DeepQuote, _ report: inout Report) throws(BrokenLink) {
        let values = quote.guestPCRs
        report.guestPCRs = values
        try check(values, guestPCRs, .guestPCRs)
        let what = PCRChoice(quote.selection).description
        report.proved.append(Link(.guestPCRs, guestPCRs.isEmpty ? "\(what) were quoted" : "\(what) were quoted and are as expected"))
        guard !eventLogs.isEmpty else { return }
        let replayed = try Link.Name.eventLog.check { () throws(FormatError) in try EventLog.replay(eventLogs, banks: Set(values.keys.map(\.bank))) }
        for (index, value) in values.sorted(by: { $0.key < $1.key }) where replayed[index] != value {
            throw BrokenLink(.eventLog, "does not lead to \(index): it leads to \(hexadecimal(replayed[index] ?? []))")
        }
        let events = eventLogs.reduce(0) { $0 + $1.events.count }
        report.proved.append(Link(.eventLog, "leads in \(events) events to all of these vPCRs"))
        // Of PCRs that were not quoted, a guest that is not bound could claim anything.
        let bound = HostBinding.values(in: eventLogs, of: Set(values.keys.map(\.number))).filter { report.hostPCRs[$0.key] != nil }
        if !bound.isEmpty {
            try check(report.hostPCRs, bound, .eventLog)
            report.proved.append(Link(.eventLog, "begins with the host's PCRs \(PCRChoice.naming(bound.keys))"))
        }
    }

    private func check(_ values: PCRValues, _ expected: PCRValues, _ link: Link.Name) throws(BrokenLink) {
        for (index, value) in expected.sorted(by: { $0.key < $1.key }) where values[index] != value {
            guard let given = values[index] else { throw BrokenLink(link, "\(index) was not quoted") }
            throw BrokenLink(link, "\(index) is \(hexadecimal(given)), not \(hexadecimal(value))")
        }
    }
}
