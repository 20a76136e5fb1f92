// The run: what is started, in which order it is measured.
import Glibc
import IPC
import SystemMap
import TPMWire
import Wire

struct Bench {
    /// How many guests, and how many stock swtpms, run at once where memory and start-up time are measured.
    static let crowd = 16

    private let arguments: Main.Arguments
    private let directory: String
    private var log: String { arguments.work + "/log" }

    init(_ arguments: Main.Arguments) {
        self.arguments = arguments
        directory = arguments.work + "/broker"
    }

    func run() throws(BenchError) -> Report {
        let broker = try startBroker()
        defer { withExtendedLifetime(broker) {} }
        var operations = try measureAll(Operation.all(scale: arguments.scale), as: "measured")
        let stock = try measureCrowd(named: "stock", start: startStock)
        let guests = try measureCrowd(named: "guest") { name, socket throws(BenchError) in
            try control(["guest", "add", name])
            return { () throws(BenchError) in try startDoor(name, socket) }
        }
        // Last, because a guest's first start makes its endorsement keys once the host can certify them.
        try control(["host", "init"])
        operations += try measureAll([.deepQuote], as: "quoted")
        return Report(operations: operations, stock: stock, guests: guests)
    }

    private func measureAll(_ operations: [Operation], as name: String) throws(BenchError) -> [Row] {
        let chip = try RunningProgram(
            arguments.swtpm,
            ["socket", "--tpm2", "--server", "type=unixio,path=\(arguments.work)/\(name)-chip.sock", "--flags", "not-need-init,startup-clear",
             "--tpmstate", "dir=\(try makeDirectory(name + "-chip"))"],
            output: log)
        let stock = try startStock(name + "-stock", "\(arguments.work)/\(name)-stock.sock")()
        try control(["guest", "add", name])
        let door = try startDoor(name, "\(arguments.work)/\(name).sock")
        defer { withExtendedLifetime((chip, stock, door)) {} }
        let tpms = [
            try TPMClient.server("\(arguments.work)/\(name)-chip.sock"), try TPMClient.hypervisor("\(arguments.work)/\(name)-stock.sock"),
            try TPMClient.hypervisor("\(arguments.work)/\(name).sock"),
        ]
        let meter = try Meter(Instance(directory: directory))
        let series = operations.map { Series($0, on: tpms, meter) }
        let laps = operations.map(\.laps).max() ?? 0
        // What takes one lap comes in the last.
        for lap in 0..<laps {
            for (operation, series) in zip(operations, series) where lap >= laps - operation.laps {
                try series.run(lap: lap - (laps - operation.laps))
            }
        }
        return series.map(\.row)
    }

    private typealias Start = () throws(BenchError) -> RunningProgram

    /// Many at once: each one's time from exec to its first answer, for the first time and again, then everyone's memory.
    private func measureCrowd(
        named kind: String, start: (_ name: String, _ socket: String) throws(BenchError) -> Start
    ) throws(BenchError) -> Crowd {
        var starts: [(Start, socket: String)] = []
        for i in 0..<Self.crowd {
            let socket = "\(arguments.work)/\(kind)\(i).sock"
            starts.append((try start("\(kind)\(i)", socket), socket))
        }
        let first = try startAll(starts).times
        let (running, again) = try startAll(starts)
        for (_, tpm) in running { try exercise(tpm) }
        var sum = Memory()
        for (program, _) in running {
            let memory = try program.memory()
            sum.privateDirty += memory.privateDirty / Double(running.count)
            sum.proportional += memory.proportional / Double(running.count)
        }
        return Crowd(firstStart: first, start: again, memory: sum)
    }

    /// One after another; all of them run on until the result is dropped.
    private func startAll(
        _ starts: [(Start, socket: String)]
    ) throws(BenchError) -> (running: [(RunningProgram, TPMClient)], times: Times) {
        var running: [(RunningProgram, TPMClient)] = []
        var times: [Int] = []
        for (start, socket) in starts {
            unlink(socket)
            let began = nanoseconds()
            let program = try start()
            let tpm = try TPMClient.hypervisor(socket)
            times.append(nanoseconds() - began)
            running.append((program, tpm))
        }
        return (running, Times(times))
    }

    /// What a guest's boot does with its TPM, more or less.
    private func exercise(_ tpm: TPMClient) throws(BenchError) {
        _ = try tpm.run(CommandMessage(.getRandom, parameters: [0, 32]))
        var extend = WireWriter()
        extend.list([TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))])
        let password = AuthCommand(handle: .password)
        for pcr in 0..<10 {
            let handles = [TPMHandle(rawValue: UInt32(pcr))]
            _ = try tpm.run(CommandMessage(.pcrExtend, handles: handles, sessions: [password], parameters: extend.bytes))
        }
        try tpm.flush(try tpm.createPrimary(.owner, .eccStorage))
    }

    // MARK: Programs

    private func startBroker() throws(BenchError) -> RunningProgram {
        let broker = try RunningProgram(arguments.programs + "/paratpmctl", ["run", "--dir", directory], output: log)
        for _ in 0..<600 {
            if (try? control(["status"])) != nil { return broker }
            usleep(100_000)
        }
        throw BenchError("the broker does not become ready; see \(log)")
    }

    /// A command of paratpmctl that must succeed.
    private func control(_ command: [String]) throws(BenchError) {
        let program = try RunningProgram(arguments.programs + "/paratpmctl", command + ["--dir", directory], output: log)
        guard program.succeeded() else { throw BenchError("paratpmctl \(command.joined(separator: " ")) failed; see \(log)") }
    }

    private func startDoor(_ name: String, _ socket: String) throws(BenchError) -> RunningProgram {
        try RunningProgram(
            arguments.programs + "/paratpm-guest", ["--dir", directory, "--name", name, "--ctrl", socket], output: log)
    }

    /// A stock swtpm as QEMU would use it.
    private func startStock(_ name: String, _ socket: String) throws(BenchError) -> Start {
        let state = try makeDirectory(name)
        return { () throws(BenchError) in
            try RunningProgram(
                arguments.swtpm, ["socket", "--tpm2", "--ctrl", "type=unixio,path=\(socket)", "--tpmstate", "dir=\(state)"],
                output: log)
        }
    }

    private func makeDirectory(_ name: String) throws(BenchError) -> String {
        let path = "\(arguments.work)/\(name)"
        guard mkdir(path, 0o700) == 0 else { throw BenchError("\(path): \(String(cString: strerror(errno)))") }
        return path
    }
}
