// A TPM under measurement: its connection, and the commands that prepare it.
import CSystem
import Glibc
import IPC
import TPMWire
import Wire

struct BenchError: Error {
    let text: String
    init(_ text: String) { self.text = text }
}

final class TPMClient {
    private let socket: Descriptor
    /// The hypervisor's side stays open as long as the TPM is used.
    private let control: Descriptor?
    private var buffer = [UInt8](repeating: 0, count: 4096)

    private init(_ socket: Descriptor, control: Descriptor? = nil) {
        self.socket = socket
        self.control = control
    }

    /// A server socket that takes commands.
    static func server(_ path: String) throws(BenchError) -> TPMClient { TPMClient(try connected(path)) }

    /// A control socket: hands over a data socket and powers on, as QEMU does, then TPM2_Startup.
    static func hypervisor(_ path: String) throws(BenchError) -> TPMClient {
        let control = try connected(path)
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw BenchError("socketpair: \(String(cString: strerror(errno)))")
        }
        let (ours, theirs) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        try tell(control, [0, 0, 0, 0x10], descriptor: theirs)  // CMD_SET_DATAFD
        try tell(control, [0, 0, 0, 0x02, 0, 0, 0, 0])  // CMD_INIT
        let client = TPMClient(ours, control: control)
        let code = TPMRC(rawValue: UInt32(client.code(of: try client.exchange(CommandMessage(.startup, parameters: [0, 0]).bytes))))
        guard code == .success || code == .initialize else { throw BenchError("Startup: 0x\(String(code.rawValue, radix: 16))") }
        return client
    }

    /// Retries while the program at the other end is starting, for a minute at most.
    private static func connected(_ path: String) throws(BenchError) -> Descriptor {
        let deadline = nanoseconds() + 60_000_000_000
        while true {
            let descriptor = Descriptor(owning: Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0))
            if withUnixAddress(path, { connect(descriptor.raw, $0, $1) }) == 0 { return descriptor }
            guard nanoseconds() < deadline else { throw BenchError("\(path): nobody listens") }
            usleep(100)
        }
    }

    private static func tell(_ control: Descriptor, _ request: [UInt8], descriptor: Descriptor? = nil) throws(BenchError) {
        let raws = descriptor.map { [$0.raw] } ?? []
        var reply = [UInt8](repeating: 0xFF, count: 4)
        guard csystem_send(control.raw, request, request.count, raws, Int32(raws.count), 0) == request.count,
            recv(control.raw, &reply, 4, Int32(MSG_WAITALL)) == 4, reply == [0, 0, 0, 0]
        else { throw BenchError("control command \(request[3]) failed") }
    }

    /// One command and its whole response; nothing is allocated until it is there.
    func exchange(_ command: [UInt8]) throws(BenchError) -> ArraySlice<UInt8> {
        guard send(socket.raw, command, command.count, Int32(MSG_NOSIGNAL)) == command.count else { throw BenchError("the TPM is gone") }
        var received = 0
        repeat {
            let room = buffer.count - received
            let count = buffer.withUnsafeMutableBytes { recv(socket.raw, $0.baseAddress! + received, room, 0) }
            guard count > 0 else { throw BenchError("the TPM is gone") }
            received += count
        } while received < MessageHeader.size || received < expected()
        return buffer[..<received]
    }

    private func expected() -> Int { buffer[2..<6].reduce(0) { $0 << 8 | Int($1) } }
    private func code(of response: ArraySlice<UInt8>) -> Int { response.dropFirst(6).prefix(4).reduce(0) { $0 << 8 | Int($1) } }

    /// A command that must succeed.
    func run(_ message: CommandMessage) throws(BenchError) -> ResponseMessage {
        try decoded(try exchange(message.bytes), of: message.code)
    }

    func decoded(_ response: ArraySlice<UInt8>, of command: TPMCommandCode) throws(BenchError) -> ResponseMessage {
        let row = CommandTable.row(command)
        guard let message = try? ResponseMessage(Array(response), hasHandle: row?.flags.contains(.responseHandle) ?? false) else {
            throw BenchError("\(row?.name ?? "?"): the response does not decode")
        }
        guard message.code == .success else {
            throw BenchError("\(row?.name ?? "?"): 0x\(String(message.code.rawValue, radix: 16))")
        }
        return message
    }
}
