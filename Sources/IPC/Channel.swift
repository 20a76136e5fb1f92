// The caller's side: a connected SOCK_SEQPACKET socket and plain blocking calls.
import CSystem
import Glibc
import Wire

public final class Channel {
    public let descriptor: Descriptor
    /// What is done where the answer to a call does not come within the descriptor's receive timeout; it returns when that is there.
    public var awaiting: ((Channel) -> Void)?

    public init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Connects to a service's socket.
    /// - Parameter timeout: seconds that a call waits for its reply; nil waits for ever.
    public static func connect(_ path: String, timeout: Int? = nil) throws(IPCError) -> Channel {
        let raw = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw .system(errno) }
        let channel = Channel(Descriptor(owning: raw))
        guard let result = withUnixAddress(path, { Glibc.connect(raw, $0, $1) }) else { throw .system(ENAMETOOLONG) }
        guard result == 0 else { throw .system(errno) }
        if let timeout { channel.descriptor.setReceiveTimeout(milliseconds: timeout * 1000) }
        return channel
    }

    /// Sends one message whole.
    public func send(_ bytes: [UInt8], descriptors: [Descriptor] = []) throws(IPCError) {
        precondition(bytes.count <= Frame.largest && descriptors.count <= Int(CSYSTEM_MAX_FDS))
        let raws = descriptors.map(\.raw)
        let sent = csystem_send(descriptor.raw, bytes, bytes.count, raws, Int32(raws.count), 0)
        if sent == bytes.count { return }
        switch errno {
        case EPIPE, ECONNRESET, ENOTCONN: throw .disconnected
        default: throw .system(errno)
        }
    }

    /// Receives one message whole, with its descriptors. An empty message is the end of the connection.
    public func receive(flags: Int32 = 0) throws(IPCError) -> (bytes: [UInt8], descriptors: [Descriptor]) {
        var descriptors: [Descriptor] = []
        let bytes = try receive { buffer in
            withUnsafeTemporaryAllocation(of: Int32.self, capacity: Int(CSYSTEM_MAX_FDS)) { raws in
                var count: Int32 = 0
                let received = csystem_receive(descriptor.raw, buffer.baseAddress, buffer.count, raws.baseAddress, &count, flags)
                for raw in raws[..<Int(count)] { descriptors.append(Descriptor(owning: raw)) }
                return received
            }
        }
        return (bytes, descriptors)
    }

    /// The same where no descriptors are expected: the kernel closes those that come.
    public func receiveBytes(flags: Int32 = 0) throws(IPCError) -> [UInt8] {
        try receive { csystem_receive_bytes(descriptor.raw, $0.baseAddress, $0.count, flags) }
    }

    private func receive(_ call: (UnsafeMutableRawBufferPointer) -> Int) throws(IPCError) -> [UInt8] {
        var problem: Int32 = 0
        let message = withUnsafeTemporaryAllocation(byteCount: Frame.largest, alignment: 16) { buffer -> [UInt8] in
            let received = call(buffer)
            if received < 0 { problem = errno }
            let filled = buffer[..<max(0, received)]
            // Replies may hold secrets.
            defer { UnsafeMutableRawBufferPointer(rebasing: filled).initializeMemory(as: UInt8.self, repeating: 0) }
            return Array(filled)
        }
        switch problem {
        case 0: break
        case EAGAIN: throw .timeout
        case ECONNRESET, EPIPE, ENOTCONN: throw .disconnected
        case EMSGSIZE: throw .malformed
        default: throw .system(problem)
        }
        guard !message.isEmpty else { throw .disconnected }
        return message
    }

    /// - Parameter change: the number of a numbered call.
    @inlinable public func call<C: Call>(_: C.Type, _ request: C.Request, change: UInt64 = 0) throws(IPCError) -> C.Reply {
        try send(Self.message(C.self, request, change))
        return try Self.reply(C.self, try answer())
    }

    /// A call whose reply brings descriptors, or whose request takes some.
    @inlinable public func exchange<C: Call>(
        _: C.Type, _ request: C.Request, descriptors: [Descriptor] = []
    ) throws(IPCError) -> (reply: C.Reply, descriptors: [Descriptor]) {
        try send(Self.message(C.self, request, 0), descriptors: descriptors)
        let (bytes, received) = try receive()
        return (try Self.reply(C.self, bytes), received)
    }

    @usableFromInline func answer() throws(IPCError) -> [UInt8] {
        do throws(IPCError) { return try receiveBytes() } catch {
            guard error == .timeout, let awaiting else { throw error }
            awaiting(self)
            return try receiveBytes()
        }
    }

    /// A call without a reply.
    @inlinable public func tell<C: Call>(_ call: C.Type, _ request: C.Request) throws(IPCError) {
        precondition(C.isSilent)
        try send(Self.message(call, request, 0))
    }

    @inlinable static func reply<C: Call>(_: C.Type, _ bytes: [UInt8]) throws(IPCError) -> C.Reply {
        var reader = WireReader(bytes)
        do {
            let status = CallStatus(rawValue: try reader.u32())
            guard status == .ok else { throw IPCError.status(status) }
            let reply = try reader.value(C.Reply.self)
            try reader.finish()
            return reply
        } catch let error as IPCError {
            throw error
        } catch {
            throw .malformed
        }
    }

    @inlinable static func message<C: Call>(_: C.Type, _ request: C.Request, _ change: UInt64) -> [UInt8] {
        var writer = WireWriter()
        writer.u16(C.number)
        if C.isNumbered { writer.u64(change) }
        writer.value(request)
        return writer.bytes
    }
}
