// Authorization of a command's handles by its sessions (Part 1, 19; Part 3, 5.5 and 5.6).
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// Checks the sessions as such, then what each is used for, in order. Errors carry the session's number.
    func authorize(_ call: inout CommandCall, _ hashes: CommandDigests) throws(TPMRC) {
        try checkSessions(call)
        updateRecovery()
        for index in call.sessions.indices {
            do throws(TPMRC) {
                try checkUse(call.sessions[index])
                if let handle = call.sessions[index].authorizes, let role = call.row.handles[index].role {
                    try checkAuthorization(&call, index, handle, role, hashes)
                } else {
                    try checkHMAC(call, index, hashes)
                }
            } catch {
                throw error.session(index + 1)
            }
        }
    }

    /// Part 1, 18.6: which attributes may stand together, and that every session is there.
    private func checkSessions(_ call: CommandCall) throws(TPMRC) {
        var seen = SessionAttributes(rawValue: 0)
        for (i, applied) in call.sessions.enumerated() {
            let number = i + 1
            if applied.isPassword {
                guard applied.attributes.subtracting(.continueSession).isEmpty else { throw TPMRC.attributes.session(number) }
                guard applied.nonceCaller.isEmpty else { throw TPMRC.nonce.session(number) }
                continue
            }
            guard let session = volatile.sessions[applied.handle] else {
                throw TPMRC(rawValue: TPMRC.referenceS0.rawValue + UInt32(i))
            }
            guard !call.sessions[..<i].contains(where: { $0.handle == applied.handle }) else { throw TPMRC.handle.session(number) }
            try checkAttributes(applied, session, call.row, &seen, number)
        }
    }

    private func checkAttributes(
        _ applied: AppliedSession, _ session: Session, _ row: CommandRow, _ seen: inout SessionAttributes, _ number: Int
    ) throws(TPMRC) {
        let uses = applied.attributes.intersection(.uses)
        guard seen.isDisjoint(with: uses) else { throw TPMRC.attributes.session(number) }
        seen.formUnion(uses)
        if applied.attributes.contains(.decrypt) && !row.flags.contains(.decrypts)
            || applied.attributes.contains(.encrypt) && !row.flags.contains(.encrypts)
        {
            throw TPMRC.attributes.session(number)
        }
        if !uses.isDisjoint(with: .encryption) {
            guard session.symmetric != .null else { throw TPMRC.symmetric.session(number) }
        }
        if applied.attributes.contains(.audit) {
            guard session.kind == .hmac else { throw TPMRC.attributes.session(number) }
            if applied.attributes.contains(.auditExclusive), session.auditDigest != nil,
                volatile.exclusiveAuditSession != applied.handle, !applied.attributes.contains(.auditReset)
            {
                throw .exclusive
            }
        } else {
            guard applied.attributes.isDisjoint(with: .onlyOfAudit) else { throw TPMRC.attributes.session(number) }
        }
    }

    /// A session must be there for something; a password authorizes, and a trial policy never does anything.
    private func checkUse(_ applied: AppliedSession) throws(TPMRC) {
        if applied.isPassword {
            guard applied.authorizes != nil else { throw .handle }
        } else {
            guard volatile.sessions[applied.handle]?.kind != .trial else { throw .attributes }
            guard applied.authorizes != nil || !applied.attributes.isDisjoint(with: .uses) else { throw .attributes }
        }
    }

    /// One authorized handle: by password, HMAC or policy.
    private func checkAuthorization(
        _ call: inout CommandCall, _ index: Int, _ handle: TPMHandle, _ role: AuthRole, _ hashes: CommandDigests
    ) throws(TPMRC) {
        let applied = call.sessions[index]
        let session = volatile.sessions[applied.handle]
        guard handle != .platform || !TPMCommandCode.needingPresence.contains(call.row.code) else { throw .pp }
        if session?.kind == .policy {
            let state = try policyState(applied.handle)
            if state.isAuthValueNeeded || state.isPasswordNeeded { try checkNotLockedOut(handle, session) }
            guard isPolicyAvailable(handle, role: role, command: call.row.code) else { throw .authUnavailable }
            try checkPolicy(state, handle, role, call, hashes)
            call.sessions[index].includesAuthValue = state.isAuthValueNeeded
            call.sessions[index].isPasswordPolicy = state.isPasswordNeeded
        } else {
            try checkNotLockedOut(handle, session)
            guard !isPolicyRequired(handle, role: role) else { throw .authType }
            guard isAuthValueAvailable(handle, role: role, command: call.row.code) else { throw .authUnavailable }
            call.sessions[index].includesAuthValue = true
            if let bound = session?.boundTo { call.sessions[index].isBound = bound == boundEntity(handle) }
        }
        do throws(TPMRC) {
            if applied.isPassword || call.sessions[index].isPasswordPolicy {
                try checkPassword(applied, handle)
            } else {
                try checkHMAC(call, index, hashes)
            }
        } catch {
            if call.sessions[index].usesAuthValue { try countPINUse(handle, succeeded: false) }
            throw error
        }
        if call.sessions[index].usesAuthValue { try countPINUse(handle, succeeded: true) }
    }

    /// A PIN index counts by itself (Part 1, 37.2.7): the failures in a row, or the successes. It is stored before the answer, whatever
    /// becomes of the command.
    private func countPINUse(_ handle: TPMHandle, succeeded: Bool) throws(TPMRC) {
        guard handle.kind == .nvIndex, var index = durable.nv[handle], index.isWritten else { return }
        switch index.type {
        case .pinFail: index.pin.count = succeeded ? 0 : index.pin.count &+ 1
        case .pinPass where succeeded: index.pin.count &+= 1
        default: return
        }
        guard index != durable.nv[handle] else { return }
        durable.nv[handle] = index
        durable.save(.nv(handle))
        do throws(TPMRC) { try commit() } catch {
            // What cannot be stored counts as long as the process lives.
            durable.nv[handle] = index
            throw error
        }
    }

    /// TPM_RC_LOCKOUT while the guest is locked out of DA-protected entities (Part 1, 19.8.3).
    private func checkNotLockedOut(_ handle: TPMHandle, _ session: Session?) throws(TPMRC) {
        if handle == .lockout {
            guard durable.lockout.lockoutAuthEnabled else { throw .lockout }
        } else if isDAProtected(handle) || session?.boundTo?.isDAProtected == true {
            guard !durable.lockout.isLockedOut else { throw .lockout }
        }
    }

    private func checkPassword(_ applied: AppliedSession, _ handle: TPMHandle) throws(TPMRC) {
        let given = Secret(withoutTrailingZeros(applied.hmac))
        guard given == authValue(of: handle) else { throw failed(handle) }
    }

    /// The session's HMAC over the command (Part 1, 19.6.5).
    private func checkHMAC(_ call: CommandCall, _ index: Int, _ hashes: CommandDigests) throws(TPMRC) {
        let applied = call.sessions[index]
        guard let session = volatile.sessions[applied.handle] else { throw .failure }
        let key = hmacKey(session, applied)
        // Without any secret there is nothing to prove: no HMAC will do, but one that is there must be right (as libtpms
        // has it; the TSS sends one).
        if key.isEmpty && applied.hmac.isEmpty { return }
        let (decryptNonce, encryptNonce) = otherNonces(call, index)
        let expected = TPMCrypto.hmac(
            session.hash, key: key, hashes.cpHash(session.hash), applied.nonceCaller, session.nonceTPM, decryptNonce, encryptNonce,
            [applied.attributes.rawValue])
        guard constantTimeEqual(expected, applied.hmac) else { throw failed(applied.authorizes) }
    }

    /// nonceTPM of the decrypt and encrypt sessions, which the first session's HMAC covers when they are others.
    private func otherNonces(_ call: CommandCall, _ index: Int) -> (decrypt: [UInt8], encrypt: [UInt8]) {
        guard index == 0, call.sessions[0].authorizes != nil else { return ([], []) }
        let decrypt = call.sessions.firstIndex { $0.attributes.contains(.decrypt) } ?? 0
        let encrypt = call.sessions.firstIndex { $0.attributes.contains(.encrypt) } ?? 0
        func nonce(_ i: Int) -> [UInt8] { volatile.sessions[call.sessions[i].handle]?.nonceTPM ?? [] }
        return (decrypt == 0 ? [] : nonce(decrypt), encrypt == 0 || encrypt == decrypt ? [] : nonce(encrypt))
    }

    /// sessionKey || authValue, the second only where the session does not stand for it already (Part 1, 19.6.5).
    private func hmacKey(_ session: Session, _ applied: AppliedSession) -> [UInt8] {
        guard let handle = applied.authorizes, applied.includesAuthValue, !applied.isBound else { return session.sessionKey.bytes }
        return session.sessionKey.bytes + authValue(of: handle).bytes
    }

    func boundEntity(_ handle: TPMHandle) -> Session.BoundEntity {
        Session.BoundEntity(name: name(of: handle), authValue: authValue(of: handle), isDAProtected: isDAProtected(handle))
    }

    /// What a failed authorization answers, after it was counted.
    private func failed(_ handle: TPMHandle?) -> TPMRC {
        guard let handle, isDAProtected(handle) else { return handle == nil ? .authFail : .badAuth }
        registerAuthFailure(lockoutAuth: handle == .lockout)
        try? commit()
        return .authFail
    }

    /// One session's part of the response (Part 1, 19.6.5).
    func authResponse(_ call: CommandCall, _ index: Int, _ parameters: [UInt8]) -> AuthResponse {
        let applied = call.sessions[index]
        guard let session = volatile.sessions[applied.handle] else {
            return AuthResponse(attributes: .continueSession)
        }
        var attributes = applied.attributes
        if attributes.contains(.audit) {
            if volatile.exclusiveAuditSession == applied.handle { attributes.insert(.auditExclusive) } else { attributes.remove(.auditExclusive) }
        }
        if applied.isPasswordPolicy { return AuthResponse(nonce: session.nonceTPM, attributes: attributes) }
        let key = hmacKey(session, applied)
        guard !key.isEmpty || !applied.hmac.isEmpty else { return AuthResponse(nonce: session.nonceTPM, attributes: attributes) }
        let rpHash = digest(session.hash, TPMRC.success.rawValue.wire, call.row.code.wire, parameters)
        let mac = TPMCrypto.hmac(session.hash, key: key, rpHash, session.nonceTPM, applied.nonceCaller, [attributes.rawValue])
        return AuthResponse(nonce: session.nonceTPM, attributes: attributes, hmac: mac)
    }
}

extension Session {
    /// Parameter encryption with the session's algorithm (Part 1, 21).
    func crypt(_ data: [UInt8], key: [UInt8], newer: [UInt8], older: [UInt8], encrypt: Bool) -> [UInt8] {
        switch symmetric {
        case .null: data
        case .xor(let xorHash): parameterXOR(xorHash, key: key, nonceNewer: newer, nonceOlder: older, data)
        case .aes(let bits, _):
            parameterCFB(
                keyBits: Int(bits), HMACContext(hash, key: key), nonceNewer: newer, nonceOlder: older, data, encrypt: encrypt)
        }
    }

    func rollNonce() {
        policy?.rolls &+= 1
        nonceTPM = policy.map { $0.nonces[$0.rolls] } ?? randomBytes(nonceTPM.count)
    }
}

/// Authorization values are compared and kept without trailing zeros (Part 1, 19.6.4.3).
func withoutTrailingZeros(_ bytes: [UInt8]) -> [UInt8] {
    let count = bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
    return Array(bytes[..<count])
}
