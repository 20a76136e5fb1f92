// A whole broker for tests of the gate: device, pcr and policy as threads, and a swtpm as the chip.
import DeviceOwner
import GuestIdentity
import IPC
import PCRStore
import PolicyChecker
import RunningService
import SystemMap

final class GateBench {
    let directory: TemporaryInstance
    let chip: SimulatedChip
    private(set) var device: RunningService?
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
        let configuration = DeviceConfiguration(instance: directory.instance, chip: ChipAddress("stream:\(chip.socket)"))
        let chip = try Device(configuration)
        device = try RunningService(.device, in: directory) { DeviceService(chip, configuration.instance).service }
    }

    func startPolicy() throws {
        policy?.stop()
        let instance = directory.instance
        let gate = try Gate.acquire(instance)
        policy = try RunningService(.policy, in: directory) { PolicyServer(instance, gate).service }
    }
}
