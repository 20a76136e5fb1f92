// `paratpmctl run`: the whole broker in the foreground, for embedded use and for trying things out.
import ArgumentParser
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the broker in the foreground until SIGTERM or SIGINT.",
        discussion: """
            Makes the instance's directories, starts the simulated chip (unless --chip names another), paratpm-device, \
            paratpm-pcr and paratpm-policy, makes the gate secret where there are no guests' keys yet (as paratpmctl host init does), \
            prints "ready" when all of them answer, and starts again what dies.
            """)

    @OptionGroup var options: InstanceOptions

    @Option(help: ArgumentHelp(
        "The chip: a TCTI string such as device:/dev/tpm0, or simulated, which starts swtpm.", valueName: "tcti"))
    var chip = "simulated"

    @Flag(help: "Start the services even where the kernel cannot confine them.")
    var allowUnconfined = false

    /// How often, 50 ms apart, the lock is tried: the children of a broker that was killed need a moment.
    private static let lockTries = 20

    func run() throws {
        umask(0o077)
        signal(SIGPIPE, SIG_IGN)
        let instance = options.instance
        let manager = ServiceManager()
        try makeDirectories(instance)
        let lock = try lock(instance)
        try PolicySources.reporting { try CompiledPolicy.write(try PolicySources.load([], instance).compiled(), instance) }
        let programs = try programs(instance)
        let log = try InstanceLog(instance)
        defer { log.end() }
        let supervisor = try Supervisor(notifySocket: instance.notifySocket, lock: lock)
        defer {
            manager.stopping()
            supervisor.stop()
            removeSockets(instance)
        }
        for program in programs where !supervisor.stopping { try supervisor.start(program) }
        if !supervisor.stopping {
            try makeGateSecret(instance)
            print("ready")
            fflush(nil)
            manager.ready()
        }
        try supervisor.supervise()
    }

    /// `host init` for the gate, where nothing can have been gated yet. Elsewhere a missing record was lost, and is the administrator's concern.
    private func makeGateSecret(_ instance: Instance) throws(Failure) {
        guard access(instance.gateRecord, F_OK) != 0, try Files.list(instance.guestRecords).isEmpty else { return }
        _ = try instance.initializeGate()
        SystemMap.log(.notice, .control, "first start: had the gate secret made, as paratpmctl host init does")
    }

    /// In the order in which they are started: each needs only those before it.
    private func programs(_ instance: Instance) throws(Failure) -> [Program] {
        var programs: [Program] = []
        var address = chip
        if chip == "simulated" {
            programs.append(try simulatedChip(instance))
            address = "stream:" + instance.chipSocket
        }
        for role in [Role.device, .pcr, .policy] {
            let chipArguments = role == .device ? ["--chip", address] : []
            programs.append(Program(
                name: role.rawValue, path: try Programs.own(role), arguments: options.arguments + chipArguments + (allowUnconfined ? [allowUnconfinedOption] : []),
                readiness: .notifies, isBatch: role == .device))
        }
        return programs
    }

    /// The real swtpm, serving its one client on a Unix socket and keeping its state in the instance.
    private func simulatedChip(_ instance: Instance) throws(Failure) -> Program {
        Program(
            name: "the simulated chip (swtpm)", path: try Programs.realSwtpm(),
            arguments: [
                "socket", "--tpm2", "--server", "type=unixio,path=\(instance.chipSocket)",
                "--ctrl", "type=unixio,path=\(instance.chipControlSocket)", "--tpmstate", "dir=\(instance.chipDirectory)",
                "--flags", "not-need-init,startup-clear",
            ],
            // CMD_GET_CAPABILITY: swtpm's first answer means that it listens on both sockets. (The other one serves one client.)
            readiness: .answers(instance.chipControlSocket, [0, 0, 0, 1]))
    }

    private func makeDirectories(_ instance: Instance) throws(Failure) {
        for path in [
            instance.stateDirectory, instance.runDirectory, instance.chipDirectory, instance.deviceDirectory,
            instance.registryDirectory, instance.guestsDirectory,
        ] {
            try Files.makeDirectory(path, mode: 0o700)
        }
    }

    /// Held while a broker, or a child that outlives it by a moment, serves the instance: two would corrupt its state.
    private func lock(_ instance: Instance) throws(Failure) -> Descriptor {
        let path = instance.runDirectory + "/lock"
        let raw = csystem_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600)
        guard raw >= 0 else { throw .system(.cannotCreate, "cannot open \(path)") }
        let descriptor = Descriptor(owning: raw)
        for _ in 0..<Self.lockTries {
            if flock(raw, LOCK_EX | LOCK_NB) == 0 { return descriptor }
            usleep(50_000)
        }
        throw Failure(.unavailable, "another broker serves \(instance.stateDirectory) (it holds \(path)): stop it first")
    }

    private func removeSockets(_ instance: Instance) {
        let sockets = ServiceName.allCases.map(instance.socket)
        for path in sockets + [instance.chipSocket, instance.chipControlSocket, instance.notifySocket] { unlink(path) }
    }
}

extension Instance {
    var chipControlSocket: String { runDirectory + "/chip-control.sock" }
    var guestsDirectory: String { stateDirectory + "/guests" }
}
