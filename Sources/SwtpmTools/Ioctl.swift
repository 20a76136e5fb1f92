// swtpm_ioctl: one request on a control channel, and what came of it, in the original's words.
import ControlChannel
import Glibc
import SystemMap
import Wire

package enum Ioctl {
    /// The most that one HASH_DATA takes along.
    private static let hashPartMax = 4096

    package static func run(_ arguments: [String]) throws(ToolError) {
        let arguments = try IoctlArguments(arguments)
        if case .print(let text) = arguments.command { return print(text) }
        let client = switch arguments.target {
        case .unix(let path): try ControlClient.connect(unix: path)
        case .tcp(let host, let port): try ControlClient.connect(host: host, port: port)
        }
        if let said = try perform(arguments.command, client) { print(said) }
    }

    private static func perform(_ command: IoctlArguments.Command, _ client: ControlClient) throws(ToolError) -> String? {
        switch command {
        case .getCapability:
            let flags = number(try client.request(.getCapability, as: "PTM_GET_CAPABILITY"))
            return "ptm capability is 0x\(String(flags, radix: 16))"
        case .initialize(let flags): _ = try client.request(.initialize, flags.wire, as: "PTM_INIT")
        case .stop: _ = try client.request(.stop, as: "PTM_STOP")
        case .shutdown: _ = try client.request(.shutdown, as: "PTM_SHUTDOWN")
        case .getEstablished:
            let bit = try client.request(.getEstablished, as: "PTM_GET_TPMESTABLISHED").first ?? 0
            return "tpmEstablished is \(bit)"
        case .storeVolatile: _ = try client.request(.storeVolatile, as: "PTM_STORE_VOLATILE")
        case .cancel: _ = try client.request(.cancel, as: "PTM_CANCEL_TPM_CMD")
        case .getConfig:
            let flags = number(try client.request(.getConfig, as: "PTM_GET_CONFIG"))
            return "ptm configuration flags: 0x\(String(flags, radix: 16))"
        case .resetEstablished(let locality):
            _ = try client.request(.resetEstablished, [locality], as: "PTM_RESET_TPMESTABLISHED")
        case .setLocality(let locality): _ = try client.request(.setLocality, [locality], as: "PTM_SET_LOCALITY")
        case .hash(let text?): try hash(Array(text.utf8), client)
        case .hash(nil): try hash(try standardInput(), client)
        case .setBufferSize(let size): return try bufferSize(size, client)
        case .getInfo(let flags): return try information(flags, client)
        case .lockStorage(let retries): _ = try client.request(.lockStorage, retries.wire, as: "PTM_LOCK_STORAGE")
        case .print(let text): return text
        }
        return nil
    }

    private static func number(_ body: [UInt8]) -> UInt32 { (try? UInt32(wire: Array(body.prefix(4)))) ?? 0 }

    /// A DRTM's measurement: start, data, end.
    private static func hash(_ data: [UInt8], _ client: ControlClient) throws(ToolError) {
        _ = try client.request(.hashStart, as: "PTM_HASH_START")
        var rest = data[...]
        while !rest.isEmpty {
            let part = rest.prefix(hashPartMax)
            _ = try client.request(.hashData, UInt32(part.count).wire + part, as: "PTM_HASH_DATA")
            rest = rest.dropFirst(part.count)
        }
        _ = try client.request(.hashEnd, as: "PTM_HASH_END")
    }

    private static func standardInput() throws(ToolError) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            guard count >= 0 else { throw ToolError("Could not read data from stdin: \(describe(errno: errno))") }
            if count == 0 { return bytes }
            bytes += buffer[..<count]
        }
    }

    private static func bufferSize(_ size: UInt32, _ client: ControlClient) throws(ToolError) -> String {
        let body = try client.request(.setBufferSize, size.wire, as: "PTM_SET_BUFFERSIZE")
        var reader = WireReader(body)
        guard let size = try? reader.u32(), let smallest = try? reader.u32(), let largest = try? reader.u32() else {
            throw ToolError("PTM_SET_BUFFERSIZE: the answer is too short")
        }
        return "TPM buffersize: \(size)\nminimum size  : \(smallest)\nmaximum size  : \(largest)"
    }

    /// ptm_getinfo: flags, offset, padding; answered by the total length, this part's length, and the part.
    private static func information(_ flags: UInt64, _ client: ControlClient) throws(ToolError) -> String {
        var text: [UInt8] = []
        while true {
            let body = try client.request(.getInfo, flags.wire + UInt32(text.count).wire + UInt32(0).wire, as: "PTM_GET_INFO")
            var reader = WireReader(body)
            guard let total = try? reader.u32(), let length = try? reader.u32(), let part = try? reader.bytes(Int(length)),
                !part.isEmpty
            else { throw ToolError("PTM_GET_INFO: the answer is too short") }
            text += part
            if text.count >= total { return String(decoding: text.prefix { $0 != 0 }, as: UTF8.self) }
        }
    }
}
