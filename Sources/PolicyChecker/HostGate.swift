// The gate of this host: closed until `paratpmctl host init` had the gate secret made, open from the moment on.
import AttestationFormats
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire
import Wire

package final class HostGate {
    private let instance: Instance
    /// The host's boot, which a confined process cannot look up.
    private let boot: [UInt8]
    /// nil: the host has no gate secret yet.
    private(set) var gate: Gate?
    /// How long paratpm-device may take to come, in milliseconds.
    private static let patience = 30_000

    package init(_ instance: Instance, boot: [UInt8], _ gate: Gate?) {
        self.instance = instance
        self.boot = boot
        self.gate = gate
    }

    /// The instance's gate, open if there is a record of its secret. None is made here: where a record was lost, another secret would hide that
    /// all that guests had gated is lost with it.
    package static func acquire(_ instance: Instance) throws(Failure) -> HostGate {
        try Files.makeDirectory(instance.policyDirectory, mode: 0o700)
        let boot = try hostBoot()
        guard let bytes = try Files.read(instance.gateRecord, max: GateSealCalls.recordMax) else {
            log(.warning, .policy, "\(instance.gateRecord) is missing: until paratpmctl host init the guests have no policy sessions, and no keys that need them")
            return HostGate(instance, boot: boot, nil)
        }
        guard let record = try? GateRecord(wire: bytes) else {
            throw Failure(.dataError, "\(instance.gateRecord) is damaged; it was left alone. Without it nothing that guests had gated can be used")
        }
        let chip = GateChip(instance, rootName: record.rootName)
        let gate = try patiently(record.selection) { () throws(CallStatus) in try Gate.recover(record, chip, boot) }
        return HostGate(instance, boot: boot, gate)
    }

    /// - Throws: TPM_RC_DISABLED, what a TPM says of a command that its owner has switched off: to repeat it would not help.
    func opened() throws(CallStatus) -> Gate {
        guard let gate else { throw CallStatus(.disabled) }
        return gate
    }

    /// GateSealCalls.Seal
    func sealed(under selection: [PCRSelection]) throws(CallStatus) -> GateRecord {
        guard Set(selection.map(\.hash)).count == selection.count, selection.allSatisfy({ !$0.pcrs.isEmpty }) else { throw .malformed }
        if let gate { return try gate.sealed(under: selection) }
        return try Gate.make(instance, under: selection)
    }

    /// GateSealCalls.Open
    func open(_ bytes: [UInt8]) throws(CallStatus) -> GateSealCalls.Open.Reply {
        guard let record = try? GateRecord(wire: bytes) else { throw .malformed }
        let recovered = try Gate.recover(record, GateChip(instance, rootName: record.rootName), boot)
        if let gate {
            guard recovered.keys.secret == gate.keys.secret else { throw .notPermitted }
            return .init(isNew: false, selection: record.selection)
        }
        gate = recovered
        log(.notice, .policy, "the gate is open")
        return .init(isNew: true, selection: record.selection)
    }

    /// - Parameter selection: what the gate secret is sealed under.
    private static func patiently<R>(_ selection: [PCRSelection], _ body: () throws(CallStatus) -> R) throws(Failure) -> R {
        var waited = 0
        while true {
            do throws(CallStatus) { return try body() } catch {
                guard selection.isEmpty || error != GateSealCalls.otherBoot else {
                    throw Failure(
                        .config, "the host booted otherwise than when the gate secret was sealed under its PCRs (\(PCRChoice(selection))). "
                            + "Boot it as it was; before what changes them, paratpmctl host seal-gate --no-pcrs")
                }
                guard error == .unavailable, waited < patience else {
                    throw Failure(
                        .unavailable, "the chip does not give the gate secret (status 0x\(String(error.rawValue, radix: 16))): "
                            + "paratpm-device must answer, with the chip that this paratpm was made with")
                }
            }
            usleep(50_000)
            waited += 50
        }
    }
}
