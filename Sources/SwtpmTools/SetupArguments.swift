// swtpm_setup's command line (swtpm_setup(8), version 0.7.1).
import SystemMap
import TPMWire

package struct SetupArguments: Equatable, Sendable {
    package enum State: Equatable, Sendable {
        case directory(String)
        case file(String)

        /// The file with the TPM's state.
        var path: String {
            switch self {
            case .directory(let path): "\(path)/\(Instance.stateFile)"
            case .file(let path): path
            }
        }
        var uri: String {
            switch self {
            case .directory(let path): "backend-uri=dir://\(path)"
            case .file(let path): "backend-uri=file://\(path)"
            }
        }
    }

    /// What becomes of a TPM that is there already.
    package enum Existing: Equatable, Sendable { case fails, stays, isReplaced, isReconfigured }

    package enum Task: Equatable, Sendable { case print(String), nothing, setUp }

    package var task = Task.setUp
    package var state = State.directory("")
    package var existing = Existing.fails
    package var createsEndorsementKeys = false
    package var createsStorageKey = false
    package var isECC = false
    package var wantsCertificates = false
    /// Where certificates are written to besides.
    package var certificateDirectory: String?
    /// nil: the banks stay as they are.
    package var banks: [HashAlgorithm]? = [.sha256]
    package var logFile: String?
    package var runAs: String?
    /// nil: the drop-in beside this program.
    package var swtpm: String?
    package var hasKey = false

    private static let flags = [
        "tpm2", "createek", "allow-signing", "decryption", "ecc", "take-ownership", "owner-well-known", "srk-well-known",
        "create-ek-cert", "create-platform-cert", "create-spk", "lock-nvram", "display", "overwrite", "not-overwrite",
        "print-capabilities", "reconfigure", "version",
    ]
    private static let valued = [
        "runas", "tpm-state", "tpmstate", "tpm", "swtpm_ioctl", "ownerpass", "srkpass", "config", "logfile", "keyfile", "keyfile-fd",
        "pwdfile", "pwdfile-fd", "cipher", "pcr-banks", "rsa-keysize", "write-ek-cert-files", "tcsd-system-ps-file", "vmid",
        "create-config-files", "profile", "profile-name", "profile-file",
    ]
    private static let known = flags.map { OptionSpec($0) } + valued.map { OptionSpec($0, values: 1) } + [OptionSpec("help", "h")]

    package init(_ arguments: [String]) throws(ToolError) {
        // --create-config-files may stand without its value.
        let whole = arguments.last == "--create-config-files" ? arguments + [""] : arguments
        let options = try LongOptions(whole, Self.known)
        if let word = options.words.first { throw ToolError("Unknown parameter '\(word)'") }
        task = Self.task(options)
        guard task == .setUp else { return }
        try readWhat(options)
        try readHow(options)
    }

    private static func task(_ options: LongOptions) -> Task {
        if options.has("help") { return .print(usage) }
        if options.has("version") { return .print("TPM emulator setup tool version \(Followed.version), provided by paratpm") }
        if options.has("print-capabilities") { return .print(capabilities) }
        // There is nothing to configure: the broker's administrator decides what swtpm's users would.
        return options.has("create-config-files") ? .nothing : .setUp
    }

    private mutating func readWhat(_ options: LongOptions) throws(ToolError) {
        guard options.has("tpm2") else { throw ToolError("Only TPM 2.0 is offered; add --tpm2.") }
        guard let text = options.value("tpm-state") ?? options.value("tpmstate") else {
            throw ToolError("--tpm-state must be provided")
        }
        if text.hasPrefix("file://") {
            state = .file(String(text.dropFirst(7)))
        } else {
            state = .directory(text.hasPrefix("dir://") ? String(text.dropFirst(6)) : text)
        }
        if options.has("reconfigure") {
            existing = .isReconfigured
        } else if options.has("not-overwrite") {
            existing = .stays
        } else if options.has("overwrite") {
            existing = .isReplaced
        }
        wantsCertificates = options.has("create-ek-cert") || options.has("create-platform-cert")
        certificateDirectory = options.value("write-ek-cert-files")
        createsEndorsementKeys = wantsCertificates || options.has("createek") || options.has("take-ownership")
        createsStorageKey = options.has("create-spk")
        isECC = options.has("ecc")
        guard !options.has("allow-signing") else {
            throw ToolError("Endorsement keys that sign are none of the TCG's; leave --allow-signing out.")
        }
        guard [nil, "2048"].contains(options.value("rsa-keysize")) else {
            throw ToolError("Unsupported RSA key size for the endorsement key: only 2048 is offered.")
        }
    }

    private mutating func readHow(_ options: LongOptions) throws(ToolError) {
        logFile = options.value("logfile")
        runAs = options.value("runas")
        swtpm = options.value("tpm")
        hasKey = ["keyfile", "keyfile-fd", "pwdfile", "pwdfile-fd"].contains { options.has($0) }
        guard let text = options.value("pcr-banks") else { return }
        guard text != "-" else { return banks = nil }
        let chosen = text.split(separator: ",").compactMap { Self.bankNames[String($0)] }
        guard !chosen.isEmpty else {
            throw ToolError("No PCR banks could be allocated. None of the selected algorithms are supported.")
        }
        banks = chosen
    }

    static let bankNames: [String: HashAlgorithm] = ["sha1": .sha1, "sha256": .sha256, "sha384": .sha384, "sha512": .sha512]

    static let capabilities = #"{ "type": "swtpm_setup", "features": [ "tpm-2.0", "cmdarg-keyfile-fd", "cmdarg-pwdfile-fd", "#
        + #""tpm12-not-need-root", "cmdarg-write-ek-cert-files", "cmdarg-create-config-files", "cmdarg-reconfigure-pcr-banks", "#
        + #""tpm2-rsa-keysize-2048" ], "version": "\#(Followed.version)" }"#

    static let usage = """
        TPM emulator setup tool version \(Followed.version), provided by paratpm
        Usage: swtpm_setup --tpm2 --tpm-state [dir://|file://]<path> [options]

        --createek             : create an RSA and an ECC endorsement key
        --create-spk, --ecc    : create a storage root key, RSA or ECC
        --create-ek-cert, --create-platform-cert
                               : imply --createek; the host certifies its guests' keys itself, where it has an
                                 identity, and this says what it did
        --write-ek-cert-files <directory>
                               : write the certificates there: ek-rsa2048.crt, ek-secp384r1.crt
        --pcr-banks <banks>    : the PCR banks, such as sha1,sha256; '-': as they are (default: sha256)
        --reconfigure          : only change the PCR banks of a TPM that is there
        --overwrite            : set an existing state aside and begin anew
        --not-overwrite        : leave an existing state alone, without an error
        --tpm <program>        : the swtpm to run (default: the one beside this program)
        --logfile <file>, --runas <user>
        --keyfile, --keyfile-fd, --pwdfile, --pwdfile-fd, --cipher <...>
                               : accepted; the state is always encrypted, under a key that the hardware guards
        --take-ownership, --ownerpass, --srkpass, --vmid, --config, --lock-nvram, --decryption, --display,
        --create-config-files <...>
                               : accepted, without effect
        --print-capabilities, --version, --help
        """
}
