// The ritual with which device, pcr and policy start: parse, acquire, confine, listen, say ready, serve, stop on a signal.
import CSystem
import Glibc
import IPC
import Sandbox
import SystemMap

package let paratpmVersion = "0.1.0"

/// An option of one daemon besides `--dir`, `--help` and `--version`. Each takes a value.
package struct DaemonOption: Sendable {
    package let name: String
    package let value: String
    package let help: String
    /// - Parameters:
    ///   - name: with its dashes: "--chip".
    ///   - value: what stands for the value in the help: "TCTI".
    package init(_ name: String, _ value: String, _ help: String) {
        self.name = name
        self.value = value
        self.help = help
    }

    /// For the services that paratpm-policy calls.
    package static let policyUser = DaemonOption("--policy-user", "USER", "the user that paratpm-policy runs as, if not this one's")
}

/// A command line, understood.
package struct DaemonArguments: Sendable {
    package let instance: Instance
    /// Told so in so many words: to start where the kernel cannot confine the process.
    package let allowsUnconfined: Bool
    private let values: [String: String]
    package let manager = ServiceManager()

    /// The value of an option, or nothing.
    package subscript(_ option: DaemonOption) -> String? { values[option.name] }

    package func policyUser() throws(Failure) -> uid_t? {
        guard let name = self[.policyUser] else { return nil }
        guard let uid = UserDatabase.user(name)?.uid else { throw Failure(.config, "there is no user \(printable(name))") }
        return uid
    }

    enum Request { case run(DaemonArguments), help, version }

    /// `--name VALUE` and `--name=VALUE`; anything else is an error of usage.
    static func parse(_ arguments: [String], options: [DaemonOption]) throws(Failure) -> Request {
        var values: [String: String] = [:]
        var allowsUnconfined = false
        let known = Set(options.map(\.name) + ["--dir"])
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--help" { return .help }
            if argument == "--version" { return .version }
            if argument == allowUnconfinedOption {
                allowsUnconfined = true
                continue
            }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let name = parts.first, known.contains(name) else {
                throw Failure(.usage, "unknown argument \(printable(argument)); see --help")
            }
            guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
                throw Failure(.usage, "\(name) needs a value; see --help")
            }
            guard values.updateValue(value, forKey: name) == nil else { throw Failure(.usage, "\(name) is given twice") }
        }
        return .run(DaemonArguments(
            instance: Instance.chosen(values["--dir"]), allowsUnconfined: allowsUnconfined, values: values))
    }
}

extension Instance {
    /// `--dir`, else PARATPM_DIR, else the system's; a relative path counts from the working directory.
    package static func chosen(_ option: String?) -> Instance {
        let environment = getenv("PARATPM_DIR").map { String(cString: $0) }
        return Instance(option: option.map(absolute), environment: environment.map(absolute))
    }

    private static func absolute(_ path: String) -> String {
        guard !path.isEmpty, !path.hasPrefix("/"), let current = getcwd(nil, 0) else { return path }
        defer { free(current) }
        return String(cString: current) + "/" + path
    }
}

/// What a service brings to the loop, once it has acquired what it needs.
package struct Service<State> {
    package var routes: [Route<ServiceConnection<State>>]
    package var limits = ServerLimits()
    package var turns: Turns<ServiceConnection<State>>?
    package var welcome: (Peer) -> ServiceConnection<State>?
    package var farewell: (ServiceConnection<State>) -> Void

    package init(
        routes: [Route<ServiceConnection<State>>], turns: Turns<ServiceConnection<State>>? = nil,
        welcome: @escaping (Peer) -> ServiceConnection<State>?,
        farewell: @escaping (ServiceConnection<State>) -> Void = { _ in }
    ) {
        self.routes = routes
        self.turns = turns
        self.welcome = welcome
        self.farewell = farewell
    }
}

package struct Daemon: Sendable {
    package let role: Role
    package let service: ServiceName
    /// One line for --help.
    package let summary: String
    package let options: [DaemonOption]

    package init(_ role: Role, _ service: ServiceName, summary: String, options: [DaemonOption] = []) {
        self.role = role
        self.service = service
        self.summary = summary
        self.options = options
    }

    /// A daemon's whole life.
    /// - Parameters:
    ///   - profile: what the process may do from then on.
    ///   - acquire: opens what the service needs and cannot open later.
    package func main<State>(
        profile: (DaemonArguments) -> Profile, acquire: (DaemonArguments) throws(Failure) -> Service<State>
    ) -> Never {
        Failure.role = role
        LogSink.look()
        do throws(Failure) {
            switch try DaemonArguments.parse(Array(CommandLine.arguments.dropFirst()), options: options) {
            case .help: print(usage)
            case .version: print("\(role.rawValue) \(paratpmVersion)")
            case .run(let arguments): try run(arguments, profile(arguments), acquire)
            }
        } catch {
            Failure.report(error)
            exit(error.exit.rawValue)
        }
        exit(0)
    }

    private func run<State>(
        _ arguments: DaemonArguments, _ profile: Profile, _ acquire: (DaemonArguments) throws(Failure) -> Service<State>
    ) throws(Failure) {
        let instance = arguments.instance
        try checkConfinable(allowsUnconfined: arguments.allowsUnconfined)
        // What others send to a closed pipe is an error code here, not a signal; TCTIs write without MSG_NOSIGNAL.
        signal(SIGPIPE, SIG_IGN)
        let signals = Descriptor(owning: csystem_signalfd([SIGTERM, SIGINT], 2))
        guard signals.raw >= 0 else { throw .system(.software, "watch", "signals") }
        try Files.makeDirectory(instance.socketDirectory(self.service), mode: 0o755)
        try Files.makeDirectory(instance.registryDirectory, mode: 0o755)
        let socket = instance.socket(self.service)
        guard (try? Channel.connect(socket)) == nil else {
            throw Failure(.unavailable, "\(socket) is served already: another \(role.rawValue) runs for this instance")
        }
        let service = try acquire(arguments)
        let listener = try bind(socket)
        let watchdog = arguments.manager.watchdogTimer()
        LogSink.connect()

        try confine(profile, role, allowsUnconfined: arguments.allowsUnconfined)

        let server = try listen(service, on: listener)
        server.watch(signals) { csystem_signal_read(signals.raw) == 0 }
        let manager = arguments.manager
        if let watchdog {
            server.watch(watchdog) {
                manager.answer(watchdog)
                return true
            }
        }
        manager.ready()
        server.run()
        manager.stopping()
    }

    /// The socket stays when the process ends, as none may remove it that is confined; the next one takes its place.
    private func bind(_ path: String) throws(Failure) -> Descriptor {
        // Everyone may knock; what a connection may do follows from its introduction.
        guard let socket = try? bindSocket(at: path, mode: 0o666) else { throw .system(.cannotCreate, "listen at", path) }
        return socket
    }

    private func listen<State>(_ service: Service<State>, on listener: Descriptor) throws(Failure) -> Server {
        guard (try? IPC.listen(on: listener)) != nil else { throw .system(.cannotCreate, "listen at", self.service.rawValue) }
        return Server(
            listener: listener, routes: service.routes, limits: service.limits, turns: service.turns, welcome: service.welcome,
            farewell: service.farewell)
    }

    private var usage: String {
        let all = [DaemonOption("--dir", "DIR", "the instance's directory (else PARATPM_DIR, else the system's)")] + options
        let lines = all.map { option in
            let left = "  \(option.name) \(option.value)"
            return left + String(repeating: " ", count: max(2, 28 - left.count)) + option.help
        }
        return ([
            "usage: \(role.rawValue) [options]", summary, "",
        ] + lines + ["  \(allowUnconfinedOption)        start even where the kernel cannot confine the process", "  --help, --version"]).joined(separator: "\n")
    }
}

/// Text from outside, fit for a log line.
package func printable(_ text: String) -> String {
    let shown = text.unicodeScalars.prefix(256).map { $0.value < 0x20 || $0.value == 0x7F ? "?" : String($0) }.joined()
    return "“\(shown)”"
}

extension Failure {
    /// Set once, before anything else runs.
    nonisolated(unsafe) static var role = Role.control

    /// The failure as a log line of this process.
    package static func report(_ failure: Failure) { log(.error, role, failure.message) }
}
