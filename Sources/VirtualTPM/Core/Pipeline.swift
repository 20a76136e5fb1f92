// The command pipeline (Part 1, 18; Part 3, 5): header, handles, sessions, authorization, parameters, action, response.
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// One command of the guest; always a well-formed response.
    package func execute(_ command: [UInt8]) -> [UInt8] {
        refusal = nil
        do throws(TPMRC) {
            return try run(command)
        } catch {
            note(error)
            rollBack()
            return Self.errorResponse(error)
        }
    }

    /// A response that is a code only. TPM_RC_BAD_TAG has the tag that a TPM 1.2 would answer with (Part 2, 6.9).
    package static func errorResponse(_ code: TPMRC) -> [UInt8] {
        let tag: UInt16 = code == .badTag ? 0x00C4 : StructureTag.noSessions
        return MessageHeader(tag: tag, size: UInt32(MessageHeader.size), code: code.rawValue).wire
    }

    private func run(_ command: [UInt8]) throws(TPMRC) -> [UInt8] {
        var reader = WireReader(command)
        let header = try readHeader(&reader, size: command.count)
        let row = try row(TPMCommandCode(header.code))
        try checkPower(row)
        let handles = try readHandles(&reader, row)
        let sessions = header.tag == StructureTag.sessions ? try readSessions(&reader, row, handles) : []
        guard sessions.count >= row.authorizedHandles else { throw .authMissing }
        let raw = reader.rest()
        var call = CommandCall(row: row, handles: handles, parameters: .empty, sessions: sessions, rawParameters: raw)
        let isHashed = !sessions.isEmpty || durable.audit.commands.contains(row.code)
        let hashes = isHashed ? CommandDigests(row.code, names: handles.map { name(of: $0) }, parameters: raw) : nil
        if !sessions.isEmpty, let hashes { try authorize(&call, hashes) }
        let parameters = try decryptParameter(call)
        call.parameters = ParameterReader(parameters, rules.vocabulary)
        keeper.command = underWay(call, hashes?.names ?? [], parameters)
        defer { keeper.command = nil }
        let reply: Reply
        do throws(TPMRC) { reply = try perform(&call) } catch {
            note(met: call.parameters.met)
            throw error
        }
        noteChange(by: call)
        countAudit(of: call)
        do throws(TPMRC) { try commit() } catch {
            // Nobody will hear of what was loaded.
            if let handle = reply.handle, handle.kind == .transient { volatile.transient.remove(handle) }
            throw error
        }
        let response = respond(call, reply, hashes)
        // Not before: the response's HMAC needs the authValue.
        if row.flags.contains(.flushed), let sequence = handles.last { volatile.transient.remove(sequence) }
        return response
    }

    /// For the gate, which only authorized commands with a gated key come to.
    private func underWay(_ call: CommandCall, _ names: [[UInt8]], _ parameters: [UInt8]) -> CommandUnderWay? {
        guard !call.sessions.isEmpty, let place = call.row.code.gatedHandle, place < call.handles.count,
            (try? object(call.handles[place]))?.isGated == true
        else { return nil }
        let tokens = call.sessions.map { $0.authorizes == nil ? [] : volatile.sessions[$0.handle]?.policy?.token ?? [] }
        return CommandUnderWay(
            command: GuestCommand(code: call.row.code, names: names, parameters: parameters), tokens: tokens, epoch: volatile.powerOnTime)
    }

    private func readHeader(_ reader: inout WireReader, size: Int) throws(TPMRC) -> MessageHeader {
        guard let header = try? reader.value(MessageHeader.self) else { throw size < 2 ? .badTag : .commandSize }
        guard StructureTag.isDefined(header.tag) else { throw .value }
        guard header.tag == StructureTag.noSessions || header.tag == StructureTag.sessions else { throw .badTag }
        guard Int(header.size) == size, size <= Limits.commandSize else { throw .commandSize }
        return header
    }

    private func row(_ code: TPMCommandCode) throws(TPMRC) -> CommandRow {
        let row = CommandTable.row(code)
        if power == .failed, row?.flags.contains(.inFailureMode) != true { throw .failure }
        guard let row else { throw .commandCode }
        guard has(row) else {
            refusal = .command(code)
            throw .commandCode
        }
        return row
    }

    private func checkPower(_ row: CommandRow) throws(TPMRC) {
        switch power {
        case .initialized: guard row.flags.contains(.beforeStartup) else { throw .initialize }
        case .started: guard row.code != .startup else { throw .initialize }
        case .failed: break
        }
    }

    private func readHandles(_ reader: inout WireReader, _ row: CommandRow) throws(TPMRC) -> [TPMHandle] {
        var handles: [TPMHandle] = []
        for (i, slot) in row.handles.enumerated() {
            guard let handle = try? reader.value(TPMHandle.self) else { throw TPMRC.insufficient.handle(i + 1) }
            handles.append(handle)
            guard slot.kind.allows(handle), isInRange(handle) else { throw TPMRC.value.handle(i + 1) }
        }
        for (i, slot) in row.handles.enumerated() {
            do throws(TPMRC) {
                try checkHandle(handles[i], slot.kind, evicts: row.code == .evictControl)
            } catch {
                throw error == .referenceH0 ? TPMRC(rawValue: error.rawValue + UInt32(i)) : error.handle(i + 1)
            }
        }
        return handles
    }

    /// The authorization area (Part 1, 18.5): as many sessions as fit, at most three.
    private func readSessions(_ reader: inout WireReader, _ row: CommandRow, _ handles: [TPMHandle]) throws(TPMRC) -> [AppliedSession] {
        guard let size = try? reader.u32(), Int(size) <= reader.remaining else { throw .authSize }
        guard size >= 9, let area = try? reader.bytes(Int(size)) else { throw .authSize }
        guard !row.flags.contains(.noSessions) else { throw .authContext }
        var areaReader = WireReader(area)
        var sessions: [AppliedSession] = []
        while !areaReader.isAtEnd {
            let number = sessions.count + 1
            guard number <= Limits.sessionsPerCommand else { throw .authSize }
            do throws(WireError) {
                let auth = try areaReader.value(AuthCommand.self)
                let authorizes = number <= row.authorizedHandles ? handles[number - 1] : nil
                sessions.append(
                    AppliedSession(handle: auth.handle, nonceCaller: auth.nonce, attributes: auth.attributes, hmac: auth.hmac,
                                   authorizes: authorizes))
            } catch {
                throw TPMRC(error).session(number)
            }
        }
        return sessions
    }

    /// The parameter area with its first parameter decrypted, where a session says so (Part 1, 21).
    private func decryptParameter(_ call: CommandCall) throws(TPMRC) -> [UInt8] {
        guard let index = call.sessions.firstIndex(where: { $0.attributes.contains(.decrypt) }) else { return call.rawParameters }
        let applied = call.sessions[index]
        guard let session = volatile.sessions[applied.handle] else { throw .failure }
        var reader = WireReader(call.rawParameters)
        guard let cipherText = try? reader.sized16() else { throw TPMRC.insufficient.parameter(1) }
        let key = session.sessionKey.bytes + (applied.authorizes.map { authValue(of: $0).bytes } ?? [])
        let plain = session.crypt(cipherText, key: key, newer: applied.nonceCaller, older: session.nonceTPM, encrypt: false)
        var writer = WireWriter(capacity: call.rawParameters.count)
        writer.sized16(plain)
        writer.raw(reader.rest())
        return writer.bytes
    }

    /// Builds the response: nonces roll, the first parameter is encrypted, audit digests grow, HMACs are made.
    private func respond(_ call: CommandCall, _ reply: Reply, _ hashes: CommandDigests?) -> [UInt8] {
        guard !call.sessions.isEmpty else {
            updateAudits(call, hashes, reply.parameters.bytes)
            return message(StructureTag.noSessions, reply.handle, reply.parameters.bytes)
        }
        for session in call.sessions where !session.isPassword {
            volatile.sessions[session.handle]?.rollNonce()
        }
        let parameters = encryptParameter(call, reply.parameters.bytes)
        updateAudits(call, hashes, parameters)
        var area = WireWriter(capacity: parameters.count + 160)
        area.sized32(parameters)
        for index in call.sessions.indices { area.value(authResponse(call, index, parameters)) }
        endSessions(call)
        return message(StructureTag.sessions, reply.handle, area.bytes)
    }

    private func message(_ tag: UInt16, _ handle: TPMHandle?, _ rest: [UInt8]) -> [UInt8] {
        let size = MessageHeader.size + (handle == nil ? 0 : TPMHandle.size) + rest.count
        var message = WireWriter(capacity: size)
        message.value(MessageHeader(tag: tag, size: UInt32(size), code: TPMRC.success.rawValue))
        if let handle { message.value(handle) }
        message.raw(rest)
        return message.bytes
    }

    private func encryptParameter(_ call: CommandCall, _ parameters: [UInt8]) -> [UInt8] {
        guard let applied = call.sessions.first(where: { $0.attributes.contains(.encrypt) }),
            let session = volatile.sessions[applied.handle]
        else { return parameters }
        var reader = WireReader(parameters)
        guard let plain = try? reader.sized16() else { return parameters }
        let key = session.sessionKey.bytes + (applied.authorizes.map { authValue(of: $0).bytes } ?? [])
        var writer = WireWriter(capacity: parameters.count)
        writer.sized16(session.crypt(plain, key: key, newer: session.nonceTPM, older: applied.nonceCaller, encrypt: true))
        writer.raw(reader.rest())
        return writer.bytes
    }

    /// Sessions that were not asked to continue end with the command; a policy session that did starts over (Part 1, 19.6.4).
    private func endSessions(_ call: CommandCall) {
        for applied in call.sessions where !applied.isPassword {
            if !applied.attributes.contains(.continueSession) {
                if volatile.exclusiveAuditSession == applied.handle { volatile.exclusiveAuditSession = nil }
                volatile.sessions.flush(applied.handle)
            } else if applied.authorizes != nil && applied.handle.kind == .policySession {
                volatile.sessions[applied.handle]?.policy?.restart()
            }
        }
    }
}
