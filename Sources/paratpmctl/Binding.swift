// `paratpmctl guest bind` and `host authorize-update`: guests whose keys only an approved host can use.
import ArgumentParser
import Attestation
import GuestIdentity
import IPC
import SystemMap
import TPMWire

extension Instance {
    /// The host's PCRs as they are now, or as a file says.
    fileprivate func hostPCRs(_ selection: [PCRSelection], _ file: String?) throws(Failure) -> PCRValues {
        if let file {
            return try decode(file) { (bytes) throws(FormatError) in try PCRValues(text: String(decoding: bytes, as: UTF8.self)) }
        }
        var values: PCRValues = [:]
        for one in selection {
            let bytes = try ask(.device, HostCalls.ReadPCRs.self, one).bytes
            guard let read = PCRValues(bytes, [one]) else { throw Failure(.unavailable, "paratpm-device: the values do not fit the PCRs") }
            values.merge(read) { $1 }
        }
        return values
    }
}

extension Instance {
    /// nil: the guest is not bound.
    func binding(of guest: GuestID) throws(Failure) -> BindingCalls.Binding.Reply? {
        do throws(IPCError) {
            return try Channel.connect(socket(.device), timeout: 60).call(BindingCalls.Binding.self, Blob(guest.bytes))
        } catch .status(.unavailable) {
            return nil
        } catch { throw Failure(.unavailable, "paratpm-device: \(explain(error))") }
    }
}

extension Guest {
    struct Bind: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bind a guest to this host, before it has any keys.",
            discussion: """
                From then on the chip loads the guest's keys only while the host's PCRs are approved. What is approved first is \
                what they are now; host authorize-update approves more. The key approves, so it should not stay on the host: \
                openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE makes one.
                """)

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @Option(help: ArgumentHelp("The private key that approves (PEM).", valueName: "file"))
        var key: String
        @Option(help: "The host's PCRs that count: sha256:0,2,4,7 and the like.")
        var pcrs = PCRChoice.firmware
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            let guest = try instance.guest(name)
            let key = try UpdateKey(key)
            let approval = try key.approve(try instance.hostPCRs(pcrs.selections, nil), pcrs.selections, for: guest)
            _ = try instance.ask(
                .device, BindingCalls.Bind.self, .init(guest: guest.bytes, updateKey: key.area, approval: approval),
                explained: [CallStatus(rawValue: TPMRC.failure.rawValue): "\(name) has keys already, which cannot be bound any more; its log says more"])
            output.show(.object([("guest", .string(name.text)), ("bound-to-host-pcrs", .string(pcrs.description))])) {
                print("\(name): bound to the host's PCRs \(pcrs)")
            }
        }
    }
}

extension Host {
    struct AuthorizeUpdate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Approve a state of the host for bound guests.",
            discussion: "Without --host-pcrs it is the host's present state. The former approvals stay good, up to four in all.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guests (else all that are bound with this key).") var names: [GuestName] = []
        @Option(help: ArgumentHelp("The private key that approves (PEM).", valueName: "file"))
        var key: String
        @Option(help: ArgumentHelp("The host's PCRs as they will be, in the form that tpm2_pcrread prints.", valueName: "file"))
        var hostPcrs: String?
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            let key = try UpdateKey(key)
            let all = try GuestEnrolment.list(instance)
            if let missing = names.first(where: { name in !all.contains { $0.name == name } }) { _ = try instance.guest(missing) }
            var approved: [JSON] = []
            for guest in all where names.isEmpty || names.contains(guest.name) {
                guard let binding = try instance.binding(of: guest.guest), binding.updateKey == key.area else {
                    guard names.isEmpty else { throw Failure(.usage, "\(guest.name) is not bound with this key") }
                    continue
                }
                let values = try instance.hostPCRs(binding.selection, hostPcrs)
                let approval = try key.approve(values, binding.selection, for: guest.guest)
                _ = try instance.ask(.device, BindingCalls.Approve.self, .init(guest: guest.guest.bytes, approval: approval))
                let pcrs = PCRChoice(binding.selection).description
                approved.append(.object([("guest", .string(guest.name.text)), ("host-pcrs", .string(pcrs))]))
                if !output.json { print("\(guest.name): \(pcrs) approved") }
            }
            guard !approved.isEmpty else { throw Failure(.noInput, "no guest is bound with this key") }
            if output.json { print(JSON.array(approved)) }
        }
    }
}
