// A guest's TPM that swtpm_setup runs for a moment: a child named swtpm, and TPM commands to it.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire
import Wire

struct TPMUnderSetup {
    /// What the child finds its sockets under.
    private static let data: Int32 = 3
    private static let control: Int32 = 4
    /// Seconds that a command may take: a slow chip makes an RSA key.
    private static let patience = 180
    private static let responseMax = 4096

    private let pid: pid_t
    private let commands: Descriptor
    private let client: ControlClient

    /// - Parameter swtpm: the program; nil: the drop-in beside this one.
    init(state: SetupArguments.State, swtpm: String?) throws(ToolError) {
        guard let (ours, theirs) = try? Descriptor.pair(), let (ourControl, theirControl) = try? Descriptor.pair() else {
            throw ToolError("Could not make a socket pair: \(describe(errno: errno))")
        }
        let program = if let swtpm { swtpm } else { try Self.beside("swtpm") }
        let words = [
            program, "socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate", state.uri,
            "--server", "type=tcp,fd=\(Self.data)", "--ctrl", "type=unixio,clientfd=\(Self.control)",
        ]
        let argv = words.map { strdup($0) } + [nil]
        defer { for word in argv { free(word) } }
        pid = csystem_spawn(program, argv, environ, [theirs.raw, theirControl.raw], [Self.data, Self.control], 2, SIGTERM)
        guard pid > 0 else { throw ToolError("Could not start \(program): \(describe(errno: errno))") }
        commands = ours
        client = ControlClient(ourControl)
        ours.setReceiveTimeout(milliseconds: Self.patience * 1000)
    }

    private static func beside(_ name: String) throws(ToolError) -> String {
        let path = Files.ownExecutable() ?? ""
        let candidate = (path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "") + "/" + name
        guard access(candidate, X_OK) == 0 else { throw ToolError("\(candidate) is missing; install paratpm whole, or give --tpm") }
        return candidate
    }

    /// The TPM's power goes, and its process.
    func finish() throws(ToolError) {
        _ = try client.request(.shutdown, as: "PTM_SHUTDOWN")
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
        guard status == 0 else { throw ToolError("swtpm ended with an error; its own messages say why") }
    }

    /// CreatePrimary, EvictControl, FlushContext (Part 3, 24.1, 28.5, 28.4). Returns what was made, in words.
    func make(_ key: SetupKey) throws(ToolError) -> String {
        var parameters = WireWriter()
        // inSensitive: TPM2B_SENSITIVE_CREATE without authValue and data
        parameters.sized16([0, 0, 0, 0])
        parameters.sized16(key.template)
        parameters.sized16([UInt8]())
        parameters.list([PCRSelection]())
        let created = try run(
            CommandMessage(.createPrimary, handles: [key.hierarchy], sessions: [Self.noPassword], parameters: parameters.bytes),
            hasHandle: true, "create the \(key.name)")
        guard let transient = created.handle else { throw ToolError("The TPM made the \(key.name) without a handle.") }
        _ = try run(
            CommandMessage(
                .evictControl, handles: [.owner, transient], sessions: [Self.noPassword], parameters: key.persistent.wire),
            "keep the \(key.name)")
        _ = try run(CommandMessage(.flushContext, parameters: transient.wire), "flush the \(key.name)")
        return "\(key.name) with handle 0x\(String(key.persistent.rawValue, radix: 16))"
    }

    /// PCR_Allocate (Part 3, 22.5): these banks whole, the others not at all; in force from the next start.
    func allocate(_ banks: [HashAlgorithm]) throws(ToolError) {
        var parameters = WireWriter()
        parameters.list(HashAlgorithm.allCases.map { PCRSelection($0, pcrs: banks.contains($0) ? 0..<PCRSelection.pcrCount : 0..<0) })
        let response = try run(
            CommandMessage(.pcrAllocate, handles: [.platform], sessions: [Self.noPassword], parameters: parameters.bytes),
            "allocate PCR banks")
        guard response.parameters.first == 1 else { throw ToolError("The TPM cannot allocate these PCR banks.") }
    }

    /// GetCapability of TPM_CAP_HANDLES, NV (Part 3, 30.2): what of a TPM that is new fits one answer.
    func nvIndices() throws(ToolError) -> [TPMHandle] {
        let (handles, first, count) = (UInt32(1), UInt32(0x0100_0000), UInt32(254))
        let response = try run(CommandMessage(.getCapability, parameters: handles.wire + first.wire + count.wire), "list the NV indices")
        var reader = WireReader(response.parameters)
        guard (try? reader.flag()) != nil, (try? reader.u32()) == handles, let found = try? reader.list(TPMHandle.self, max: Int(count)) else {
            throw ToolError("Could not list the NV indices: the answer does not decode")
        }
        return found
    }

    /// NV_ReadPublic and NV_Read (Part 3, 31.6, 31.13)
    func contents(_ index: TPMHandle) throws(ToolError) -> [UInt8] {
        let shown = "read NV index 0x\(String(index.rawValue, radix: 16))"
        var reader = WireReader(try run(CommandMessage(.nvReadPublic, handles: [index]), shown).parameters)
        guard let area = try? reader.value(Sized<NVPublic>.self).value else { throw ToolError("Could not \(shown): the answer does not decode") }
        var bytes: [UInt8] = []
        while bytes.count < Int(area.dataSize) {
            let part = min(Int(area.dataSize) - bytes.count, Self.readMax)
            let parameters = UInt16(part).wire + UInt16(bytes.count).wire
            var answer = WireReader(
                try run(CommandMessage(.nvRead, handles: [.owner, index], sessions: [Self.noPassword], parameters: parameters), shown).parameters)
            guard let read = try? answer.sized16(max: part), !read.isEmpty else { throw ToolError("Could not \(shown): the answer does not decode") }
            bytes += read
        }
        return bytes
    }
    /// TPM_PT_NV_BUFFER_MAX
    private static let readMax = 1024

    private static let noPassword = AuthCommand(handle: .password, attributes: .continueSession)

    private func run(_ command: CommandMessage, hasHandle: Bool = false, _ doing: String) throws(ToolError) -> ResponseMessage {
        let bytes = command.bytes
        guard csystem_send(commands.raw, bytes, bytes.count, nil, 0, 0) == bytes.count else { throw gone(doing) }
        var answer = [UInt8](repeating: 0, count: Self.responseMax)
        let count = recv(commands.raw, &answer, answer.count, 0)
        guard count > 0, let response = try? ResponseMessage(Array(answer[..<count]), hasHandle: hasHandle) else { throw gone(doing) }
        guard response.code == .success else {
            throw ToolError("Could not \(doing): the TPM answers 0x\(String(response.code.rawValue, radix: 16))")
        }
        return response
    }

    private func gone(_ doing: String) -> ToolError {
        ToolError("Could not \(doing): swtpm does not answer; its own messages say why")
    }
}
