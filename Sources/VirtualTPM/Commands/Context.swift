// Part 3, 28: saved contexts of objects, sequences and sessions (Part 1, 30).
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// What a saved context is of: the form of savedHandle for transient entries (Part 2, 14.5).
private enum SavedKind {
    static let object = TPMHandle(0x8000_0000)
    static let sequence = TPMHandle(0x8000_0001)
    static let stClearObject = TPMHandle(0x8000_0002)
    static let all = [object, sequence, stClearObject]
}

extension VirtualTPM {
    /// TPM2_ContextSave (28.2)
    func contextSave(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let saveHandle = call.handles[0]
        let context: SavedContext
        switch volatile.transient[saveHandle] {
        case .object(let object):
            let kind = object.isStClear ? SavedKind.stClearObject : SavedKind.object
            context = try seal(ObjectRecord(object).wire, kind, hierarchy: object.hierarchy, volatile.sessions.contextSequence())
        case .sequence(let sequence):
            context = try seal(SequenceRecord(sequence).wire, SavedKind.sequence, hierarchy: .null, volatile.sessions.contextSequence())
        case nil:
            guard let session = volatile.sessions[saveHandle] else { throw .referenceH0 }
            context = try seal(SessionRecord(session).wire, saveHandle, hierarchy: .null, volatile.sessions.save(saveHandle))
        }
        return Reply { $0.value(context) }
    }

    /// TPM2_ContextLoad (28.3)
    func contextLoad(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let context = try call.parameters.next(SavedContext.self)
        try call.parameters.finish()

        do throws(TPMRC) { return Reply(handle: try load(context)) } catch { throw error.parameter(1) }
    }

    private func load(_ context: SavedContext) throws(TPMRC) -> TPMHandle {
        guard context.savedHandle.isSession || SavedKind.all.contains(context.savedHandle) else { throw .value }
        guard context.blob.count >= Self.nonceSize else { throw .size }
        var plain = try open(context)
        defer { wipe(&plain) }
        if context.savedHandle.isSession {
            let session = try Self.decode(SessionRecord.self, plain).session
            guard session.handle == context.savedHandle, volatile.sessions.restore(session, sequence: context.sequence) else {
                throw .handle
            }
            return session.handle
        }
        guard volatile.hierarchies.isEnabled(context.hierarchy) else { throw .hierarchy }
        if context.savedHandle == SavedKind.sequence {
            let sequence = try Self.decode(SequenceRecord.self, plain).sequence(keeper)
            return try volatile.transient.insert(.sequence(sequence))
        }
        let object = try Self.decode(ObjectRecord.self, plain).object(keeper)
        return try volatile.transient.insert(.object(object))
    }

    /// What is authentic but does not decode is of another version.
    private static func decode<T: WireCodable>(_: T.Type, _ bytes: [UInt8]) throws(TPMRC) -> T {
        do throws(WireError) { return try T(wire: bytes) } catch { throw .integrity }
    }

    /// TPM2_FlushContext (28.4)
    func flushContext(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let flushHandle = try call.parameters.next(TPMHandle.self)
        guard HandleKind.context.allows(flushHandle), isInRange(flushHandle) else { throw TPMRC.value.parameter(1) }
        try call.parameters.finish()

        if volatile.transient[flushHandle] != nil {
            volatile.transient.remove(flushHandle)
        } else if flushHandle.isSession, volatile.sessions[flushHandle] != nil || volatile.sessions.saved[flushHandle.index] != nil {
            if volatile.exclusiveAuditSession == flushHandle { volatile.exclusiveAuditSession = nil }
            volatile.sessions.flush(flushHandle)
        } else {
            throw TPMRC.handle.parameter(1)
        }
        return .empty
    }

    // MARK: The blob: a nonce, and AES-256-GCM of the record; associated data: all other fields

    private static let nonceSize = 12

    private func seal(_ record: [UInt8], _ savedHandle: TPMHandle, hierarchy: TPMHandle, _ sequence: UInt64) throws(TPMRC) -> SavedContext {
        var record = record
        defer { wipe(&record) }
        var context = SavedContext(sequence: sequence, savedHandle: savedHandle, hierarchy: hierarchy, blob: [])
        let nonce = randomBytes(Self.nonceSize)
        context.blob = nonce + aeadSeal(key: contextKey(context), nonce: nonce, associated: context.header, record)
        // Every record fits, unless the chip's own contexts, one of which a sequence can hold, are larger than any we know.
        guard context.blob.count <= SavedContext.blobMax else { throw .memory }
        return context
    }

    private func open(_ context: SavedContext) throws(TPMRC) -> [UInt8] {
        let nonce = Array(context.blob.prefix(Self.nonceSize))
        let sealed = Array(context.blob.dropFirst(Self.nonceSize))
        guard let plain = aeadOpen(key: contextKey(context), nonce: nonce, associated: context.header, sealed) else { throw .integrity }
        return plain
    }

    /// Contexts die with the hierarchy's proof, at a TPM Reset with the NULL hierarchy's, and those of stClear objects at a
    /// TPM Restart too.
    private func contextKey(_ context: SavedContext) -> [UInt8] {
        var parts = proof(of: context.hierarchy).bytes + volatile.hierarchies.nullProof.bytes
        defer { wipe(&parts) }
        if context.savedHandle == SavedKind.stClearObject { parts += volatile.clearCount.wire }
        return keys.context(proof: Secret(parts))
    }
}

extension SavedContext {
    /// What the seal covers besides the blob.
    fileprivate var header: [UInt8] { sequence.wire + savedHandle.wire + hierarchy.wire }
}

/// A session as a saved context holds it.
private struct SessionRecord: WireCodable {
    let session: Session

    init(_ session: Session) { self.session = session }

    init(from reader: inout WireReader) throws(WireError) {
        let handle = try reader.value(TPMHandle.self)
        guard let kind = Session.Kind(rawValue: try reader.u8()) else { throw .invalid(0) }
        session = Session(
            handle: handle, kind: kind, hash: try reader.value(), symmetric: try SymmetricDefinition(from: &reader, object: false),
            sessionKey: Secret(try reader.sized16(max: HashAlgorithm.largestDigest)),
            nonceTPM: try reader.sized16(max: HashAlgorithm.largestDigest), boundTo: try Self.bound(&reader),
            auditDigest: try reader.flag() ? try reader.sized16(max: HashAlgorithm.largestDigest) : nil,
            policy: try reader.flag() ? try Self.policy(&reader) : nil)
    }

    func encode(to writer: inout WireWriter) {
        writer.value(session.handle)
        writer.u8(session.kind.rawValue)
        writer.value(session.hash)
        session.symmetric.encode(to: &writer)
        writer.sized16(session.sessionKey.bytes)
        writer.sized16(session.nonceTPM)
        writer.flag(session.boundTo != nil)
        if let bound = session.boundTo {
            writer.sized16(bound.name)
            writer.sized16(bound.authValue.bytes)
            writer.flag(bound.isDAProtected)
        }
        writer.flag(session.auditDigest != nil)
        if let auditDigest = session.auditDigest { writer.sized16(auditDigest) }
        writer.flag(session.policy != nil)
        if let policy = session.policy {
            writer.sized16(policy.start)
            writer.sized16(policy.token)
            writer.u64(policy.rolls)
        }
    }

    private static func policy(_ reader: inout WireReader) throws(WireError) -> Session.PolicyTokens {
        let (start, token) = (try reader.sized16(max: PolicyCalls.tokenMax), try reader.sized16(max: PolicyCalls.tokenMax))
        guard let policy = Session.PolicyTokens(start: start, token: token, rolls: try reader.u64()) else { throw .invalid(0) }
        return policy
    }

    private static func bound(_ reader: inout WireReader) throws(WireError) -> Session.BoundEntity? {
        guard try reader.flag() else { return nil }
        return Session.BoundEntity(
            name: try reader.sized16(max: 2 + HashAlgorithm.largestDigest),
            authValue: Secret(try reader.sized16(max: HashAlgorithm.largestDigest)), isDAProtected: try reader.flag())
    }
}
