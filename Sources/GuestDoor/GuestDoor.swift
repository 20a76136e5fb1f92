// paratpm-guest: one guest's door. From the command line to the loop.
import ControlChannel
import CSystem
import Glibc
import GuestIdentity
import IPC
import Sandbox
import SystemMap

package enum GuestDoor {
    /// Under the name swtpm the command line is swtpm's.
    package static func main() -> Never {
        LogSink.look()
        var arguments = CommandLine.arguments
        let program = arguments.isEmpty ? "" : arguments.removeFirst()
        let name = program.split(separator: "/").last.map(String.init) ?? ""
        do throws(UsageError) {
            if name.hasPrefix("swtpm") {
                let environment = ["TPM_PATH", "TPM_PORT"].reduce(into: [String: String]()) { values, name in
                    values[name] = getenv(name).map { String(cString: $0) }
                }
                perform(try SwtpmArguments.parse(arguments, environment: environment), as: name)
            } else {
                perform(try NativeArguments.parse(arguments, activated: ServiceManager.passedCount == 1), as: nil)
            }
        } catch {
            log(.error, .guest, error.message)
            exit(error.exit)
        }
    }

    /// - Parameter name: the process's name, where it is not ours.
    private static func perform(_ command: DoorCommand, as name: String?) -> Never {
        do throws(Failure) {
            switch command {
            case .print(let text): print(text)
            case .printStates(let guest):
                var status = stat()
                let isThere = stat(GuestHome.statePath(guest), &status) == 0 && status.st_size > 0
                print(SwtpmTexts.states(isThere ? Int(status.st_size) : nil))
            case .run(var options):
                // swtpm's command line has no option for it.
                if name != nil { options.allowsUnconfined = getenv("PARATPM_ALLOW_UNCONFINED") != nil }
                if options.isDaemon && !Background.isHere { try Background.start() }
                if let name { csystem_set_name(name) }
                try run(options)
            }
        } catch {
            log(.error, .guest, error.message)
            exit(error.exit.rawValue)
        }
        exit(0)
    }

    /// Acquire, confine, listen, serve, clean up.
    private static func run(_ options: DoorOptions) throws(Failure) {
        try checkConfinable(allowsUnconfined: options.allowsUnconfined)
        if options.isDaemon { Background.leaveTerminal() }
        if let user = options.runAs { try Surroundings.become(user) }
        if let file = options.logFile { try Surroundings.redirectLog(file) }
        LogSink.prefix = options.logPrefix
        LogSink.look()
        signal(SIGPIPE, SIG_IGN)
        let signals = Descriptor(owning: csystem_signalfd([SIGTERM, SIGINT], 2))
        let manager = ServiceManager()
        guard signals.raw >= 0 else { throw Failure(.software, "cannot watch signals: \(describe(errno: errno))") }
        let instance = Instance.chosen(options.directory)
        // Before there is any secret that it could inherit.
        let spawner = try ProxySpawner(executable: try findProxy(), allowsUnconfined: options.allowsUnconfined)
        let relay = try options.device.map { (device) throws(Failure) in
            try DeviceRelay.start(device, allowsUnconfined: options.allowsUnconfined)
        }
        try Broker.probe(instance)
        let home = try GuestHome.open(options.guest, instance)
        let state = try home.openState(mode: options.stateMode)
        // The sockets early: those who start a TPM look for them soon, and clients can wait there.
        let files = FilesToRemove()
        defer { files.remove() }
        let control = try options.control.map { (endpoint) throws(Failure) in try files.open(endpoint) }
        let data = try options.data.map { (endpoint) throws(Failure) in try files.open(endpoint) } ?? relay.map { OpenEndpoint(connection: $0) }
        if options.keyFlags != 0 {
            try Surroundings.takeKeys(options.keyFiles)
            log(.notice, .guest, "the state is always encrypted, under a key that the hardware guards; the keys given are not used")
        }
        guard let mark = CommandMark.makeFile() else { throw Failure(.software, "cannot make a memory file: \(describe(errno: errno))") }
        let guest = RunningGuest(options, Broker(instance, home), state: state, mark: mark, spawner: spawner)
        try guest.start()
        let door = Door(guest, control: control, signals: signals, manager: manager)
        // Power first: a client that waits at the socket already must find the TPM on.
        if !options.needsInit { try guest.powerOnAtStart() }
        if let data { try guest.takeData(from: data) }
        if let target = options.pidFile { try files.writePID(target) }
        if options.isDaemon { Background.ready(keepsLog: options.logFile != nil) }
        LogSink.connect()

        try confine(.guest(removing: files.directories), .guest, allowsUnconfined: options.allowsUnconfined)
        csystem_return_free_memory()

        manager.ready()
        defer { manager.stopping() }
        try door.run()
        guest.end()
    }
}

/// The sockets and the pid file, which go with the process.
private final class FilesToRemove {
    private var paths: [String] = []

    func open(_ endpoint: Endpoint) throws(Failure) -> OpenEndpoint {
        let opened = try OpenEndpoint(endpoint)
        if let path = opened.path { paths.append(path) }
        return opened
    }

    func writePID(_ target: DoorOptions.Target) throws(Failure) {
        try Surroundings.writePID(target)
        if case .path(let path) = target { paths.append(path) }
    }

    var directories: [String] {
        Set(paths.map { path in path.lastIndex(of: "/").map { String(path[...$0]) } ?? "." }).sorted()
    }

    func remove() { for path in paths { unlink(path) } }
}
