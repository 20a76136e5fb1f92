// For tests: a stock software TPM (Debian's swtpm) to compare with, and random streams that come again from their seed.
import Glibc
import IPC
import Wire

package final class StockTPM {
    private static let program = "/usr/bin/swtpm"
    package static let isInstalled = access(program, X_OK) == 0

    private let directory: TemporaryInstance
    private var pid: pid_t = 0
    private let control: Descriptor
    private var data: Descriptor?

    /// A TPM after _TPM_Init.
    package init() throws {
        directory = try TemporaryInstance()
        let path = directory.path
        let arguments = [
            Self.program, "socket", "--tpm2", "--tpmstate", "dir=\(path)", "--ctrl", "type=unixio,path=\(path)/control",
            "--server", "type=unixio,path=\(path)/data",
        ]
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { words.forEach { free($0) } }
        guard posix_spawn(&pid, Self.program, nil, nil, &words, environ) == 0 else { throw IPCError.system(errno) }
        control = try Self.connect("\(path)/control")
        try powerOn()
    }

    deinit {
        // It inherits the blocked signals of the test's thread.
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    private static func connect(_ path: String) throws -> Descriptor {
        for _ in 0..<500 {
            let descriptor = Descriptor(owning: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
            if withUnixAddress(path, { Glibc.connect(descriptor.raw, $0, $1) }) == 0 { return descriptor }
            usleep(10_000)
        }
        throw IPCError.timeout
    }

    private static func exchange(_ descriptor: Descriptor, _ bytes: [UInt8]) throws -> [UInt8] {
        guard write(descriptor.raw, bytes, bytes.count) == bytes.count else { throw IPCError.disconnected }
        var reply = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor.raw, &reply, reply.count)
        guard count > 0 else { throw IPCError.disconnected }
        return Array(reply[..<count])
    }

    /// A command on the control channel.
    /// - Returns: its result code, and what follows.
    @discardableResult
    package func control(_ command: UInt32, _ payload: [UInt8] = []) throws -> (result: UInt32, rest: [UInt8]) {
        var reader = WireReader(try Self.exchange(control, command.wire + payload))
        return (try reader.u32(), reader.rest())
    }

    /// CMD_STOP and CMD_INIT
    package func powerOn() throws {
        try control(14)
        try control(2, [0, 0, 0, 0])
        if data == nil { data = try Self.connect("\(directory.path)/data") }
    }

    /// A TPM command without sessions, or with one empty password behind its handles.
    /// - Returns: the response code, and what follows the header.
    package func command(
        _ code: UInt32, handles: [UInt32] = [], password: Bool = false, _ parameters: [UInt8] = []
    ) throws -> (code: UInt32, rest: [UInt8]) {
        var body = WireWriter()
        handles.forEach { body.u32($0) }
        if password { body.raw([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]) }
        body.raw(parameters)
        var message = WireWriter()
        message.u16(password ? 0x8002 : 0x8001)
        message.u32(UInt32(10 + body.bytes.count))
        message.u32(code)
        message.raw(body.bytes)
        guard let data else { throw IPCError.disconnected }
        var reader = WireReader(try Self.exchange(data, message.bytes))
        _ = try reader.bytes(6)
        return (try reader.u32(), reader.rest())
    }
}

/// SplitMix64
package struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    package init(seed: UInt64) { state = seed }
    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
