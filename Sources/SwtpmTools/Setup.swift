// swtpm_setup: a guest's TPM gets its keys and PCR banks before its first start.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire
import Wire

package struct Setup {
    private let arguments: SetupArguments

    package static func run(_ words: [String]) throws(ToolError) {
        let arguments = try SetupArguments(words)
        switch arguments.task {
        case .print(let text): print(text)
        case .nothing: break
        case .setUp: try Setup(arguments: arguments).run()
        }
    }

    private init(arguments: SetupArguments) { self.arguments = arguments }

    private func run() throws(ToolError) {
        if let user = arguments.runAs { try become(user) }
        if let path = arguments.logFile { try redirectLog(path) }
        guard try prepare() else { return }
        let what = arguments.existing == .isReconfigured ? "reconfiguration" : "manufacturing"
        say("Starting vTPM \(what)")
        if arguments.hasKey { say("The state is always encrypted, under a key that the hardware guards; the key given is not used.") }
        let tpm = try TPMUnderSetup(state: arguments.state, swtpm: arguments.swtpm)
        if arguments.existing != .isReconfigured { try makeKeys(tpm) }
        if let banks = arguments.banks { try allocate(banks, tpm) }
        try tpm.finish()
        say("Successfully authored TPM state.")
        say("Ending vTPM \(what)")
    }

    private func become(_ name: String) throws(ToolError) {
        guard let user = UserDatabase.user(name) ?? UInt32(name).flatMap({ UserDatabase.user(id: $0) }) else {
            throw ToolError("User '\(name)' does not exist.")
        }
        guard user.uid != getuid() else { return }
        guard setgroups(0, nil) == 0, setgid(user.gid) == 0, setuid(user.uid) == 0 else {
            throw ToolError("Could not become \(name): \(describe(errno: errno))")
        }
    }

    private func redirectLog(_ path: String) throws(ToolError) {
        let raw = csystem_open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0o640)
        guard raw >= 0, dup2(raw, STDERR_FILENO) >= 0 else {
            throw ToolError("Could not open the log \(path): \(describe(errno: errno))")
        }
        close(raw)
    }

    private func say(_ text: String) {
        let line = Array((text + "\n").utf8)
        _ = write(STDERR_FILENO, line, line.count)
    }

    /// What becomes of a state that is there. False: there is nothing more to do.
    private func prepare() throws(ToolError) -> Bool {
        let path = arguments.state.path
        var status = stat()
        let exists = stat(path, &status) == 0 && status.st_size > 0
        switch arguments.existing {
        case .isReconfigured:
            guard exists else { throw ToolError("There is no TPM at \(path) to reconfigure.") }
        case .stays where exists:
            say("Not overwriting existing state file.")
            return false
        case .fails where exists: throw ToolError("Found existing TPM state 'permall'.")
        case .isReplaced where exists: try setAside(path)
        default: break
        }
        return true
    }

    /// Keys are not destroyed by the way: what was there keeps its content under another name.
    private func setAside(_ path: String) throws(ToolError) {
        for number in 1... {
            let other = "\(path).\(number)"
            if access(other, F_OK) == 0 { continue }
            guard rename(path, other) == 0 else { throw ToolError("Could not set \(path) aside: \(describe(errno: errno))") }
            return say("The former state is now \(other).")
        }
    }

    private func makeKeys(_ tpm: TPMUnderSetup) throws(ToolError) {
        if arguments.createsEndorsementKeys {
            say("Successfully created \(try tpm.make(.endorsementRSA)).")
            do throws(ToolError) {
                say("Successfully created \(try tpm.make(.endorsementP384)).")
            } catch {
                // A chip without P-384
                say("Successfully created \(try tpm.make(.endorsementP256)).")
            }
        }
        if arguments.createsStorageKey {
            say("Successfully created \(try tpm.make(arguments.isECC ? .storageP256 : .storageRSA)).")
        }
        if arguments.wantsCertificates { say("Certificates of endorsement keys are the broker's to make; none was made here.") }
    }

    private func allocate(_ banks: [HashAlgorithm], _ tpm: TPMUnderSetup) throws(ToolError) {
        try tpm.allocate(banks)
        let names = HashAlgorithm.allCases.filter(banks.contains).compactMap { bank in
            SetupArguments.bankNames.first { $0.value == bank }?.key
        }
        say("Successfully activated PCR banks \(names.joined(separator: ",")).")
    }
}
