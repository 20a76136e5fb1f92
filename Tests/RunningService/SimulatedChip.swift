// For tests: swtpm as the chip.
import CSystem
import Glibc
import IPC

/// A swtpm that serves its socket until it is killed or dropped.
package final class SimulatedChip {
    package let socket: String
    private let directory: String
    private var process: pid_t = -1

    package init(in directory: String, name: String = "chip") throws {
        self.directory = "\(directory)/\(name)"
        socket = "\(directory)/\(name).sock"
        mkdir(self.directory, 0o700)
        try start()
    }

    deinit { kill() }

    package func start() throws {
        unlink(socket)
        let arguments = [
            "swtpm", "socket", "--tpm2", "--server", "type=unixio,path=\(socket)", "--ctrl", "type=unixio,path=\(socket).ctrl",
            "--tpmstate", "dir=\(directory)", "--flags", "not-need-init,startup-clear", "--log", "file=\(directory)/log",
        ]
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        process = csystem_spawn("/usr/bin/swtpm", &argv, environ, [], [], 0, SIGKILL)
        guard process > 0 else { throw IPCError.system(errno) }
        for _ in 0..<500 {
            if isListening { return }
            usleep(10_000)
        }
        throw IPCError.timeout
    }

    /// The socket's file is there before anyone listens. The kernel's table says it without a connection, which the chip would serve.
    private var isListening: Bool {
        let acceptsConnections = "00010000"
        guard let table = fopen("/proc/net/unix", "r") else { return false }
        defer { fclose(table) }
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), table) != nil {
            let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
            if fields.count > 7, fields[3] == acceptsConnections, String(fields[7].dropLast()) == socket { return true }
        }
        return false
    }

    /// As a power cut.
    package func kill() {
        guard process > 0 else { return }
        Glibc.kill(process, SIGKILL)
        waitpid(process, nil, 0)
        process = -1
    }
}
