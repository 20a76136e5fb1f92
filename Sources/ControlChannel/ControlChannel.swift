// One connection of the control channel as a state machine: bytes in, requests out. It does no I/O.
import Wire

/// A request that is well formed and allowed at this time.
package enum ControlRequest: Hashable, Sendable {
    case getCapability
    /// The power comes on. Flags ask for volatile state to be deleted, of which there is none.
    case initialize
    case stop
    /// STOP, and the end of the process.
    case shutdown
    case getEstablished
    case resetEstablished(locality: UInt8)
    case setLocality(UInt8)
    case hashStart
    /// Part of the data of one HASH_DATA; only the last part is answered.
    case hashData([UInt8], isLast: Bool)
    case hashEnd
    case cancel
    case storeVolatile
    case getConfig
    /// The message brings the descriptor.
    case setDataFD
    case setBufferSize(UInt32)
    case getInfo(flags: UInt64, offset: UInt32)
    case lockStorage
}

package struct ControlChannel: Sendable {
    /// The most that one read takes from the connection, as in stock swtpm: the command and the largest structure.
    package static let readSize = 4 + 4 + 4096
    /// How long the rest of a request that has begun may take, in milliseconds.
    package static let patience = 500
    /// The largest state blob that is read only to be refused.
    static let blobMax: UInt32 = 512 * 1024

    package enum Input: Hashable, Sendable {
        /// More bytes are needed, or nothing needs an answer.
        case nothing
        case request(ControlRequest)
        case refused(ControlResult)
        /// Not this protocol: close the connection.
        case hopeless
    }

    private enum State: Sendable {
        case idle
        /// The beginning of a request.
        case partial([UInt8])
        /// Data of a HASH_DATA that are still to come.
        case hashing(remaining: UInt32)
        /// Data of a refused request that are still to come.
        case discarding(remaining: UInt32)
    }
    private var state = State.idle

    package init() {}

    /// Whether the peer owes the rest of a request, for which it has `patience`.
    package var isMidway: Bool {
        if case .idle = state { false } else { true }
    }

    /// What came with one read. As in stock swtpm that is one request: clients wait for each reply.
    /// - Parameter isRunning: whether the TPM has power.
    package mutating func receive(_ bytes: [UInt8], isRunning: Bool) -> Input {
        switch state {
        case .idle: return begin(bytes, isRunning: isRunning)
        case .partial(let before): return begin(before + bytes, isRunning: isRunning)
        case .hashing(let remaining):
            let part = Array(bytes.prefix(Int(remaining)))
            let left = remaining - UInt32(part.count)
            state = left == 0 ? .idle : .hashing(remaining: left)
            return .request(.hashData(part, isLast: left == 0))
        case .discarding(let remaining):
            let left = remaining - UInt32(min(bytes.count, Int(remaining)))
            state = left == 0 ? .idle : .discarding(remaining: left)
            return .nothing
        }
    }

    /// A part of HASH_DATA failed: what is still to come of it is dropped, unanswered.
    package mutating func abandonHashData() {
        if case .hashing(let remaining) = state { state = .discarding(remaining: remaining) }
    }

    private mutating func begin(_ bytes: [UInt8], isRunning: Bool) -> Input {
        var reader = WireReader(bytes)
        guard let code = try? reader.u32() else { return wait(bytes) }
        guard let command = ControlCommand(rawValue: code) else {
            state = .idle
            return .refused(.badOrdinal)
        }
        guard reader.remaining >= command.awaitedBody else { return wait(bytes) }
        state = .idle
        if command == .setStateBlob { return refuseBlob(&reader) }
        if command.needsPower && !isRunning {
            if command == .hashData { skipHashData(reader) }
            return .refused(.badOrdinal)
        }
        guard command.admits(bodyOf: reader.remaining) else { return .refused(.badParameter) }
        do { return try decode(command, &reader, isRunning: isRunning) } catch { return .refused(.badParameter) }
    }

    private mutating func wait(_ bytes: [UInt8]) -> Input {
        state = .partial(bytes)
        return .nothing
    }

    private mutating func decode(
        _ command: ControlCommand, _ reader: inout WireReader, isRunning: Bool
    ) throws(WireError) -> Input {
        switch command {
        case .getCapability: return .request(.getCapability)
        case .initialize: return .request(.initialize)
        case .stop: return .request(.stop)
        case .shutdown: return .request(.shutdown)
        case .getEstablished: return .request(.getEstablished)
        case .resetEstablished: return locality(try reader.u8()) { .resetEstablished(locality: $0) }
        case .setLocality: return locality(try reader.u8()) { .setLocality($0) }
        case .hashStart: return .request(.hashStart)
        case .hashData: return hashData(length: try reader.u32(), reader.rest())
        case .hashEnd: return .request(.hashEnd)
        case .cancel: return .request(.cancel)
        case .storeVolatile: return .request(.storeVolatile)
        case .getConfig: return .request(.getConfig)
        case .setDataFD: return .request(.setDataFD)
        case .setBufferSize:
            let size = try reader.u32()
            return size > 0 && isRunning ? .refused(.badOrdinal) : .request(.setBufferSize(size))
        case .getInfo: return .request(.getInfo(flags: try reader.u64(), offset: try reader.u32()))
        case .lockStorage: return .request(.lockStorage)
        case .getStateBlob, .setStateBlob: return .refused(.badOrdinal)
        }
    }

    private func locality(_ number: UInt8, _ request: (UInt8) -> ControlRequest) -> Input {
        number <= 4 ? .request(request(number)) : .refused(.badLocality)
    }

    private mutating func hashData(length: UInt32, _ data: [UInt8]) -> Input {
        guard data.count <= length else { return .refused(.badParameter) }
        let left = length - UInt32(data.count)
        state = left == 0 ? .idle : .hashing(remaining: left)
        return .request(.hashData(data, isLast: left == 0))
    }

    /// ptm_setstate: flags, type, length, data
    private mutating func refuseBlob(_ reader: inout WireReader) -> Input {
        guard (try? reader.u64()) != nil, let length = try? reader.u32() else { return .refused(.badParameter) }
        guard length <= Self.blobMax else { return .hopeless }
        discard(length, beyond: reader.remaining)
        return .refused(.badOrdinal)
    }

    private mutating func skipHashData(_ reader: WireReader) {
        var reader = reader
        if let length = try? reader.u32() { discard(length, beyond: reader.remaining) }
    }

    private mutating func discard(_ length: UInt32, beyond present: Int) {
        if length > present { state = .discarding(remaining: length - UInt32(present)) }
    }
}
