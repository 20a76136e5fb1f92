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
        if arguments.wantsCertificates { try tellOfCertificates(tpm) }
    }

    /// The host certifies its guests' keys itself, when their TPMs start, once it has an identity.
    private func tellOfCertificates(_ tpm: TPMUnderSetup) throws(ToolError) {
        let present = Set(try tpm.nvIndices())
        let found = Self.certificates.filter { present.contains($0.index) }
        guard !found.isEmpty else {
            return say("No certificates: the host has no identity yet (paratpmctl host init); with one, they are there when the TPM starts.")
        }
        for certificate in found {
            say("The host certified the \(certificate.name): NV index 0x\(String(certificate.index.rawValue, radix: 16)).")
            if let directory = arguments.certificateDirectory, let file = certificate.file {
                try keep(try tpm.contents(certificate.index), "\(directory)/\(file)")
            }
        }
    }

    /// What swtpm_setup promises, by NV index, and the files that --write-ek-cert-files is known for.
    private static let certificates: [(index: TPMHandle, name: String, file: String?)] = [
        (TPMHandle(0x01C0_0002), "RSA 2048 EK", "ek-rsa2048.crt"), (TPMHandle(0x01C0_000A), "ECC EK (P-256)", nil),
        (TPMHandle(0x01C0_0016), "ECC EK (P-384)", "ek-secp384r1.crt"), (TPMHandle(0x01C0_8000), "platform", nil),
    ]

    private func keep(_ bytes: [UInt8], _ path: String) throws(ToolError) {
        do throws(Failure) { try Files.write(path, bytes, mode: 0o644, replacing: true) } catch { throw ToolError(error.message) }
        say("Wrote \(path).")
    }

    private func allocate(_ banks: [HashAlgorithm], _ tpm: TPMUnderSetup) throws(ToolError) {
        try tpm.allocate(banks)
        let names = HashAlgorithm.allCases.filter(banks.contains).compactMap { bank in
            SetupArguments.bankNames.first { $0.value == bank }?.key
        }
        say("Successfully activated PCR banks \(names.joined(separator: ",")).")
    }
}
