// Runs the same stream on both TPMs, in episodes that each begin with a clean TPM, and collects what differs.
import Foundation
import TPMWire
import Wire

/// One of the two TPMs.
final class StreamSide {
    let emulator: Emulator
    private let control: TPMConnection
    private let connection: TPMConnection
    private(set) var slots: [String: [UInt8]] = [:]

    init(_ broker: Broker?) throws {
        emulator = try Emulator(broker)
        connection = try emulator.connect()
        control = try TPMConnection(emulator.controlSocket)
    }

    func send(_ step: Step) throws -> ResponseMessage {
        let bytes = step.bytes(slots)
        let hasHandle = CommandTable.row(step.code)?.flags.contains(.responseHandle) ?? false
        // A stock TPM asks to try again where it first has to write that it was not shut down in order.
        for _ in 0..<3 {
            let response = try ResponseMessage(try connection.transact(bytes), hasHandle: hasHandle)
            if response.code != .retry { return response }
        }
        return try ResponseMessage(try connection.transact(bytes), hasHandle: hasHandle)
    }

    func store(_ values: [String: [UInt8]]) { slots.merge(values) { $1 } }

    /// CMD_INIT and TPM2_Startup.
    func powerCycle(type: UInt8) throws -> TPMRC {
        try control.initialize()
        return try connection.run(.startup) { $0.raw([0, type]) }.code
    }

    private func reset() throws {
        _ = try connection.run(.shutdown) { $0.raw([0, 0]) }
        _ = try powerCycle(type: 0)
    }

    /// Everything that lasts goes, and hierarchies have empty authorizations.
    func wipe() throws {
        slots = [:]
        try reset()
        for _ in 0..<2 {
            _ = try connection.run(.clearControl, [.platform], passwords: [[]]) { $0.u8(0) }
            _ = try connection.run(.clear, [.platform], passwords: [[]])
        }
        for handle in try handles(from: 0x0100_0000) { _ = try connection.run(.nvUndefineSpace, [.platform, handle], passwords: [[]]) }
        for handle in try handles(from: 0x8100_0000) {
            _ = try connection.run(.evictControl, [.platform, handle], passwords: [[]]) { $0.value(handle) }
        }
        _ = try connection.run(.setPrimaryPolicy, [.platform], passwords: [[]]) { $0.sized16([]); $0.value(TPMAlgorithm.null) }
        _ = try connection.run(.setCommandCodeAuditStatus, [.platform], passwords: [[]]) {
            $0.value(TPMAlgorithm.null)
            $0.list([TPMCommandCode]())
            $0.list(CommandTable.rows.map(\.code))
        }
        try reset()
    }

    private func handles(from first: UInt32) throws -> [TPMHandle] {
        let response = try connection.run(.getCapability) { $0.u32(1); $0.u32(first); $0.u32(64) }
        var reader = WireReader(Array(response.parameters.dropFirst(5)))
        return try reader.list(max: 64)
    }
}

extension TPMConnection {
    /// On the control channel: power off and on (CMD_INIT).
    fileprivate func initialize() throws {
        guard try exchange([0, 0, 0, 2, 0, 0, 0, 0], answer: 4) == [0, 0, 0, 0] else { throw HarnessError("CMD_INIT failed") }
    }
}

final class StreamRunner {
    /// What differs, with the first command that showed it.
    struct Difference: Hashable {
        let command: String
        let ours: UInt32
        let stock: UInt32
        let isAboutContent: Bool
    }

    private let broker: Broker
    private let ours: StreamSide
    private let stock: StreamSide
    private(set) var commands = 0
    private(set) var successes = 0
    private(set) var accepted = 0
    /// The guest's, to the last command
    private var lastAnswer = TPMRC.success
    private(set) var unknown: [Difference: (count: Int, example: String)] = [:]

    static let episodeLength = 150
    /// PARATPM_TRACE prints every command, for a replay.
    private static let isTracing = ProcessInfo.processInfo.environment["PARATPM_TRACE"] != nil

    init() throws {
        broker = try Broker()
        ours = try StreamSide(broker)
        stock = try StreamSide(nil)
    }

    /// One episode: its seed is all that it depends on.
    func episode(_ seed: UInt64) throws {
        var generator = StreamGenerator(seed: seed)
        try ours.wipe()
        try stock.wipe()
        for number in 0..<Self.episodeLength {
            if generator.random.chance(1), try !powerCycle(&generator, seed, number) { return }
            let step = generator.next()
            guard !StreamGenerator.missingInStock.contains(step.code) else { continue }
            guard try run(step, &generator, "seed \(seed), command \(number)") else { return }
        }
    }

    /// Shutdown, power off and on, Startup. Never without Shutdown: where one is missing, the hypervisor's taking the power away shuts
    /// a guest's TPM down (as newer swtpm does it, too), and a stock 0.7.1 not.
    private func powerCycle(_ generator: inout StreamGenerator, _ seed: UInt64, _ number: Int) throws -> Bool {
        let place = "seed \(seed), before command \(number)"
        let types: [UInt8] = [generator.random.chance(50) ? 1 : 0, generator.random.chance(40) ? 1 : 0]
        func shutdown(_ type: UInt8) -> Step { Step(code: .shutdown, parameters: [.bytes([0, type])]) }
        guard try run(shutdown(types[0]), &generator, place) else { return false }
        // Where other PCR banks are to come, there is no saving of state.
        if lastAnswer != .success, try !run(shutdown(0), &generator, place) { return false }
        let codes = (ours: try ours.powerCycle(type: types[1]), stock: try stock.powerCycle(type: types[1]))
        if Self.isTracing { print("\(place): Startup(\(types[1]))") }
        guard codes.ours == codes.stock else {
            report("Startup", codes.ours, codes.stock, false, "\(place): Startup(\(types[1])) after Shutdown(\(types[0]))")
            return false
        }
        guard codes.ours == .success else { return false }
        generator.world.powerCycle()
        return true
    }

    /// False ends the episode: the two TPMs are no longer in the same state.
    private func run(_ step: Step, _ generator: inout StreamGenerator, _ place: String) throws -> Bool {
        let theirs = try stock.send(step)
        let mine = try ours.send(step)
        commands += 1
        lastAnswer = mine.code
        if Self.isTracing { print("\(place): \(step.name) 0x\(String(mine.code.rawValue, radix: 16)), stock 0x\(String(theirs.code.rawValue, radix: 16))") }
        if mine.code != theirs.code {
            if !isKnown(step.code, mine.code, theirs.code) {
                report(step.name, mine.code, theirs.code, false, "\(place): \(hex(step.bytes(ours.slots)))")
            }
            return mine.code != .success && theirs.code != .success
        }
        guard mine.code == .success else { return true }
        successes += 1
        if !StreamComparison(step).agree(mine.parameters, theirs.parameters) {
            report(step.name, mine.code, theirs.code, true,
                   "\(place): \(hex(step.bytes(ours.slots)))\n    ours  \(hex(mine.parameters))\n    stock \(hex(theirs.parameters))")
        }
        do {
            ours.store(try step.stores(mine))
            stock.store(try step.stores(theirs))
        } catch {
            throw HarnessError("\(place): an answer to \(step.name) that does not decode")
        }
        step.effect(&generator.world)
        return true
    }

    private func isKnown(_ code: TPMCommandCode, _ ours: TPMRC, _ stock: TPMRC) -> Bool {
        let isKnown = KnownDifference.all.contains { $0.covers(code, ours: ours, stock: stock) }
        if isKnown { accepted += 1 }
        return isKnown
    }

    private func report(_ command: String, _ ours: TPMRC, _ stock: TPMRC, _ isAboutContent: Bool, _ example: String) {
        let difference = Difference(command: command, ours: ours.rawValue, stock: stock.rawValue, isAboutContent: isAboutContent)
        unknown[difference, default: (0, example)].count += 1
    }

    private func hex(_ bytes: [UInt8]) -> String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }

    /// What was found, the most frequent first.
    var summary: String {
        unknown.sorted { $0.value.count > $1.value.count }.map { difference, found in
            let what = difference.isAboutContent ? "different contents" : "ours 0x\(String(difference.ours, radix: 16)), stock 0x\(String(difference.stock, radix: 16))"
            return "\(found.count) x \(difference.command): \(what)\n    \(found.example)"
        }.joined(separator: "\n")
    }
}
