// The differential harness: a stream of commands runs against stock swtpm and against a paratpm guest, and what both
// answered is compared. A stream is a function from a recorder; later issues feed it with more.
import Testing
import TPMWire
import Wire

/// Records what a TPM answered, step by step.
final class Recorder {
    /// What of a successful response must be the same on both sides.
    enum Compare {
        /// The response code only
        case code
        /// The code, and the size of handle and parameters
        case size
        /// The code and every byte of the parameters
        case bytes
        /// The code and what the closure takes from the parameters
        case part((ResponseMessage) throws -> [UInt8])
    }

    struct Observation: Equatable, CustomStringConvertible {
        let step: String
        let code: UInt32
        let compared: [UInt8]
        var description: String {
            "\(step): rc 0x\(String(code, radix: 16)) [\(compared.map { String($0, radix: 16) }.joined(separator: " "))]"
        }
    }

    let connection: TPMConnection
    private(set) var observations: [Observation] = []

    init(_ connection: TPMConnection) { self.connection = connection }

    @discardableResult
    func step(
        _ name: String, _ compare: Compare, _ code: TPMCommandCode, _ handles: [TPMHandle] = [], passwords: [[UInt8]] = [],
        _ parameters: (inout WireWriter) -> Void = { _ in }
    ) throws -> ResponseMessage {
        var response = try connection.run(code, handles, passwords: passwords, parameters)
        // A stock TPM asks to try again where it first has to write that it was not shut down in order.
        for _ in 0..<3 where response.code == .retry { response = try connection.run(code, handles, passwords: passwords, parameters) }
        return try note(name, compare, response)
    }

    /// A command as raw bytes, however malformed: the whole response code counts.
    func raw(_ name: String, _ bytes: [UInt8]) throws {
        let response = try connection.transact(bytes)
        observations.append(Observation(step: name, code: try MessageHeader(wire: Array(response[..<10])).code, compared: []))
    }

    @discardableResult
    func note(_ name: String, _ compare: Compare, _ response: ResponseMessage) throws -> ResponseMessage {
        var compared: [UInt8] = []
        if response.code == .success {
            switch compare {
            case .code: break
            case .size: compared = UInt32(response.parameters.count).wire
            case .bytes: compared = response.parameters
            case .part(let take): compared = try take(response)
            }
        }
        observations.append(Observation(step: name, code: response.code.rawValue, compared: compared))
        return response
    }
}

/// Runs a stream on both TPMs and reports every step that differs.
func compareWithStock(_ stream: (Recorder) throws -> Void) throws {
    let broker = try Broker()
    let ours = try Emulator(broker)
    let stock = try Emulator(nil)
    let oursRecorder = Recorder(try ours.connect())
    let stockRecorder = Recorder(try stock.connect())
    try stream(stockRecorder)
    try stream(oursRecorder)
    #expect(oursRecorder.observations.count == stockRecorder.observations.count)
    for (mine, theirs) in zip(oursRecorder.observations, stockRecorder.observations) {
        #expect(mine == theirs, "ours: \(mine)\nstock: \(theirs)")
    }
}
