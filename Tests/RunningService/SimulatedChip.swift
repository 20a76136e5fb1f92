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
            // Its socket is there before it listens.
            if accepts() { return }
            usleep(10_000)
        }
        throw IPCError.timeout
    }

    private func accepts() -> Bool {
        let raw = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(raw) }
        return withUnixAddress(socket) { connect(raw, $0, $1) } == 0
    }

    /// As a power cut.
    package func kill() {
        guard process > 0 else { return }
        Glibc.kill(process, SIGKILL)
        waitpid(process, nil, 0)
        process = -1
    }
}
