// The guest's TPM as the proxy keeps it: made when all services are there, powered by the door, refused when its lasting
// state does not verify.
import CSystem
import Glibc
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import VirtualTPM
import Wire

final class GuestTPM {
    private enum Condition {
        /// Not every service was there yet.
        case incomplete
        /// In failure mode, if the lasting state is not used: the reason is in the log.
        case ready(VirtualTPM)
    }
    private let port: DoorPort
    /// Held open for the file.
    private let state: Descriptor
    private let file: StateFile
    /// The state file's path, for the log: the proxy was only given its descriptor.
    private let stateName: String
    private var condition = Condition.incomplete
    private var isPowered = false
    private var lastCommand: UInt32 = 0
    private var bufferSize = ProxyCalls.SetBufferSize.largest

    init(_ port: DoorPort, state: Descriptor) {
        self.port = port
        self.state = state
        file = StateFile(descriptor: state.raw)
        stateName = Self.name(of: state)
    }

    let retryResponse = VirtualTPM.errorResponse(.retry)

    // MARK: Commands

    /// - Parameter locality: what swtpm's header says, if there was one. The platform decides on the locality (D5), so
    ///   another one than it chose is refused.
    func execute(_ command: [UInt8], locality: UInt8?) -> [UInt8] {
        guard isPowered, case .ready(let tpm) = condition else { return VirtualTPM.errorResponse(.failure) }
        if command.count >= MessageHeader.size { lastCommand = command[6..<10].reduce(0) { $0 << 8 | UInt32($1) } }
        // One PCR_Extend comes behind another anyway.
        if lastCommand != TPMCommandCode.pcrExtend.rawValue || port.page?.isHashing == true {
            do throws(TPMRC) { try port.settle() } catch { return VirtualTPM.errorResponse(error) }
        }
        if let locality, locality != port.page?.locality { return VirtualTPM.errorResponse(.locality) }
        if port.page?.isHashing == true { abortEvent() }
        if let rules = port.rules.refresh() { port.rules.note(tpm.obey(rules)) }
        let response = tpm.execute(command)
        if let refusal = tpm.refusal { port.rules.note(refusal) }
        return response
    }

    /// A DRTM or H-CRTM event that has begun but not ended does not outlive any command, answerable or not.
    private func abortEvent() {
        // Where paratpm-pcr is gone, so is the event.
        _ = try? port.pcr.call(PCRCalls.AbortEvent.self, Nothing())
    }

    private func run(_ code: TPMCommandCode, _ type: UInt16) -> TPMRC {
        let command = CommandMessage(code, parameters: type.wire)
        guard let response = try? ResponseMessage(execute(command.bytes, locality: nil), hasHandle: false) else { return .failure }
        return response.code
    }

    // MARK: Power

    func powerOn(_ request: ProxyCalls.PowerOn.Request) -> CallStatus {
        prepare()
        if case .ready(let tpm) = condition {
            tpm.powerOn()
            tpm.hostEvents = request.hostEvents
            if let problem = tpm.refreshCertificates() {
                log(.warning, .proxy, "the guest's endorsement keys have not all their certificates: 0x\(String(problem.rawValue, radix: 16))")
            }
        }
        isPowered = true
        lastCommand = 0
        let code: TPMRC
        switch request.startup {
        case .none: return .ok
        case .clear: code = run(.startup, StartupType.clear)
        case .state: code = run(.startup, StartupType.state)
        }
        if code == .success { return .ok }
        log(.error, .proxy, "TPM2_Startup on the guest's behalf failed: 0x\(String(code.rawValue, radix: 16))")
        // A TPM in failure mode has power, and says so to the guest.
        return code == .failure ? .ok : .failed
    }

    /// An orderly end keeps the guest's dictionary-attack counter and its orderly NV data (Part 1, 12.2.3).
    func powerOff(shutdown: Bool) -> CallStatus {
        if isPowered, shutdown, lastCommand != TPMCommandCode.shutdown.rawValue {
            let code = run(.shutdown, StartupType.state)
            if code != .success && code != .initialize { _ = run(.shutdown, StartupType.clear) }
        }
        // Without power, what became of the vPCRs is all one; but what was asked for does not come after the power is back.
        try? port.settle()
        port.postedExtends.forget()
        isPowered = false
        return .ok
    }

    private enum StartupType {
        /// TPM_SU_CLEAR, TPM_SU_STATE (Part 2, 6.10)
        static let clear: UInt16 = 0
        static let state: UInt16 = 1
    }

    func setBufferSize(_ size: UInt32) -> UInt32 {
        bufferSize = min(max(size, ProxyCalls.SetBufferSize.smallest), ProxyCalls.SetBufferSize.largest)
        if case .ready(let tpm) = condition { tpm.bufferSize = Int(bufferSize) }
        return bufferSize
    }

    // MARK: Coming into being

    /// Makes the TPM as soon as every service is there.
    func prepare() {
        guard case .incomplete = condition, port.isComplete else { return }
        do throws(TPMRC) {
            let chip = try port.device.call(DeviceCalls.Describe.self, Nothing())
            var secret = try port.device.call(DeviceCalls.GuestSecret.self, Nothing()).bytes
            defer { wipe(&secret) }
            let tpm = make(chip, Secret(secret))
            if let rules = port.rules.rules { port.rules.note(tpm.obey(rules)) }
            tpm.bufferSize = Int(bufferSize)
            condition = .ready(tpm)
            csystem_return_free_memory()
        } catch {
            log(.warning, .proxy, "paratpm-device does not say who it is: 0x\(String(error.rawValue, radix: 16))")
        }
    }

    private func make(_ chip: ChipDescription, _ secret: Secret) -> VirtualTPM {
        let device = DeviceAdapter(port, chip: chip)
        let pcrs = PCRAdapter(port)
        let policy = PolicyAdapter(port.policy)
        do {
            let store = try Journal(file, key: Secret(kdfa(.sha256, key: secret.bytes, label: "STATE", bits: 256)))
            let tpm = try VirtualTPM(
                device: device, pcrs: pcrs, policy: policy, store: store, clock: BootClock(), secret: secret)
            tpm.host = HostAdapter(device: port.device, policy: port.policy)
            return tpm
        } catch let error as JournalError {
            log(.error, .proxy, "\(stateName): \(error)")
        } catch {
            log(.error, .proxy, "\(stateName): a record does not decode; the file was left as it is")
        }
        return VirtualTPM(withoutState: device, pcrs: pcrs, policy: policy, clock: BootClock())
    }

    private static func name(of file: Descriptor) -> String {
        var path = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let count = path.withUnsafeMutableBufferPointer { buffer in
            // SAFETY: readlink writes no more than the buffer's size, and CChar has the layout of UInt8.
            buffer.withMemoryRebound(to: CChar.self) { bound in
                bound.baseAddress.map { readlink("/proc/self/fd/\(file.raw)", $0, buffer.count) } ?? -1
            }
        }
        return count > 0 ? String(decoding: path[..<count], as: UTF8.self) : Instance.stateFile
    }
}
