// A bus between the device owner and its chip that can be tapped, cut and made to lie.
import CSystem
import Glibc
import IPC
import RunningService
import Testing

@testable import DeviceOwner

/// A bus between the device owner and a chip: records everything, and misbehaves as it is told.
final class Bus: @unchecked Sendable {
    enum Fault: Equatable {
        case none
        /// The chip does not answer.
        case silence
        /// Answers bytes that are no response.
        case noise
        /// Answers the first part of a response.
        case half
        /// The size field says more than any response has.
        case oversized
        /// Bytes follow the response.
        case trailing
        /// One bit of the parameters is another.
        case flipped
        /// The connection breaks before the answer.
        case cut
        /// Answers this response code, the given number of times.
        case code(UInt32, times: Int)
    }

    let socket: String
    private let chip: String
    private let listener: Int32
    // SAFETY: all mutable state is touched with the lock held.
    private var lock = pthread_mutex_t()
    private var faultNow = Fault.none
    private var recorded: [[UInt8]] = []
    private var client: Int32 = -1

    init(before chip: SimulatedChip) throws {
        self.chip = chip.socket
        socket = chip.socket + ".bus"
        listener = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        pthread_mutex_init(&lock, nil)
        let raw = listener
        try #require(withUnixAddress(socket) { bind(raw, $0, $1) } == 0)
        try #require(Glibc.listen(raw, 8) == 0)
        var thread = pthread_t()
        pthread_create(&thread, nil, { argument in
            Unmanaged<Bus>.fromOpaque(argument!).takeRetainedValue().serve()
            return nil
        }, Unmanaged.passRetained(self).toOpaque())
        pthread_detach(thread)
    }

    func close() {
        shutdown(listener, Int32(SHUT_RDWR))
        locked { if client >= 0 { shutdown(client, Int32(SHUT_RDWR)) } }
    }

    var fault: Fault {
        get { locked { faultNow } }
        set { locked { faultNow = newValue } }
    }

    /// Everything that went over the bus, commands and responses in turn.
    var traffic: [[UInt8]] { locked { recorded } }

    private func locked<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        return body()
    }

    private func serve() {
        while true {
            let raw = csystem_accept(listener, 0)
            guard raw >= 0 else { break }
            locked { client = raw }
            relay(raw)
            locked { client = -1 }
            Glibc.close(raw)
        }
        Glibc.close(listener)
    }

    private func relay(_ client: Int32) {
        let upstream = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { Glibc.close(upstream) }
        guard withUnixAddress(chip, { connect(upstream, $0, $1) }) == 0 else { return }
        while let command = readMessage(client) {
            locked { recorded.append(command) }
            guard let response = answer(to: command, upstream) else { return }
            locked { recorded.append(response) }
            guard send(client, response, response.count, Int32(MSG_NOSIGNAL)) == response.count else { return }
        }
    }

    /// nil: the connection ends.
    private func answer(to command: [UInt8], _ upstream: Int32) -> [UInt8]? {
        let fault = self.fault
        if case .code(let code, let times) = fault, times > 0 {
            self.fault = .code(code, times: times - 1)
            return [0x80, 0x01, 0, 0, 0, 10] + (0..<4).map { UInt8(truncatingIfNeeded: code >> (24 - 8 * $0)) }
        }
        guard fault != .cut, send(upstream, command, command.count, Int32(MSG_NOSIGNAL)) == command.count,
            var response = readMessage(upstream)
        else { return nil }
        switch fault {
        case .silence: return []
        case .noise: return (0..<64).map { _ in UInt8.random(in: 0...255) }
        case .half: return Array(response[..<(response.count / 2)])
        case .oversized: response[2] = 0x7F
        case .trailing: response.append(0)
        case .flipped: response[response.count > 20 ? 18 : 9] ^= 1
        default: break
        }
        return response
    }

    private func readMessage(_ raw: Int32) -> [UInt8]? {
        var bytes: [UInt8] = []
        var size = 10
        while bytes.count < size {
            var part = [UInt8](repeating: 0, count: size - bytes.count)
            let count = recv(raw, &part, part.count, 0)
            guard count > 0 else { return nil }
            bytes += part[..<count]
            if bytes.count == 10 { size = bytes[2..<6].reduce(0) { $0 << 8 | Int($1) } }
        }
        return bytes
    }
}

extension [UInt8] {
    func contains(_ part: [UInt8]) -> Bool {
        guard part.count <= count else { return false }
        return (0...(count - part.count)).contains { self[$0..<($0 + part.count)].elementsEqual(part) }
    }
}
