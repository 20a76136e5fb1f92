// A whole broker for tests of the gate: device, pcr and policy as threads, and a swtpm as the chip.
import ChipClient
import GuestIdentity
import IPC
import PCRStore
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Wire

@testable import DeviceOwner
@testable import PolicyChecker

final class GateBench {
    let directory: TemporaryInstance
    let chip: SimulatedChip
    private(set) var device: RunningService?
    private var owner: Device?
    private(set) var pcr: RunningService?
    private(set) var policy: RunningService?

    init() throws {
        directory = try TemporaryInstance()
        chip = try SimulatedChip(in: directory.path)
        try startDevice()
        let instance = directory.instance
        pcr = try RunningService(.pcr, in: directory) { PCRServer(instance).service }
        try startPolicy()
    }

    func startDevice() throws {
        device?.stop()
        owner = nil
        let configuration = DeviceConfiguration(instance: directory.instance, chip: ChipAddress("stream:\(chip.socket)"))
        let chip = try Device(configuration)
        owner = chip
        device = try RunningService(.device, in: directory) { DeviceService(chip, configuration.instance).service }
    }

    /// Changes a PCR of the host, in its SHA-1 bank; nobody may have an order for the chip meanwhile.
    func extendChip(_ pcr: UInt32) throws {
        _ = try owner?.chip.run(ChipCommand(
            code: .pcrExtend, entities: [Entity(permanent: TPMHandle(pcr))], authorization: .password,
            parameters: WireWriter.bytes { $0.list([TaggedDigest(.sha1, digest(.sha1, [1]))]) }))
    }

    /// As `paratpmctl host init` does
    private func initialize(_ gate: HostGate) throws {
        let record = try gate.sealed(under: []).wire
        try Files.write(directory.instance.gateRecord, record, mode: 0o600, replacing: false)
        _ = try gate.open(record)
    }

    func startPolicy() throws {
        policy?.stop()
        let instance = directory.instance
        let gate = try HostGate.acquire(instance)
        if gate.gate == nil { try initialize(gate) }
        policy = try RunningService(.policy, in: directory) { PolicyServer(instance, gate).service }
    }
}
