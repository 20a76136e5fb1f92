// Part 3, 11: session commands.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_StartAuthSession (11.1)
    func startAuthSession(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let nonceCaller = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let encryptedSalt = try call.parameters.bytes(max: PublicArea.rsaMax)
        let type = try call.parameters.next(UInt8.self)
        guard let kind = Session.Kind(rawValue: type) else { throw TPMRC.value.parameter(3) }
        let symmetric = try call.parameters.symmetric(object: false, of: device.chip)
        let hash = try call.parameters.next(HashAlgorithm.self)
        try call.parameters.finish()

        guard nonceCaller.count >= 16 && nonceCaller.count <= hash.digestSize else { throw TPMRC.size.parameter(1) }
        let salt = try saltValue(encryptedSalt, tpmKey: call.handles[0])
        let bound = try bindValue(call.handles[1])
        if case .aes(_, let mode) = symmetric, mode != .cfb { throw TPMRC.mode.parameter(4) }
        let index = try volatile.sessions.freeIndex()

        let handle = TPMHandle(kind == .hmac ? .hmacSession : .policySession, index)
        let policy = kind == .hmac ? nil : try startPolicy(kind, hash, nonceSize: nonceCaller.count)
        let nonceTPM = policy?.nonces[0] ?? randomBytes(nonceCaller.count)
        let secret = (bound?.authValue.bytes ?? []) + salt
        let sessionKey = bound == nil && salt.isEmpty
            ? [] : kdfa(hash, key: secret, label: "ATH", contextU: nonceTPM, contextV: nonceCaller, bits: hash.digestSize * 8)
        volatile.sessions[handle] = Session(
            handle: handle, kind: kind, hash: hash, symmetric: symmetric, sessionKey: Secret(sessionKey), nonceTPM: nonceTPM,
            boundTo: kind == .hmac ? bound : nil, auditDigest: nil, policy: policy)
        return Reply(handle: handle) { $0.sized16(nonceTPM) }
    }

    /// The checker draws where the session's nonces come from.
    private func startPolicy(_ kind: Session.Kind, _ hash: HashAlgorithm, nonceSize: Int) throws(TPMRC) -> Session.PolicyTokens {
        guard let size = UInt8(exactly: nonceSize) else { throw .failure }
        let token = try policy.start(.init(hash: hash, trial: kind == .trial, epoch: volatile.powerOnTime, nonceSize: size))
        guard let tokens = Session.PolicyTokens(start: token) else { throw .failure }
        return tokens
    }

    /// The salt, which only the holder of tpmKey's private part can tell.
    private func saltValue(_ encrypted: [UInt8], tpmKey: TPMHandle) throws(TPMRC) -> [UInt8] {
        guard tpmKey != .null else {
            guard encrypted.isEmpty else { throw TPMRC.value.parameter(2) }
            return []
        }
        let key = try object(tpmKey, orSequence: .key)
        guard key.publicArea.isAsymmetric else { throw TPMRC.key.handle(1) }
        guard !encrypted.isEmpty else { throw TPMRC.value.parameter(2) }
        guard !key.isPublicOnly else { throw TPMRC.handle.handle(1) }
        guard key.attributes.contains(.decrypt) else { throw TPMRC.attributes.handle(1) }
        do throws(TPMRC) { return try recoverSalt(encrypted, key: key) } catch { throw error.parameter(2) }
    }

    /// The entity to bind to; its authValue becomes part of the session key.
    private func bindValue(_ handle: TPMHandle) throws(TPMRC) -> Session.BoundEntity? {
        guard handle != .null else { return nil }
        if handle.isObject, try object(handle, number: 2).isPublicOnly { throw TPMRC.handle.handle(2) }
        // Each use of a PIN counts, and one that a session is bound to would be used without.
        if durable.nv[handle]?.isPIN == true { throw TPMRC.handle.handle(2) }
        return boundEntity(handle)
    }

    /// TPM2_PolicyRestart (11.2)
    func policyRestart(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        volatile.sessions[call.handles[0]]?.policy?.restart()
        return .empty
    }
}
