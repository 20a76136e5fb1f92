// `paratpmctl quote` on a host, and `paratpmctl attest …` where a verifier is.
import ArgumentParser
import Attestation
import CryptoBase
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire

struct Quote: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Get a deep quote of a guest: its vPCRs and the host's PCRs under one signature of the chip.",
        discussion: "A guest gets its own with tpm2_nvwrite and tpm2_nvread; see docs/attestation.md.")

    @OptionGroup var options: InstanceOptions
    @Argument(help: "The guest's name.") var name: GuestName
    @Option(help: "The verifier's nonce: 1 to 64 bytes in hexadecimal.")
    var nonce: Nonce
    @Option(help: "The guest's vPCRs: sha256:0,1,7 and the like.")
    var pcrs = PCRChoice.firmware
    @OptionGroup var output: FileOutputOptions

    func run() throws {
        let instance = options.instance
        let guest = try instance.guest(name)
        let request = try DeepQuoteRequest(nonce: nonce.bytes, pcrs: pcrs)
        let bundle = try instance.ask(
            .policy, DeepQuoteCalls.OfGuest.self, .init(guest: guest.bytes, name: name, request: request.bytes),
            explained: [
                CallStatus(rawValue: TPMRC.disabled.rawValue): "the host has no identity yet: paratpmctl host init makes it",
                CallStatus(rawValue: TPMRC.initialize.rawValue): "\(name) is not started",
                .unavailable: "\(name) is not running, or the chip does not answer",
            ])
        try output.write(bundle.bytes, [("guest", .string(name.text)), ("pcrs", .string(pcrs.description))])
    }
}

struct Attest: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask for deep quotes, and check them. Needs no broker.", subcommands: [Request.self, Challenge.self, Verify.self])

    struct Request: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write what a guest asks with: tpm2_nvwrite it to NV index 0x10a5000, then read 0x10a5001.")

        @Option(help: "The verifier's nonce: 1 to 64 bytes in hexadecimal.")
        var nonce: Nonce
        @Option(help: "The guest's vPCRs: sha256:0,1,7 and the like.")
        var pcrs = PCRChoice.firmware
        @OptionGroup var output: FileOutputOptions

        func run() throws {
            try output.write(try DeepQuoteRequest(nonce: nonce.bytes, pcrs: pcrs).bytes, [("pcrs", .string(pcrs.description))])
        }
    }

    struct Challenge: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a challenge that only the chip of a host's evidence can answer, and print the answer.",
            discussion: "Give the challenge to the host, which answers with paratpmctl host activate; keep the answer to yourself.")

        @Argument(help: ArgumentHelp("What paratpmctl host enrol wrote.", valueName: "evidence")) var file: String
        @Option(help: ArgumentHelp("Where to write the challenge.", valueName: "file"))
        var out: String
        @OptionGroup var output: OutputOptions

        func run() throws {
            let made = try decode(file) { (bytes) throws(FormatError) in try HostChallenge.make(for: try HostEvidence(bytes)) }
            try Files.write(out, made.challenge.bytes, mode: 0o644, replacing: true)
            let answer = hexadecimal(made.answer)
            output.show(.object([("file", .string(out)), ("answer", .string(answer))])) { print(answer) }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a deep quote: every link from the chip's endorsement key to the guest's vPCRs.",
            discussion: "Prints what is proved, line by line, or the first link that fails. Exit status: 0 when all hold, 65 otherwise.")

        @Argument(help: "The deep quote.") var bundle: String
        @Option(help: "The nonce that was asked with.")
        var nonce: Nonce
        @Option(help: ArgumentHelp("What paratpmctl host enrol wrote.", valueName: "file"))
        var hostEvidence: String
        @OptionGroup var trust: TrustOptions
        @Option(help: ArgumentHelp("The guest's id, as paratpmctl guest list shows it.", valueName: "hex"))
        var guest: String?
        @Option(help: ArgumentHelp("The guest's endorsement key certificate, PEM or DER.", valueName: "file"))
        var certificate: String?
        @Option(help: ArgumentHelp("The host's revocation list, PEM or DER.", valueName: "file"))
        var revocations: String?
        @Option(help: ArgumentHelp("PCRs that the host must have, as tpm2_pcrread prints them.", valueName: "file"))
        var hostPcrs: String?
        @Option(help: ArgumentHelp("vPCRs that the guest must have, as tpm2_pcrread prints them.", valueName: "file"))
        var guestPcrs: String?
        @Option(help: ArgumentHelp(
            "The guest's event log, from which all quoted vPCRs must follow: the firmware's, or IMA's. Repeatable, in order.",
            valueName: "file"))
        var eventLog: [String] = []
        @OptionGroup var output: OutputOptions

        func run() throws {
            let report = try verifier().verify(
                try readInput(bundle, max: DeepQuote.largest), evidence: try readInput(hostEvidence, max: HostEvidence.largest),
                trust: try trust.trust)
            let values = report.holds
                ? [
                    ("guest", JSON.string(hexadecimal(report.guest))), ("hostPCRs", Self.json(report.hostPCRs)),
                    ("guestPCRs", Self.json(report.guestPCRs)),
                ] : []
            try show(report.proved, report.broken, json: output.json, values)
        }

        private func verifier() throws -> DeepQuoteVerifier {
            var verifier = DeepQuoteVerifier(nonce: nonce.bytes, time: currentTime())
            if let guest {
                guard let id = hexadecimalBytes(guest), id.count == DeepQuote.idSize else {
                    throw Failure(.usage, "--guest takes the \(2 * DeepQuote.idSize) digits that paratpmctl guest list shows")
                }
                verifier.guest = id
            }
            verifier.certificate = try certificate.map(Self.object)
            verifier.revocationList = try revocations.map(Self.object)
            if let hostPcrs { verifier.hostPCRs = try Self.values(hostPcrs) }
            if let guestPcrs { verifier.guestPCRs = try Self.values(guestPcrs) }
            verifier.eventLogs = try eventLog.map { path in try decode(path) { (bytes) throws(FormatError) in try EventLog(bytes) } }
            return verifier
        }

        private static func object(_ path: String) throws(Failure) -> [UInt8] {
            let objects = try decode(path) { (bytes) throws(FormatError) in try PEM.objects(bytes) }
            guard objects.count == 1 else { throw Failure(.dataError, "\(path) holds \(objects.count) objects, not one") }
            return objects[0]
        }

        private static func values(_ path: String) throws(Failure) -> PCRValues {
            let values = try decode(path) { (bytes) throws(FormatError) in try PCRValues(text: String(decoding: bytes, as: UTF8.self)) }
            guard !values.isEmpty else { throw Failure(.dataError, "\(path) names no PCR") }
            return values
        }

        private static func json(_ values: PCRValues) -> JSON {
            .object(values.sorted { $0.key < $1.key }.map { ($0.key.description, .string(hexadecimal($0.value))) })
        }
    }
}

extension Instance {
    /// The id of a guest that is there.
    func guest(_ name: GuestName) throws(Failure) -> GuestID {
        guard let registration = try GuestEnrolment.load(name, self) else {
            throw Failure(.noInput, "there is no guest \(name) (\(registration(name)))")
        }
        return registration.guest
    }
}
