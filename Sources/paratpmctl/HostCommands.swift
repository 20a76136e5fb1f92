// `paratpmctl host …`: the host's identity in its chip, and what verifiers are given of it.
import ArgumentParser
import Attestation
import CryptoBase
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire

private let noIdentity = "the host has no identity yet: paratpmctl host init makes it"

struct Host: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make, show and check the host's identity.",
        subcommands: [Initialize.self, Show.self, Enrol.self, Verify.self, Activate.self, PCRs.self, Certificate.self, Revocations.self, AuthorizeUpdate.self, SealGate.self])

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(commandName: "status", abstract: "Show the host's identity.")

        @OptionGroup var options: InstanceOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let lines = try options.instance.ask(.device, StatusCall.self, Nothing()).lines
            let evidence = try? options.instance.evidence()
            let host: [(String, String)] = evidence.map {
                [
                    ("identity", "made"), ("endorsement-key", $0.endorsementKeyName),
                    ("endorsement-certificate", $0.endorsementCertificate.isEmpty ? "none" : "yes"), ("evidence", hexadecimal($0.id)),
                ]
            } ?? [("identity", "none (paratpmctl host init)")]
            let all = host + lines.map { ($0.key, $0.value) }
            output.show(.object(all.map { ($0.0, .string($0.1)) })) { for (key, value) in all { print("\(key): \(value)") } }
        }
    }

    struct Enrol: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Write the evidence that a verifier keeps of this host.")

        @OptionGroup var options: InstanceOptions
        @OptionGroup var output: FileOutputOptions

        func run() throws {
            let evidence = try options.instance.evidence()
            try output.write(evidence.bytes, [
                ("endorsement-key", .string(evidence.endorsementKeyName)), ("evidence", .string(hexadecimal(evidence.id))),
            ])
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a host's evidence, without the host.",
            discussion: "Prints every link that holds, and the first that does not. Exit status: 0 when all hold, 65 otherwise.")

        @Argument(help: ArgumentHelp("What paratpmctl host enrol wrote.", valueName: "evidence")) var file: String
        @OptionGroup var trust: TrustOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let evidence = try decode(file) { (bytes) throws(FormatError) in try HostEvidence(bytes) }
            var links: [Link] = []
            var broken: BrokenLink?
            let trust = try trust.trust
            do throws(BrokenLink) {
                _ = try VerifiedHost(evidence, trust: trust, time: currentTime()) { links.append($0) }
            } catch { broken = error }
            try show(links, broken, json: output.json, [("evidence", .string(hexadecimal(evidence.id)))])
        }
    }

    struct Activate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Answer a verifier's challenge, which only this chip can.",
            discussion: "The verifier makes the challenge with paratpmctl attest challenge, and knows the answer.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: ArgumentHelp("The challenge.", valueName: "file")) var file: String
        @Option(help: ArgumentHelp("The auth of the chip's endorsement hierarchy, where it has one.", valueName: "file"))
        var endorsementAuthFile: String?
        @OptionGroup var output: OutputOptions

        func run() throws {
            let challenge = try decode(file) { (bytes) throws(FormatError) in try HostChallenge(bytes) }
            let answer = try options.instance.ask(.device, HostCalls.Activate.self, .init(
                blob: challenge.blob, encryptedSecret: challenge.encryptedSecret, endorsementAuth: try readAuth(endorsementAuthFile)))
            output.show(.object([("answer", .string(hexadecimal(answer.bytes)))])) { print(hexadecimal(answer.bytes)) }
        }
    }

    struct PCRs: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "pcrs", abstract: "Print the host's PCRs, as tpm2_pcrread does: what attest verify takes with --host-pcrs.")

        @OptionGroup var options: InstanceOptions
        @Option(help: "Which: sha256:0,1,7 and the like.")
        var pcrs = PCRChoice.firmware
        @OptionGroup var output: OutputOptions

        func run() throws {
            var values: PCRValues = [:]
            for selection in pcrs.selections {
                let bytes = try options.instance.ask(.device, HostCalls.ReadPCRs.self, selection).bytes
                guard let read = PCRValues(bytes, [selection]) else { throw Failure(.unavailable, "paratpm-device: the values do not fit the PCRs") }
                values.merge(read) { $1 }
            }
            output.show(JSON(values)) { print(values.text, terminator: "") }
        }
    }

    struct Certificate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the host's certificate (PEM), with which openssl verify checks those of its guests.")

        @OptionGroup var options: InstanceOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let certificate = PEM.text("CERTIFICATE", try options.instance.evidence().hostCertificate)
            output.show(.object([("certificate", .string(certificate))])) { print(certificate, terminator: "") }
        }
    }

    struct Revocations: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print a revocation list of the guests' certificates, signed now (PEM).")

        @OptionGroup var options: InstanceOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            _ = try options.instance.ask(.device, HostCalls.RevocationList.self, Nothing(), explained: [.unavailable: noIdentity])
            guard let list = try Files.read(options.instance.revocationList, max: 32 << 20) else {
                throw Failure(.noInput, "\(options.instance.revocationList) is missing")
            }
            let text = PEM.text("X509 CRL", list)
            output.show(.object([("revocations", .string(text))])) { print(text, terminator: "") }
        }
    }
}

/// Why the endorsement key is trusted.
struct TrustOptions: ParsableArguments {
    @Option(help: ArgumentHelp(
        "Certificates of the chip's maker, PEM or DER: roots, and those in between. Repeatable.", valueName: "file"))
    var ekRoots: [String] = []
    @Option(help: ArgumentHelp("The Name of the chip's endorsement key, as host init and host status print it.", valueName: "hex"))
    var ekPin: String?

    func validate() throws {
        guard ekRoots.isEmpty || ekPin == nil else { throw ValidationError("--ek-roots and --ek-pin exclude each other.") }
    }

    var trust: EndorsementTrust {
        get throws(Failure) {
            if let ekPin { return .pinned(ekPin) }
            guard !ekRoots.isEmpty else { return .given }
            var roots: [[UInt8]] = []
            for path in ekRoots { roots += try decode(path) { (bytes) throws(FormatError) in try PEM.objects(bytes) } }
            return .roots(roots)
        }
    }
}

extension PCRChoice {
    /// What the firmware and the boot loader are measured into.
    static var firmware: PCRChoice { PCRChoice([PCRSelection(.sha256, pcrs: 0...7)]) }
}

extension Instance {
    func evidence() throws(Failure) -> HostEvidence {
        let bytes = try ask(.device, HostCalls.Evidence.self, Nothing(), explained: [.unavailable: noIdentity]).bytes
        do throws(FormatError) { return try HostEvidence(bytes) } catch { throw Failure(.dataError, "paratpm-device: \(error)") }
    }
}

/// Prints what was proved, line by line, and what was not.
func show(_ proved: [Link], _ broken: BrokenLink?, json: Bool, _ fields: [(String, JSON)] = []) throws {
    if json {
        let links = proved.map { JSON.object([("link", .string($0.name.rawValue)), ("proves", .string($0.statement))]) }
        let failure = broken.map { [("broken", JSON.object([("link", .string($0.name.rawValue)), ("reason", .string($0.reason))]))] } ?? []
        print(JSON.object([("holds", .bool(broken == nil)), ("proved", .array(links))] + failure + fields))
    } else {
        for link in proved { print("ok      \(link)") }
        if let broken { print("BROKEN  \(broken)") }
    }
    if broken != nil { throw ArgumentParser.ExitCode(GuestIdentity.ExitCode.dataError.rawValue) }
}
