// One command of a generated stream: the same for both TPMs, but for what only one of them can know.
import TPMWire
import Wire

/// splitmix64: the same numbers for the same seed, on every machine.
struct SeededRandom {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func pick<T>(_ choices: [T]) -> T { choices[below(choices.count)] }
    mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }
}

/// A piece of a command.
enum Piece {
    case bytes([UInt8])
    /// What a TPM answered before: a handle, a private area, a saved context. Each TPM is sent its own.
    case slot(String)
}

struct Step {
    enum Authorization {
        case password([UInt8])
        /// A policy session, with nothing to prove
        case policy(slot: String)
    }

    enum Spoiling {
        case none
        case tag(UInt16)
        /// Bytes behind the last parameter
        case longer([UInt8])
        /// The last bytes are missing
        case shorter(Int)
    }

    let code: TPMCommandCode
    var handles: [Piece] = []
    var authorizations: [Authorization] = []
    var parameters: [Piece] = []
    var spoiling = Spoiling.none
    /// What to remember of a successful answer, by slot.
    var stores: (ResponseMessage) throws -> [String: [UInt8]] = { _ in [:] }
    /// What a success means for the generator.
    var effect: (inout StreamWorld) -> Void = { _ in }

    var name: String { CommandTable.row(code)?.name ?? "0x" + String(code.rawValue, radix: 16) }

    /// The command's bytes for one TPM.
    func bytes(_ slots: [String: [UInt8]]) -> [UInt8] {
        func render(_ pieces: [Piece]) -> [UInt8] {
            pieces.flatMap { piece -> [UInt8] in
                switch piece {
                case .bytes(let bytes): bytes
                case .slot(let name): slots[name] ?? [0x80, 0xFF, 0xFF, 0x00]
                }
            }
        }
        var body = render(handles)
        if !authorizations.isEmpty {
            var area = WireWriter()
            for authorization in authorizations {
                switch authorization {
                case .password(let value): area.value(AuthCommand(handle: .password, attributes: [.continueSession], hmac: value))
                case .policy(let slot):
                    area.raw(slots[slot] ?? TPMHandle(0x0300_0009).wire)
                    area.raw([0, 0, SessionAttributes.continueSession.rawValue, 0, 0])
                }
            }
            body += UInt32(area.bytes.count).wire + area.bytes
        }
        body += render(parameters)
        var tag = authorizations.isEmpty ? StructureTag.noSessions : StructureTag.sessions
        switch spoiling {
        case .none: break
        case .tag(let other): tag = other
        case .longer(let bytes): body += bytes
        case .shorter(let count): body = body.dropLast(count)
        }
        return MessageHeader(tag: tag, size: UInt32(10 + body.count), code: code.rawValue).wire + body
    }
}
