// swtpm's command line (swtpm(8), version 0.7.1 and what later versions added), as a door's options.
import Glibc
import GuestIdentity
import SystemMap

package struct SwtpmArguments {
    private var values: [Option: String] = [:]
    private var flags: Set<Option> = []
    private let known: [Option]

    private enum Option: String, CaseIterable {
        case daemon, help, port, fd, server, runas, terminate, locality, log, key
        case migrationKey = "migration-key"
        case pid, tpmstate, ctrl, flags, tpm2, seccomp
        case printCapabilities = "print-capabilities"
        case printStates = "print-states"
        case migration, profile
        case chardev
        case vtpmProxy = "vtpm-proxy"

        var takesValue: Bool {
            switch self {
            case .daemon, .help, .terminate, .tpm2, .printCapabilities, .printStates, .vtpmProxy: false
            default: true
            }
        }
        static func short(_ letter: Character) -> Option? {
            switch letter {
            case "d": .daemon
            case "h": .help
            case "p": .port
            case "f": .fd
            case "t": .terminate
            case "r": .runas
            case "c": .chardev
            default: nil
            }
        }
    }

    /// - Parameters:
    ///   - arguments: without the program's name.
    ///   - environment: TPM_PATH and TPM_PORT, where they are set.
    package static func parse(_ arguments: [String], environment: [String: String]) throws(UsageError) -> DoorCommand {
        guard let interface = arguments.first else { throw UsageError(swtpm: "Missing TPM interface type.") }
        switch interface {
        case "socket": return try SwtpmArguments(arguments.dropFirst(), Self.ofDevices).command(environment, isDevice: false)
        case "chardev": return try SwtpmArguments(arguments.dropFirst(), Self.ofSockets).command(environment, isDevice: true)
        case "-h", "--help": return .print(SwtpmTexts.usage)
        case "-v", "--version": return .print(SwtpmTexts.version)
        default: throw UsageError(swtpm: "Unsupported TPM interface type '\(interface)'.\n\(SwtpmTexts.usage)")
        }
    }

    /// What each of the two interfaces does not have.
    private static let ofDevices: Set<Option> = [.chardev, .vtpmProxy]
    private static let ofSockets: Set<Option> = [.port, .server]

    // MARK: getopt_long(3)

    private init(_ arguments: ArraySlice<String>, _ unknown: Set<Option>) throws(UsageError) {
        known = Option.allCases.filter { !unknown.contains($0) }
        var rest = arguments
        while let argument = rest.popFirst() {
            if argument == "--" { break }
            if argument.hasPrefix("--") {
                try takeLong(String(argument.dropFirst(2)), &rest)
            } else if argument.hasPrefix("-"), argument.count > 1 {
                try takeShort(argument.dropFirst(), &rest)
            } else {
                throw UsageError(swtpm: "Unknown parameter '\(argument)'")
            }
        }
        if let unknown = rest.first { throw UsageError(swtpm: "Unknown parameter '\(unknown)'") }
    }

    private mutating func takeLong(_ text: String, _ rest: inout ArraySlice<String>) throws(UsageError) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let name = parts.first ?? ""
        // An option may be cut short as long as it stays the only one.
        let candidates = known.filter { $0.rawValue.hasPrefix(name) }
        guard let option = candidates.first(where: { $0.rawValue == name }) ?? (candidates.count == 1 ? candidates[0] : nil) else {
            throw UsageError(swtpm: "unrecognized option '--\(name)'\n\(SwtpmTexts.usage)")
        }
        guard option.takesValue else {
            guard parts.count == 1 else { throw UsageError(swtpm: "option '--\(name)' doesn't allow an argument") }
            flags.insert(option)
            return
        }
        guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
            throw UsageError(swtpm: "option '--\(name)' requires an argument")
        }
        values[option] = value
    }

    private mutating func takeShort(_ letters: Substring, _ rest: inout ArraySlice<String>) throws(UsageError) {
        var letters = letters
        while let letter = letters.popFirst() {
            guard let option = Option.short(letter), known.contains(option) else { throw UsageError(swtpm: "invalid option -- '\(letter)'\n\(SwtpmTexts.usage)") }
            guard option.takesValue else {
                flags.insert(option)
                continue
            }
            guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else {
                throw UsageError(swtpm: "option requires an argument -- '\(letter)'")
            }
            values[option] = value
            return
        }
    }

    // MARK: What they mean

    private func command(_ environment: [String: String], isDevice: Bool) throws(UsageError) -> DoorCommand {
        if flags.contains(.help) { return .print(isDevice ? SwtpmTexts.deviceUsage : SwtpmTexts.socketUsage) }
        if flags.contains(.printCapabilities) { return .print(SwtpmTexts.capabilities) }
        guard flags.contains(.tpm2) else { throw UsageError(swtpm: "Only TPM 2.0 is offered; add --tpm2.") }
        let (guest, mode) = try state(environment)
        if flags.contains(.printStates) { return .printStates(guest) }
        var options = DoorOptions(guest: guest)
        options.stateMode = mode
        options.isDaemon = flags.contains(.daemon)
        options.terminates = flags.contains(.terminate)
        options.runAs = values[.runas]
        if isDevice { try readDevice(&options) } else { try readServer(&options, environment) }
        options.control = try control()
        try readFlags(&options)
        try readFiles(&options)
        try readKeys(&options)
        guard isDevice || options.control != nil || options.data != nil else {
            throw UsageError(swtpm: "Nothing to listen on: give --ctrl, --server or both.")
        }
        return .run(options)
    }

    private func state(_ environment: [String: String]) throws(UsageError) -> (DoorOptions.Guest, mode_t) {
        guard let text = values[.tpmstate] else {
            guard let path = environment["TPM_PATH"] else {
                throw UsageError(swtpm: "Error: No TPM state directory is defined; give --tpmstate, or set TPM_PATH.")
            }
            return (.directory(path), 0o640)
        }
        let list = try SwtpmOptions(
            text, "tpmstate", ["dir": .text, "mode": .mode, "backend-uri": .text, "lock": .flag, "backup": .flag, "fsync": .flag])
        let mode = mode_t(list.number("mode") ?? 0o640)
        if let path = list.text("dir") { return (.directory(path), mode) }
        guard let uri = list.text("backend-uri") else {
            throw UsageError(swtpm: "The dir or backend-uri parameters is required for the tpmstate option.")
        }
        if uri.hasPrefix("dir://"), uri.count > 6 { return (.directory(String(uri.dropFirst(6))), mode) }
        if uri.hasPrefix("file://"), uri.count > 7 { return (.file(String(uri.dropFirst(7))), mode) }
        throw UsageError(swtpm: "Unsupported backend-uri '\(uri)': give dir://PATH or file://PATH.")
    }

    private static let endpoint: [String: SwtpmOptions.Kind] = [
        "type": .text, "path": .text, "port": .number, "bindaddr": .text, "ifname": .text, "fd": .number, "mode": .mode,
        "uid": .user, "gid": .group,
    ]

    private func control() throws(UsageError) -> Endpoint? {
        guard let text = values[.ctrl] else { return nil }
        var known = Self.endpoint
        known["clientfd"] = .number
        known["terminate"] = .flag
        let list = try SwtpmOptions(text, "ctrl", known)
        guard let type = list.text("type") else { throw UsageError(swtpm: "Missing type parameter for control channel") }
        if let fd = list.descriptor("fd") { return .listening(fd) }
        if type == "unixio", let fd = list.descriptor("clientfd") { return .connected(fd) }
        return try Self.address(type, list, port: nil)
    }

    private func readDevice(_ options: inout DoorOptions) throws(UsageError) {
        if flags.contains(.vtpmProxy) {
            options.device = .virtual
        } else if let path = values[.chardev] {
            options.device = .path(path)
        } else if let fd = values[.fd].flatMap({ Int32($0) }), fd > 2 {
            options.device = .descriptor(fd)
        } else {
            throw UsageError(swtpm: "Error: A valid file descriptor number (--fd), --chardev or --vtpm-proxy must be given.")
        }
        options.terminates = true
    }

    private func readServer(_ options: inout DoorOptions, _ environment: [String: String]) throws(UsageError) {
        if let text = values[.fd] {
            guard let fd = Int32(text), fd > 2 else { throw UsageError(swtpm: "Cannot parse socket file descriptor.") }
            options.data = .connected(fd)
            options.terminates = true
        }
        if let text = values[.port] {
            guard let port = UInt16(text) else { throw UsageError(swtpm: "Cannot parse socket port number '\(text)'.") }
            options.data = .tcp(address: Self.loopback, port: port, interface: nil)
            options.disconnects = true
        }
        guard let text = values[.server] else { return }
        var known = Self.endpoint
        known["disconnect"] = .flag
        let list = try SwtpmOptions(text, "server", known)
        let type = list.text("type") ?? "tcp"
        options.disconnects = list.flag("disconnect")
        if let fd = list.descriptor("fd") {
            options.data = type == "tcp" ? .connected(fd) : .listening(fd)
            options.terminates = options.terminates || type == "tcp"
        } else {
            options.data = try Self.address(type, list, port: environment["TPM_PORT"].flatMap { UInt16($0) })
        }
    }

    private static let loopback = "127.0.0.1"

    private static func address(_ type: String, _ list: SwtpmOptions, port: UInt16?) throws(UsageError) -> Endpoint {
        switch type {
        case "unixio":
            guard let path = list.text("path") else { throw UsageError(swtpm: "Missing path and fd options for UnixIO socket") }
            return .unix(
                path: path, mode: mode_t(list.number("mode") ?? 0o770), uid: list.number("uid").map { uid_t($0) },
                gid: list.number("gid").map { gid_t($0) })
        case "tcp":
            guard let port = list.number("port").map({ UInt16(exactly: $0) }) ?? port else {
                throw UsageError(swtpm: "No valid port number provided for TCP socket.")
            }
            return .tcp(address: list.text("bindaddr") ?? loopback, port: port, interface: list.text("ifname"))
        default: throw UsageError(swtpm: "Unsupported socket type: \(type)")
        }
    }

    private func readFlags(_ options: inout DoorOptions) throws(UsageError) {
        if let text = values[.flags] {
            let list = try SwtpmOptions(text, "flags", [
                "not-need-init": .flag, "startup-none": .flag, "startup-clear": .flag, "startup-state": .flag,
                "startup-deactivated": .flag, "disable-auto-shutdown": .flag,
            ])
            guard !list.flag("startup-deactivated") else {
                throw UsageError(swtpm: "Error: startup-deactivated is only valid for a TPM 1.2.")
            }
            if list.flag("startup-clear") { options.startup = .clear } else if list.flag("startup-state") { options.startup = .state }
            options.needsInit = !list.flag("not-need-init") && options.startup == .none
            options.shutsDown = !list.flag("disable-auto-shutdown")
        }
        if let text = values[.locality] {
            let list = try SwtpmOptions(text, "locality", ["reject-locality-4": .flag, "allow-set-locality": .flag])
            options.rejectsLocality4 = list.flag("reject-locality-4")
        }
        if let text = values[.seccomp] {
            let action = try SwtpmOptions(text, "seccomp", ["action": .text]).text("action")
            guard ["none", "log", "kill"].contains(action) else { throw UsageError(swtpm: "Unsupported seccomp log action \(action ?? "")") }
        }
        if let text = values[.migration] {
            _ = try SwtpmOptions(text, "migration", ["incoming": .flag, "release-lock-outgoing": .flag])
        }
    }

    private func readFiles(_ options: inout DoorOptions) throws(UsageError) {
        if let text = values[.pid] {
            let list = try SwtpmOptions(text, "pid", ["file": .text, "fd": .number])
            options.pidFile = Self.target(list)
            guard options.pidFile != nil else { throw UsageError(swtpm: "The file or fd parameter is required for the pid option.") }
        }
        if let text = values[.log] {
            let list = try SwtpmOptions(
                text, "logging", ["file": .text, "fd": .number, "level": .number, "prefix": .text, "truncate": .flag])
            options.logFile = Self.target(list).map { .init(target: $0, truncates: list.flag("truncate")) }
            options.logPrefix = list.text("prefix") ?? ""
        }
    }

    private static func target(_ list: SwtpmOptions) -> DoorOptions.Target? {
        list.text("file").map { .path($0) } ?? list.descriptor("fd").map { .descriptor($0) }
    }

    private static let keyWords = [
        "mode": ["aes-cbc", "aes-128-cbc", "aes-256-cbc"], "format": ["hex", "binary"], "kdf": ["sha512", "pbkdf2"],
    ]

    /// PTM_CONFIG_FLAG_FILE_KEY and PTM_CONFIG_FLAG_MIGRATION_KEY
    private func readKeys(_ options: inout DoorOptions) throws(UsageError) {
        for (option, flag) in [(Option.key, UInt32(1)), (.migrationKey, 2)] {
            guard let text = values[option] else { continue }
            let list = try SwtpmOptions(text, "key", [
                "file": .text, "fd": .number, "pwdfile": .text, "pwdfd": .number, "mode": .text, "format": .text, "kdf": .text,
                "remove": .flag,
            ])
            guard Self.target(list) != nil || list.text("pwdfile") != nil || list.descriptor("pwdfd") != nil else {
                throw UsageError(swtpm: "Either file=, fd=, pwdfile=, or pwdfd= is required for key option")
            }
            for (name, words) in Self.keyWords {
                if let word = list.text(name), !words.contains(word) { throw UsageError(swtpm: "Unknown \(name) '\(word)' for the key option") }
            }
            if let path = list.text("file") ?? list.text("pwdfile") {
                options.keyFiles.append(.init(path: path, isRemoved: list.flag("remove")))
            }
            options.keyFlags |= flag
        }
    }
}
