// `paratpmctl host seal-gate`: what the chip wants to see of the host before it gives paratpm-policy the gate secret.
import ArgumentParser
import Attestation
import Glibc
import GuestIdentity
import SystemMap

extension Host {
    struct SealGate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "seal-gate", abstract: "Seal the gate secret under the host's PCRs as they are now, or under none.",
            discussion: """
                From then on paratpm-policy starts only on a host that booted the same way, and so no gated key can be used on another. \
                Take the PCRs off before an update changes them, and seal again after it: without the secret, what guests had gated is lost.
                """)

        @OptionGroup var options: InstanceOptions
        @Option(help: "The host's PCRs that count: sha256:0,2,4,7 and the like.")
        var pcrs: PCRChoice?
        @Flag(help: "None.")
        var noPcrs = false
        @OptionGroup var output: OutputOptions

        func validate() throws {
            guard (pcrs != nil) != noPcrs else { throw ValidationError("Give either --pcrs or --no-pcrs.") }
        }

        func run() throws {
            let instance = options.instance
            var status = stat()
            guard lstat(instance.gateRecord, &status) == 0 else {
                throw Failure(.noInput, "\(instance.gateRecord) is missing: paratpmctl host init makes it, if this is the instance that the services run in")
            }
            let record = try instance.ask(.policy, GateSealCalls.Seal.self, .init(selection: pcrs?.selections ?? [])).bytes
            try Files.write(instance.gateRecord, record, mode: 0o600, replacing: true, owner: status.st_uid)
            let choice = pcrs?.description ?? "none"
            output.show(.object([("gate-pcrs", .string(choice))])) { print("gate pcrs: \(choice)") }
        }
    }
}
