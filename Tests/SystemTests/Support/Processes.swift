// Real processes for the system tests: the broker, guests under the swtpm command line, and stock swtpm beside them.
import Foundation
import RunningService
import Testing

struct HarnessError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

enum Programs {
    /// Where the build put the executables: beside the test bundle.
    static let directory: String = {
        var path = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
        while path.path != "/" {
            path.deleteLastPathComponent()
            if FileManager.default.isExecutableFile(atPath: path.appendingPathComponent("paratpm-guest").path) { return path.path }
        }
        // The test runner's own executable may live in the toolchain; then the build folder is below the package.
        return URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent(".build/debug").path
    }()

    static func path(_ name: String) -> String { directory + "/" + name }
    static let stockSwtpm = "/usr/bin/swtpm"
}

/// A directory that is gone with the last reference.
final class TemporaryDirectory {
    let path: String
    init() throws {
        path = try makeTemporaryDirectory()
    }
    deinit { if getenv("PARATPM_KEEP") == nil { try? FileManager.default.removeItem(atPath: path) } }
}

/// A child process that dies with its owner.
final class Child {
    let process = Process()
    let logPath: String

    init(_ executable: String, _ arguments: [String], environment: [String: String] = [:], log: String) throws {
        logPath = log
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        let handle = try FileHandle(forUpdating: URL(fileURLWithPath: log))
        handle.seekToEndOfFile()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
    }

    var pid: pid_t { process.processIdentifier }
    var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }
    var isRunning: Bool { process.isRunning }

    func stop(_ signal: Int32 = SIGTERM, within seconds: Double = 10) {
        guard process.isRunning else { return }
        kill(pid, signal)
        let deadline = Date().addingTimeInterval(seconds)
        while process.isRunning && Date() < deadline { usleep(5000) }
        if process.isRunning {
            kill(pid, SIGKILL)
            process.waitUntilExit()
        }
    }

    deinit { stop(SIGTERM, within: 5) }
}

/// Waits until a condition holds.
func eventually(_ what: String, within seconds: Double = 20, _ condition: () -> Bool) throws {
    let deadline = Date().addingTimeInterval(seconds)
    while !condition() {
        guard Date() < deadline else { throw HarnessError("not within \(seconds) s: \(what)") }
        usleep(3000)
    }
}

/// Runs a program to its end.
@discardableResult
func run(_ executable: String, _ arguments: [String], environment: [String: String] = [:]) throws -> (status: Int32, output: String) {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
}

/// A broker of its own: `paratpmctl run` on a simulated chip.
final class Broker {
    let directory: TemporaryDirectory
    private(set) var child: Child
    private let chip: String

    /// - Parameter chip: simulated, unless it is one of the test's own.
    init(chip: String = "simulated") throws {
        self.chip = chip
        directory = try TemporaryDirectory()
        child = try Self.start(directory.path, chip)
    }

    private static func start(_ directory: String, _ chip: String) throws -> Child {
        let child = try Child(
            Programs.path("paratpmctl"), ["run", "--dir", directory, "--chip", chip], log: directory + "/broker.log")
        try eventually("paratpmctl run says ready; its log: \(child.log)", within: 40) { child.log.contains("ready") || !child.isRunning }
        guard child.isRunning else { throw HarnessError("paratpmctl run ended: \(child.log)") }
        return child
    }

    func restart() throws {
        child.stop()
        child = try Self.start(directory.path, chip)
    }

    /// The broker's services, the chip, and every door and proxy of this instance.
    func killEverything() throws {
        let pids = try processes { _ in true }
        for pid in pids { kill(pid, SIGKILL) }
        try eventually("all processes are dead") { !child.isRunning }
    }

    /// The pids of this instance's processes whose command line matches.
    func processes(_ matches: (String) -> Bool) throws -> [pid_t] {
        let listing = try FileManager.default.contentsOfDirectory(atPath: "/proc")
        return listing.compactMap { pid_t($0) }.filter { pid in
            guard pid != getpid(), let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
            let line = String(decoding: data, as: UTF8.self).replacingOccurrences(of: "\0", with: " ")
            let environment = FileManager.default.contents(atPath: "/proc/\(pid)/environ").map { String(decoding: $0, as: UTF8.self) } ?? ""
            return (line.contains(directory.path) || environment.contains("PARATPM_DIR=\(directory.path)\0")) && matches(line)
        }
    }

    func restartAfterKill() throws { child = try Self.start(directory.path, chip) }

    deinit { child.stop() }
}

/// A TPM behind the swtpm command line on Unix sockets: stock, or ours under the name swtpm.
final class Emulator {
    let directory: TemporaryDirectory
    private(set) var child: Child
    private let executable: String
    private let environment: [String: String]
    private let flags: String
    private let state: String

    /// - Parameter broker: nil runs stock swtpm.
    convenience init(_ broker: Broker?, flags: String = "not-need-init,startup-clear", state: String? = nil, proxy: String? = nil) throws {
        try self.init(in: broker?.directory.path, flags: flags, state: state, proxy: proxy)
    }

    /// - Parameters:
    ///   - instance: the directory of the instance whose guest this is; nil runs stock swtpm.
    ///   - state: where the TPM's state is; nil: in a directory of its own.
    ///   - proxy: the program that the door takes for its proxy; nil: the proxy.
    init(in instance: String?, flags: String = "not-need-init,startup-clear", state: String? = nil, proxy: String? = nil) throws {
        directory = try TemporaryDirectory()
        self.flags = flags
        self.state = state ?? directory.path + "/state"
        if let instance {
            executable = directory.path + "/bin/swtpm"
            try FileManager.default.createDirectory(atPath: directory.path + "/bin", withIntermediateDirectories: true)
            if let proxy {
                // A door takes the proxy that lies beside itself.
                // A copy cannot be started as long as another thread's fork has it open for writing (ETXTBSY).
                do { try FileManager.default.linkItem(atPath: Programs.path("paratpm-guest"), toPath: executable) } catch {
                    try FileManager.default.copyItem(atPath: Programs.path("paratpm-guest"), toPath: executable)
                }
                try FileManager.default.createSymbolicLink(
                    atPath: directory.path + "/bin/paratpm-proxy", withDestinationPath: Programs.path(proxy))
            } else {
                try FileManager.default.createSymbolicLink(atPath: executable, withDestinationPath: Programs.path("paratpm-guest"))
            }
            environment = ["PARATPM_DIR": instance]
        } else {
            executable = Programs.stockSwtpm
            environment = [:]
        }
        try FileManager.default.createDirectory(atPath: self.state, withIntermediateDirectories: true)
        child = try Self.start(executable, directory.path, self.state, flags, environment)
    }

    private static func start(
        _ executable: String, _ directory: String, _ state: String, _ flags: String, _ environment: [String: String]
    ) throws -> Child {
        for socket in ["data", "ctrl"] { unlink("\(directory)/\(socket)") }
        let child = try Child(
            executable,
            ["socket", "--tpm2", "--server", "type=unixio,path=\(directory)/data", "--ctrl", "type=unixio,path=\(directory)/ctrl",
             "--tpmstate", "dir=\(state)", "--flags", flags],
            environment: environment, log: directory + "/log")
        try eventually("\(executable) listens; its log: \(child.log)") {
            (access(directory + "/data", F_OK) == 0 && access(directory + "/ctrl", F_OK) == 0) || !child.isRunning
        }
        guard child.isRunning else { throw HarnessError("\(executable) ended: \(child.log)") }
        return child
    }

    var dataSocket: String { directory.path + "/data" }
    var controlSocket: String { directory.path + "/ctrl" }
    var stateFile: String { state + "/tpm2-00.permall" }

    func connect() throws -> TPMConnection { try TPMConnection(dataSocket) }

    func restart(_ signal: Int32 = SIGTERM) throws {
        child.stop(signal)
        child = try Self.start(executable, directory.path, state, flags, environment)
    }

    /// Starts again after the process is gone already.
    func startAgain() throws { child = try Self.start(executable, directory.path, state, flags, environment) }

    deinit { child.stop(environment.isEmpty ? SIGKILL : SIGTERM) }
}
