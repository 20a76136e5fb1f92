// The way to the chip: one command, one response, within a time limit.
import CSystem
import Glibc
import IPC
import Sandbox
import SystemMap
import TPMWire
import Wire

/// Why a command to the chip brought no good answer.
package enum ChipError: Error, Equatable {
    /// The chip cannot be reached, or the connection broke; what was loaded there may be lost.
    case gone(String)
    /// No answer within the time limit.
    case timeout
    /// The answer does not decode, or its HMAC is wrong.
    case garbage
    /// The chip is not the one that the records speak of; an operator has to look.
    case refused(String)
    case rc(TPMRC)
}

/// A connection to a chip. After an error it is of no use any more.
protocol Transport: AnyObject {
    /// - Parameters:
    ///   - command: a whole command.
    ///   - limit: in milliseconds, for the answer to be complete.
    /// - Returns: a whole response, whose size is what its header says.
    func exchange(_ command: [UInt8], limit: Int) throws(ChipError) -> [UInt8]
}

/// Where the chip is: `stream:PATH` or `stream:ADDRESS:PORT` (a simulator, one persistent connection), or any string that
/// libtss2's TCTI loader understands (`device:/dev/tpm0`, `swtpm:…`).
package enum ChipAddress: Sendable, Equatable, CustomStringConvertible {
    case stream(String)
    case tcti(String)

    package static let standard = "device:/dev/tpm0"
    private static let streamPrefix = "stream:"

    package init(_ text: String) {
        self = text.hasPrefix(Self.streamPrefix)
            ? .stream(String(text.dropFirst(Self.streamPrefix.count))) : .tcti(text)
    }

    package var description: String {
        switch self {
        case .stream(let place): Self.streamPrefix + place
        case .tcti(let configuration): configuration
        }
    }

    /// What the process needs in order to reach it again when it was lost.
    package var access: Profile.ChipAccess {
        let node = "device:"
        return switch self {
        case .stream(let place): place.contains("/") ? .unix : .network
        case .tcti(let configuration) where configuration.hasPrefix(node): .node(String(configuration.dropFirst(node.count)))
        case .tcti: .network
        }
    }

    func connect(limit: Int) throws(ChipError) -> any Transport {
        switch self {
        case .stream(let place): try StreamTransport(place, limit: limit)
        case .tcti(let configuration): try TCTITransport(configuration)
        }
    }
}

/// The largest response of any chip (MAX_RESPONSE_SIZE is 4096 everywhere known).
let responseMax = 8192

/// The size that a response's header states, once the header is there.
/// - Throws: `garbage` for a size that no response has.
func responseSize(_ bytes: ArraySlice<UInt8>) throws(ChipError) -> Int? {
    guard bytes.count >= MessageHeader.size else { return nil }
    var reader = WireReader(bytes.prefix(MessageHeader.size))
    guard let header = try? reader.value(MessageHeader.self), (MessageHeader.size...responseMax).contains(Int(header.size))
    else { throw .garbage }
    return Int(header.size)
}

/// A stream socket on which responses follow commands: what simulated chips serve.
final class StreamTransport: Transport {
    private let descriptor: Descriptor
    private var buffer = [UInt8](repeating: 0, count: responseMax)
    /// How long the kernel lets a read wait, in milliseconds.
    private var patience = 0

    /// - Parameter place: a path (with a slash), or a numeric IPv4 address and a port.
    init(_ place: String, limit: Int) throws(ChipError) {
        let family = place.contains("/") ? AF_UNIX : AF_INET
        let raw = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw .gone(describe(errno: errno)) }
        descriptor = Descriptor(owning: raw)
        // For connecting as well.
        try setLimit(SO_SNDTIMEO, limit)
        let result = family == AF_UNIX
            ? withUnixAddress(place) { Glibc.connect(raw, $0, $1) } : Self.connectIPv4(raw, place)
        guard let result else { throw .gone("“\(place)” is no path or address:port") }
        guard result == 0 else { throw errno == EINPROGRESS || errno == EAGAIN ? .timeout : .gone(describe(errno: errno)) }
    }

    private func setLimit(_ option: Int32, _ milliseconds: Int) throws(ChipError) {
        var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        guard setsockopt(descriptor.raw, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size)) == 0 else {
            throw .gone(describe(errno: errno))
        }
    }

    private static func connectIPv4(_ raw: Int32, _ place: String) -> Int32? {
        let parts = place.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]) else { return nil }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        guard inet_pton(AF_INET, String(parts[0]), &address.sin_addr) == 1 else { return nil }
        var on: Int32 = 1
        setsockopt(raw, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        return withUnsafePointer(to: &address) { pointer in
            // SAFETY: sockaddr_in is read as the sockaddr that it begins with, as the socket calls define.
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    func exchange(_ command: [UInt8], limit: Int) throws(ChipError) -> [UInt8] {
        if patience != limit {
            try setLimit(SO_RCVTIMEO, limit)
            patience = limit
        }
        try checkQuiet()
        try send(command)
        return try receive(until: milliseconds() + limit)
    }

    /// Nothing may have come before it was asked for: it would be taken for the answer.
    private func checkQuiet() throws(ChipError) {
        var byte: UInt8 = 0
        let count = recv(descriptor.raw, &byte, 1, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
        if count > 0 { throw .garbage }
        guard count < 0, errno == EAGAIN else { throw .gone("the chip closed the connection") }
    }

    private func send(_ command: [UInt8]) throws(ChipError) {
        var done = 0
        while done < command.count {
            // SAFETY: `done` is below the count, so the range is inside the array.
            let sent = command.withUnsafeBytes {
                Glibc.send(descriptor.raw, $0.baseAddress! + done, command.count - done, Int32(MSG_NOSIGNAL))
            }
            if sent > 0 {
                done += sent
            } else if errno != EINTR {
                throw errno == EAGAIN ? .timeout : .gone(describe(errno: errno))
            }
        }
    }

    private func receive(until deadline: Int) throws(ChipError) -> [UInt8] {
        var filled = 0
        while true {
            if let size = try responseSize(buffer[..<filled]), filled >= size {
                guard filled == size else { throw .garbage }
                defer { for i in 0..<filled { buffer[i] = 0 } }
                return Array(buffer[..<filled])
            }
            // What comes in small pieces does not begin anew with each.
            guard filled == 0 || milliseconds() < deadline else { throw .timeout }
            // SAFETY: responseSize refuses sizes above the buffer's, so while the response is not whole there is room.
            let count = buffer.withUnsafeMutableBytes {
                recv(descriptor.raw, $0.baseAddress! + filled, $0.count - filled, 0)
            }
            if count == 0 { throw .gone("the chip closed the connection") }
            if count < 0 && errno != EINTR { throw errno == EAGAIN ? .timeout : .gone(describe(errno: errno)) }
            filled += max(0, count)
        }
    }
}
