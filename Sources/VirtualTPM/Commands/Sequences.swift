// Part 3, 17: hash, MAC and event sequences.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_HMAC_Start (17.2), and under the same code TPM2_MAC_Start (17.3)
    func hmacStart(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let auth = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let inScheme = try call.parameters.macScheme()
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .type)
        let scheme = try macScheme(for: key, inScheme)
        try volatile.transient.requireRoom()
        let sequence = SequenceObject(authValue: auth, state: try key.macSequence(scheme))
        return Reply(handle: try volatile.transient.insert(.sequence(sequence)))
    }

    /// TPM2_HashSequenceStart (17.4); TPM_ALG_NULL starts an event sequence.
    func hashSequenceStart(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let auth = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let hash = try call.parameters.read { (reader) throws(WireError) in try reader.hashOrNull() }
        try call.parameters.finish()

        let state: SequenceObject.State =
            if let hash { .hash(HashSequence(hash)) } else { .event(HashAlgorithm.allCases.map { HashContext($0) }) }
        let sequence = SequenceObject(authValue: auth, state: state)
        return Reply(handle: try volatile.transient.insert(.sequence(sequence)))
    }

    /// TPM2_SequenceUpdate (17.5)
    func sequenceUpdate(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let buffer = try call.parameters.bytes(max: Limits.inputBuffer)
        try call.parameters.finish()

        // The reference implementation numbers this error as if the handle were a parameter.
        guard case .sequence(let sequence) = volatile.transient[call.handles[0]] else { throw TPMRC.mode.parameter(1) }
        try sequence.update(buffer, policy)
        return .empty
    }

    /// TPM2_SequenceComplete (17.6): the pipeline flushes the sequence, as its row says.
    func sequenceComplete(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let buffer = try call.parameters.bytes(max: Limits.inputBuffer)
        let hierarchy = try call.parameters.hierarchy()
        try call.parameters.finish()

        guard case .sequence(let sequence) = volatile.transient[call.handles[0]] else { throw TPMRC.mode.handle(1) }
        // A copy: a sequence whose completion fails has not taken in the data.
        var state = sequence.state
        try state.update(buffer, policy)
        sequence.noteStart(buffer)
        var validation: Ticket?
        let result: [UInt8]
        switch state {
        case .hash(let steps):
            let ticket = hierarchy == .null || !sequence.isTicketSafe ? nil : ticketHierarchy(hierarchy)
            (result, validation) = try steps.finished(ticket: ticket, policy)
        case .hmac(let context): result = context.finished()
        case .cmac(let context): result = context.finished()
        case .twin(let steps): result = try steps.finished()
        case .event: throw TPMRC.mode.handle(1)
        }
        return Reply {
            $0.sized16(result)
            $0.value(validation ?? .null(StructureTag.hashCheck))
        }
    }

    /// TPM2_EventSequenceComplete (17.7): the digests of the data, which are extended into every bank.
    func eventSequenceComplete(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let buffer = try call.parameters.bytes(max: Limits.inputBuffer)
        try call.parameters.finish()

        guard case .sequence(let sequence) = volatile.transient[call.handles[1]], case .event(var contexts) = sequence.state else {
            throw TPMRC.mode.handle(2)
        }
        for index in contexts.indices { contexts[index].update(buffer) }
        let results = contexts.filter { hashes.contains($0.hash) }.map { TaggedDigest($0.hash, $0.finished()) }
        if let pcr = pcr(call.handles[0]) { try pcrs.extend(pcr, results) }
        return Reply { $0.list(results) }
    }
}

extension SequenceObject {
    /// On error nothing has changed.
    func update(_ buffer: [UInt8], _ policy: any PolicyService) throws(TPMRC) {
        try state.update(buffer, policy)
        noteStart(buffer)
    }

    /// The first block tells whether the data may look like a structure of the TPM's own; one too short to tell counts as unsafe.
    func noteStart(_ buffer: [UInt8]) {
        guard !isStarted else { return }
        isStarted = true
        isTicketSafe = buffer.count >= Attestation.magic.wire.count && !Attestation.isImitated(by: buffer)
    }
}

extension SequenceObject.State {
    /// On error nothing has changed.
    mutating func update(_ buffer: [UInt8], _ policy: any PolicyService) throws(TPMRC) {
        switch self {
        case .hash(var steps):
            try steps.update(buffer, policy)
            self = .hash(steps)
        case .event(var contexts):
            for index in contexts.indices { contexts[index].update(buffer) }
            self = .event(contexts)
        case .hmac(var context):
            context.update(buffer)
            self = .hmac(context)
        case .cmac(var context):
            context.update(buffer)
            self = .cmac(context)
        case .twin(var steps):
            try steps.update(buffer)
            self = .twin(steps)
        }
    }
}

/// A sequence as a saved context holds it.
struct SequenceRecord: WireCodable {
    private let authValue: [UInt8]
    private let stored: Stored
    private let isStarted: Bool
    private let isTicketSafe: Bool

    private enum Stored {
        case hash(HashSequence)
        case event([HashContext])
        case hmac(HMACContext)
        case cmac(CMACContext)
        case twin(TwinBlob, HashAlgorithm, TwinSequence.Progress)
    }

    init(_ sequence: SequenceObject) {
        authValue = sequence.authValue.bytes
        stored = switch sequence.state {
        case .hash(let steps): .hash(steps)
        case .event(let contexts): .event(contexts)
        case .hmac(let context): .hmac(context)
        case .cmac(let context): .cmac(context)
        case .twin(let steps): .twin(steps.twin.blob, steps.hash, steps.progress)
        }
        isStarted = sequence.isStarted
        isTicketSafe = sequence.isTicketSafe
    }

    func sequence(_ keeper: TwinKeeper) -> SequenceObject {
        let state: SequenceObject.State = switch stored {
        case .hash(let steps): .hash(steps)
        case .event(let contexts): .event(contexts)
        case .hmac(let context): .hmac(context)
        case .cmac(let context): .cmac(context)
        case .twin(let blob, let hash, let progress): .twin(TwinSequence(TwinReference(blob, keeper), hash, progress))
        }
        let sequence = SequenceObject(authValue: authValue, state: state)
        sequence.isStarted = isStarted
        sequence.isTicketSafe = isTicketSafe
        return sequence
    }

    init(from reader: inout WireReader) throws(WireError) {
        authValue = try reader.sized16(max: HashAlgorithm.largestDigest)
        switch try reader.u8() {
        case 0: stored = .hash(HashSequence(try reader.value(), .gathered(try reader.sized16(max: HashCalls.dataMax))))
        case 6: stored = .hash(HashSequence(try reader.value(), .inChecker(state: try reader.sized16(max: HashCalls.Step.stateMax))))
        case 1:
            var contexts: [HashContext] = []
            for _ in HashAlgorithm.allCases { contexts.append(try Self.context(&reader, HashContext.init(saved:))) }
            stored = .event(contexts)
        case 2: stored = .hmac(try Self.context(&reader, HMACContext.init(saved:)))
        case 3: stored = .cmac(try Self.context(&reader, CMACContext.init(saved:)))
        case 4:
            stored = .twin(
                try reader.value(), try reader.value(), .gathered(try reader.sized16(max: DeviceCalls.HMAC.dataMax)))
        case 5:
            stored = .twin(
                try reader.value(), try reader.value(), .inChip(state: try reader.sized16(max: DeviceCalls.HMACStep.stateMax)))
        default: throw .invalid(0)
        }
        isStarted = try reader.flag()
        isTicketSafe = try reader.flag()
    }

    private static func context<T>(_ reader: inout WireReader, _ make: ([UInt8]) -> T?) throws(WireError) -> T {
        guard let context = make(try reader.sized16()) else { throw .invalid(0) }
        return context
    }

    func encode(to writer: inout WireWriter) {
        writer.sized16(authValue)
        switch stored {
        case .hash(let steps):
            switch steps.progress {
            case .gathered(let data):
                writer.u8(0)
                writer.value(steps.hash)
                writer.sized16(data)
            case .inChecker(let state):
                writer.u8(6)
                writer.value(steps.hash)
                writer.sized16(state)
            }
        case .event(let contexts):
            writer.u8(1)
            for context in contexts { writer.sized16(context.saved) }
        case .hmac(let context):
            writer.u8(2)
            writer.sized16(context.saved)
        case .cmac(let context):
            writer.u8(3)
            writer.sized16(context.saved)
        case .twin(let blob, let hash, .gathered(let data)):
            writer.u8(4)
            writer.value(blob)
            writer.value(hash)
            writer.sized16(data)
        case .twin(let blob, let hash, .inChip(let state)):
            writer.u8(5)
            writer.value(blob)
            writer.value(hash)
            writer.sized16(state)
        }
        writer.flag(isStarted)
        writer.flag(isTicketSafe)
    }
}
