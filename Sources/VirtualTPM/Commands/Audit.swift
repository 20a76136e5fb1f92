// Part 3, 21: command audit; and both kinds of audit as the pipeline keeps them.
import EnhancedAuthorization
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_SetCommandCodeAuditStatus (21.2): another hash, or other commands, not both.
    func setCommandCodeAuditStatus(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let auditAlg = try call.parameters.read { (reader) throws(WireError) in try reader.hashOrNull() }
        let setList = try call.parameters.list(TPMCommandCode.self, max: AuditState.listMax)
        let clearList = try call.parameters.list(TPMCommandCode.self, max: AuditState.listMax)
        try call.parameters.finish()

        if let auditAlg, auditAlg != durable.audit.hash {
            guard setList.isEmpty && clearList.isEmpty else { throw TPMRC.value.parameter(1) }
            durable.audit.hash = auditAlg
            call.isAuditHashChange = true
        } else {
            for code in setList where rules.commands.contains(code) { durable.audit.set(code) }
            for code in clearList { durable.audit.clear(code) }
        }
        durable.save(.audit)
        return .empty
    }

    /// Before the command's changes are committed: the first command of a digest counts (Part 3, 21.1).
    func countAudit(of call: CommandCall) {
        guard durable.audit.commands.contains(call.row.code), !call.isAuditHashChange, volatile.commandAuditDigest.isEmpty else {
            return
        }
        durable.audit.counter &+= 1
        durable.save(.audit)
    }

    /// - Parameters:
    ///   - hashes: nil for a command that nothing audits.
    ///   - parameters: of the response, as they go out.
    func updateAudits(_ call: CommandCall, _ hashes: CommandDigests?, _ parameters: [UInt8]) {
        updateSessionAudit(call, hashes, parameters)
        updateCommandAudit(call, hashes, parameters)
    }

    /// The digest of every audited command and response since it was begun (Part 3, 21.1). What changed the hash begins
    /// none.
    private func updateCommandAudit(_ call: CommandCall, _ hashes: CommandDigests?, _ parameters: [UInt8]) {
        guard let hashes, durable.audit.commands.contains(call.row.code) else { return }
        if call.isAuditHashChange {
            volatile.commandAuditDigest = []
            return
        }
        let hash = durable.audit.hash
        if volatile.commandAuditDigest.isEmpty { volatile.commandAuditDigest = [UInt8](repeating: 0, count: hash.digestSize) }
        volatile.commandAuditDigest = digest(
            hash, volatile.commandAuditDigest, hashes.cpHash(hash), rpHash(hash, call, parameters))
    }

    /// Session audit (Part 1, 19.6.6): the digest of every command and response since the session's first use for audit.
    private func updateSessionAudit(_ call: CommandCall, _ hashes: CommandDigests?, _ parameters: [UInt8]) {
        guard let hashes, let applied = call.sessions.first(where: { $0.attributes.contains(.audit) }),
            let session = volatile.sessions[applied.handle]
        else {
            // A command that takes no sessions interrupts nothing.
            if !call.row.flags.contains(.noSessions) { volatile.exclusiveAuditSession = nil }
            return
        }
        let zero = [UInt8](repeating: 0, count: session.hash.digestSize)
        if session.auditDigest == nil || applied.attributes.contains(.auditReset) {
            volatile.exclusiveAuditSession = applied.handle
            session.auditDigest = zero
            // An audit session is bound to nothing.
            session.boundTo = nil
        } else if volatile.exclusiveAuditSession != applied.handle {
            volatile.exclusiveAuditSession = nil
        }
        session.auditDigest = digest(
            session.hash, session.auditDigest ?? zero, hashes.cpHash(session.hash), rpHash(session.hash, call, parameters))
    }

    /// Part 1, 16.8
    private func rpHash(_ hash: HashAlgorithm, _ call: CommandCall, _ parameters: [UInt8]) -> [UInt8] {
        digest(hash, TPMRC.success.rawValue.wire, call.row.code.wire, parameters)
    }
}
