// Part 3, 17: hash and event sequences.
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_HashSequenceStart (17.3); TPM_ALG_NULL starts an event sequence.
    func hashSequenceStart(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let authValue = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let hash = try call.parameters.read { (reader) throws(WireError) in try reader.hashOrNull() }
        try call.parameters.finish()

        let state: SequenceObject.State =
            if let hash { .hash(HashContext(hash)) } else { .event(HashAlgorithm.allCases.map { HashContext($0) }) }
        let sequence = SequenceObject(authValue: Secret(withoutTrailingZeros(authValue)), state: state)
        return Reply(handle: try volatile.transient.insert(.sequence(sequence)))
    }

    /// TPM2_SequenceUpdate (17.4)
    func sequenceUpdate(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let buffer = try call.parameters.bytes(max: Limits.inputBuffer)
        try call.parameters.finish()

        // The reference implementation numbers this error as if the handle were a parameter.
        guard case .sequence(let sequence) = volatile.transient[call.handles[0]] else { throw TPMRC.mode.parameter(1) }
        sequence.update(buffer)
        return .empty
    }

    /// TPM2_SequenceComplete (17.5): the pipeline flushes the sequence, as its row says.
    func sequenceComplete(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let buffer = try call.parameters.bytes(max: Limits.inputBuffer)
        let hierarchy = try call.parameters.hierarchy()
        try call.parameters.finish()

        guard case .sequence(let sequence) = volatile.transient[call.handles[0]], case .hash = sequence.state else {
            throw TPMRC.mode.handle(1)
        }
        sequence.update(buffer)
        guard case .hash(let context) = sequence.state else { throw TPMRC.mode.handle(1) }
        let result = context.finished()
        let validation = hashCheckTicket(hierarchy, context.hash, digest: result, isSafe: sequence.isTicketSafe)
        return Reply {
            $0.sized16(result)
            $0.value(validation)
        }
    }
}

extension SequenceObject {
    func update(_ buffer: [UInt8]) {
        switch state {
        case .hash(var context):
            if !isStarted {
                isStarted = true
                // A first block too short to tell counts as unsafe.
                isTicketSafe = buffer.count >= Attestation.magic.wire.count && !startsAsGenerated(buffer)
            }
            context.update(buffer)
            state = .hash(context)
        case .event(let contexts):
            state = .event(contexts.map { (context) in
                var context = context
                context.update(buffer)
                return context
            })
        }
    }
}
