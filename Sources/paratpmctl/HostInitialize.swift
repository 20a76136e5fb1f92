// `paratpmctl host init`: what a host needs before it serves guests, made in its chip: the gate secret and the host's own keys.
import ArgumentParser
import Attestation
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire

extension Host {
    struct Initialize: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "init",
            abstract: "Make the gate secret, and the host's attestation key and certificate key, in the chip.",
            discussion: """
                Without the gate secret guests have no policy sessions, and no keys that need them; with it they have, at once. \
                Nothing but the host root stays in the chip. What is there already stays as it is.
                """)

        @OptionGroup var options: InstanceOptions
        @Option(help: "Seal the gate secret under these of the host's PCRs, as they are now: sha256:0,2,4,7 and the like. See host seal-gate.")
        var pcrs: PCRChoice?
        @Option(help: ArgumentHelp("The auth of the chip's endorsement hierarchy, where it has one.", valueName: "file"))
        var endorsementAuthFile: String?
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            let gate = try instance.initializeGate(under: pcrs)
            let former = try? instance.evidence().id
            _ = try instance.ask(.device, HostCalls.Initialize.self, Blob(try readAuth(endorsementAuthFile)))
            let evidence = try instance.evidence()
            let isSame = former == evidence.id
            let results = [
                ("gate-secret", gate.outcome.rawValue), ("gate-pcrs", gate.pcrs), ("identity", isSame ? "kept" : "made"),
                ("endorsement-key", evidence.endorsementKeyName), ("evidence", hexadecimal(evidence.id)),
            ]
            output.show(.object(results.map { ($0.0, .string($0.1)) })) {
                for (key, value) in results { print("\(key.replacing("-", with: " ")): \(value)") }
                if isSame && gate.outcome == .kept { print("nothing was changed: all of it was there") }
            }
        }
    }
}

/// What `host init` did for the gate secret.
enum GateOutcome: String {
    case made, kept
    /// It was on disk already, and paratpm-policy had not heard of it: its maker was interrupted, or a backup restored.
    case taken = "taken into use"
    /// It was in use, and its record was gone.
    case rewritten = "written again"

    init(wasOnDisk: Bool, wasInUse: Bool) {
        self = switch (wasOnDisk, wasInUse) {
        case (true, true): .kept
        case (true, false): .taken
        case (false, true): .rewritten
        case (false, false): .made
        }
    }
}

extension Instance {
    /// Sees to it that the instance has a gate secret, that its record is on disk, and then that paratpm-policy uses it.
    /// - Parameter choice: the host's PCRs to seal it under, where it is made now; if there is one already, it must be sealed so.
    /// - Returns: with the host's PCRs that it is sealed under.
    func initializeGate(under choice: PCRChoice? = nil) throws(Failure) -> (outcome: GateOutcome, pcrs: String) {
        let kept = try Files.read(gateRecord, max: GateSealCalls.recordMax)
        let record = if let kept { kept } else { try makeGateRecord(under: choice) }
        let opened = try ask(.policy, GateSealCalls.Open.self, Blob(record), explained: [
            .malformed: "\(gateRecord) is damaged; it was left alone. Without it nothing that guests had gated can be used",
            .notPermitted: "\(gateRecord) holds another gate secret than the one in use: restore the file, or restart paratpm-policy",
            GateSealCalls.otherBoot: "the host booted otherwise than when the gate secret was sealed under its PCRs",
        ])
        let pcrs = opened.selection.isEmpty ? "none" : PCRChoice(opened.selection).description
        if let choice, Set(choice.selections) != Set(opened.selection) {
            throw Failure(.config, "the gate secret is there already, sealed under the host's PCRs \(pcrs): paratpmctl host seal-gate seals it anew")
        }
        return (GateOutcome(wasOnDisk: kept != nil, wasInUse: !opened.isNew), pcrs)
    }

    private func makeGateRecord(under choice: PCRChoice?) throws(Failure) -> [UInt8] {
        let record = try ask(.policy, GateSealCalls.Seal.self, .init(selection: choice?.selections ?? [])).bytes
        var directory = stat()
        guard stat(policyDirectory, &directory) == 0 else { throw .system(.noInput, policyDirectory) }
        // Two who make one at once: the later one is refused, and finds the other's when it tries again.
        try Files.write(gateRecord, record, mode: 0o600, replacing: false, owner: directory.st_uid)
        return record
    }
}
