// The other side of the control channel: one connection, on which requests are answered in turn.
import ControlChannel
import CSystem
import Glibc
import IPC
import SystemMap
import Wire

package struct ControlClient {
    /// Seconds that an answer may take: a power cycle waits for the chip.
    private static let patience = 120
    /// The largest answer: ptm_getinfo with its text.
    private static let answerMax = 4096

    private let descriptor: Descriptor

    package init(_ descriptor: Descriptor) {
        self.descriptor = descriptor
        descriptor.setReceiveTimeout(milliseconds: Self.patience * 1000)
    }

    static func connect(unix path: String) throws(ToolError) -> ControlClient {
        let descriptor = try socket(AF_UNIX)
        guard withUnixAddress(path, { Glibc.connect(descriptor.raw, $0, $1) }) == 0 else {
            throw ToolError("Connect failed: \(describe(errno: errno))")
        }
        return ControlClient(descriptor)
    }

    /// - Parameter host: an IPv4 address, or localhost.
    static func connect(host: String, port: UInt16) throws(ToolError) -> ControlClient {
        let descriptor = try socket(AF_INET)
        var target = sockaddr_in()
        target.sin_family = sa_family_t(AF_INET)
        target.sin_port = port.bigEndian
        guard inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host, &target.sin_addr) == 1 else {
            throw ToolError("Could not resolve host '\(host)'.")
        }
        let connected = withUnsafePointer(to: target) { pointer in
            // SAFETY: sockaddr_in begins as a sockaddr, as connect(2) defines.
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor.raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else {
            throw ToolError("Could not connect to host '\(host)' on port '\(port)' using TCP socket: \(describe(errno: errno))")
        }
        return ControlClient(descriptor)
    }

    private static func socket(_ family: Int32) throws(ToolError) -> Descriptor {
        let raw = Glibc.socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw ToolError("Could not make a socket: \(describe(errno: errno))") }
        return Descriptor(owning: raw)
    }

    /// - Parameters:
    ///   - body: what follows the command's number.
    ///   - shown: the original's name of the command, for errors: "PTM_INIT".
    /// - Returns: what follows the result in the answer.
    package func request(_ command: ControlCommand, _ body: [UInt8] = [], as shown: String) throws(ToolError) -> [UInt8] {
        var writer = WireWriter()
        writer.u32(command.rawValue)
        writer.raw(body)
        guard csystem_send(descriptor.raw, writer.bytes, writer.bytes.count, nil, 0, 0) == writer.bytes.count else {
            throw ToolError("Could not execute ioctl \(shown): \(describe(errno: errno))")
        }
        var answer = [UInt8](repeating: 0, count: Self.answerMax)
        let count = recv(descriptor.raw, &answer, answer.count, 0)
        guard count >= 4 else {
            throw ToolError("Could not execute ioctl \(shown): \(count < 0 ? describe(errno: errno) : "the connection was closed")")
        }
        var reader = WireReader(answer[..<count])
        let result = (try? reader.u32()) ?? 0
        guard result == 0 else { throw ToolError("TPM result from \(shown): 0x\(String(result, radix: 16))") }
        return reader.rest()
    }
}
