// `paratpmctl status`: which services answer, and what they say about themselves.
import ArgumentParser
import Glibc
import IPC
import SystemMap

struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show which services are up, and what they say about themselves.",
        discussion: "Exit status: 0 when all services answer, 69 otherwise.")

    @OptionGroup var options: InstanceOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let instance = options.instance
        let answers = ServiceName.allCases.map { Answer(service: $0, instance) }
        if json {
            print(JSON.object([
                ("directory", .string(instance.stateDirectory)),
                ("services", .object(answers.map { ($0.service.rawValue, $0.json) })),
            ]))
        } else {
            answers.forEach { $0.show() }
        }
        guard answers.allSatisfy({ $0.problem == nil }) else { throw ArgumentParser.ExitCode(EX_UNAVAILABLE) }
    }
}

private struct Answer {
    /// Seconds that a service has to answer.
    private static let limit = 5

    let service: ServiceName
    var lines: [(key: String, value: String)] = []
    var problem: String?

    init(service: ServiceName, _ instance: Instance) {
        self.service = service
        do throws(IPCError) {
            let channel = try Channel.connect(instance.socket(service), timeout: Self.limit)
            lines = try channel.call(StatusCall.self, Nothing()).lines
        } catch {
            problem = explain(error)
        }
    }

    func show() {
        print("paratpm-\(service.rawValue): \(problem.map { "down (\($0))" } ?? "up")")
        for (key, value) in lines { print("  \(key): \(value)") }
    }

    var json: JSON {
        let state: [(String, JSON)] = [("up", .bool(problem == nil))]
        return .object(state + (problem.map { [("problem", .string($0))] } ?? lines.map { ($0.key, .string($0.value)) }))
    }
}

/// An IPC error in words.
func explain(_ error: IPCError) -> String {
    switch error {
    case .disconnected: "it closed the connection"
    case .malformed: "its answer does not decode: paratpmctl and the service are of different versions"
    case .status(.notPermitted): "not permitted: run as root, or as the service's own user"
    case .status(let status): "it refused, with status 0x" + String(status.rawValue, radix: 16)
    case .system(ENOENT), .system(ECONNREFUSED): "not running"
    case .system(let code): describe(errno: code)
    case .timeout: "no answer in time"
    }
}
