// Where an instance of paratpm keeps its files: the system's own, or everything below one directory.

/// The paths of one broker.
package struct Instance: Sendable {
    /// Sockets: /run/paratpm, or DIR/run
    package let runDirectory: String
    /// Everything that lasts: /var/lib/paratpm, or DIR
    package let stateDirectory: String
    /// Whether it is the system-wide one, in which each process is a user of its own and the service manager makes their directories.
    package let isSystem: Bool

    /// The system-wide instance.
    package static let system = Instance(runDirectory: "/run/paratpm", stateDirectory: "/var/lib/paratpm", isSystem: true)

    private init(runDirectory: String, stateDirectory: String, isSystem: Bool) {
        self.runDirectory = runDirectory
        self.stateDirectory = stateDirectory
        self.isSystem = isSystem
    }

    /// An embedded instance, all of it below `directory` (an absolute path).
    package init(directory: String) {
        self.init(runDirectory: directory + "/run", stateDirectory: directory, isSystem: false)
    }

    /// `--dir`, else PARATPM_DIR, else the system's. Empty strings count as absent.
    package init(option: String?, environment: String?) {
        switch (option ?? "", environment ?? "") {
        case ("", ""): self = .system
        case ("", let path), (let path, _): self.init(directory: path)
        }
    }

    /// Where a service's socket is: in the system's instance in a directory of that service's own user.
    package func socketDirectory(_ service: ServiceName) -> String {
        isSystem ? "\(runDirectory)/\(service.rawValue)" : runDirectory
    }
    package func socket(_ service: ServiceName) -> String { "\(socketDirectory(service))/\(service.rawValue).sock" }
    /// A datagram socket on which `paratpmctl run` hears that its services are ready.
    package var notifySocket: String { runDirectory + "/notify" }

    /// What paratpm-device keeps: the host's record, and one for each guest.
    package var deviceDirectory: String { stateDirectory + "/device" }
    package var hostRecord: String { deviceDirectory + "/host" }
    package var guestRecords: String { deviceDirectory + "/guests" }
    package func guestRecord(_ guest: GuestID) -> String { "\(guestRecords)/\(guest.hex)" }

    /// What is kept for paratpm-policy: the gate secret, sealed by the chip.
    package var policyDirectory: String { stateDirectory + "/policy" }
    package var gateRecord: String { policyDirectory + "/gate" }

    /// The administrator's policy files, *.toml: /etc/paratpm, or DIR/policy.d
    package var policyFilesDirectory: String {
        isSystem ? "/etc/paratpm" : stateDirectory + "/policy.d"
    }
    /// What they compile to, which every service reads, and root or the instance's user alone writes.
    package var rulesDirectory: String { stateDirectory + "/rules" }
    package var compiledPolicy: String { rulesDirectory + "/compiled" }

    /// The public identities of enrolled guests, a file each, which every service reads.
    package var registryDirectory: String { stateDirectory + "/registry" }
    package func registration(_ name: GuestName) -> String { "\(registryDirectory)/\(name.text)" }

    /// A guest's own directory: its TPM's lasting state.
    package func guestDirectory(_ name: GuestName) -> String { "\(stateDirectory)/guests/\(name.text)" }
    /// Its private identity: in the system's instance only root reads it, and the service manager passes it as a credential.
    package var identityDirectory: String { stateDirectory + "/identities" }
    package func identity(_ name: GuestName) -> String {
        isSystem ? "\(identityDirectory)/\(name.text)" : "\(guestDirectory(name))/\(Self.identityFile)"
    }
    package func controlSocket(_ name: GuestName) -> String {
        isSystem ? "\(runDirectory)/guests/\(name.text).sock" : "\(guestDirectory(name))/control.sock"
    }
    /// What `paratpmctl guest remove --keep-state` leaves of a guest.
    package func removedDirectory(_ guest: GuestID, _ name: GuestName) -> String {
        "\(stateDirectory)/removed/\(name.text)-\(guest.hex)"
    }

    /// The simulated chip's state and socket.
    package var chipDirectory: String { stateDirectory + "/chip" }
    package var chipSocket: String { runDirectory + "/chip.sock" }

    /// A guest's files, and the name of its credential.
    package static let identityFile = "paratpm-identity"
    /// The state file has the name that users of swtpm look for.
    package static let stateFile = "tpm2-00.permall"
    /// Where a program names the state file itself, the directory with the guest's identity is beside it, under this longer name.
    package static let besideStateFile = ".paratpm"
}

/// A guest's name: 1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit.
package struct GuestName: Hashable, Sendable, CustomStringConvertible {
    package let text: String
    package var description: String { text }

    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard (1...63).contains(bytes.count), let first = bytes.first, Self.isAlphanumeric(first) else { return nil }
        guard bytes.allSatisfy({ Self.isAlphanumeric($0) || [0x2D, 0x5F, 0x2E].contains($0) }) else { return nil }
        self.text = text
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: false
        }
    }
}
