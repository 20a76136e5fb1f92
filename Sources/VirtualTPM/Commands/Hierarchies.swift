// Part 3, 24: hierarchy commands that need no key.
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_Clear (24.6): the TPM has no owner any more.
    func clear(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        guard !durable.hierarchies.disableClear else { throw .disabled }

        try pcrs.countClear()
        clearHierarchies()
        clearObjects()
        clearNV()
        durable.lockout = LockoutState()
        durable.save(.lockout)
        clearClock()
        volatile.pcrAuthValue = .empty
        return .empty
    }

    /// New storage seed and proofs, no authorizations, no policies. The endorsement seed stays: endorsement keys outlive an owner.
    private func clearHierarchies() {
        let endorsementSeed = durable.hierarchies.endorsement.seedID
        durable.hierarchies.owner = Hierarchy()
        durable.hierarchies.endorsement = Hierarchy()
        durable.hierarchies.endorsement.seedID = endorsementSeed
        durable.hierarchies.lockoutAuth = .empty
        durable.hierarchies.lockoutPolicy = HierarchyPolicy()
        durable.save(.hierarchies)
        durable.forgetPrimaries(of: .owner)
        volatile.hierarchies.shEnable = true
        volatile.hierarchies.ehEnable = true
    }

    private func clearObjects() {
        for hierarchy in [TPMHandle.owner, .endorsement] {
            flushObjects(of: hierarchy)
            evictObjects(of: hierarchy)
        }
    }

    private func flushObjects(of hierarchy: TPMHandle) {
        volatile.transient.removeAll {
            if case .object(let object) = $0 { object.hierarchy == hierarchy } else { false }
        }
    }

    private func evictObjects(of hierarchy: TPMHandle) {
        for (handle, object) in durable.persistent where object.hierarchy == hierarchy {
            durable.persistent[handle] = nil
            durable.save(.persistent(handle))
        }
    }

    private func clearNV() {
        for (handle, index) in durable.nv where !index.publicArea.attributes.contains(.platformCreate) { deleteIndex(handle) }
    }

    /// Clock, resetCount and restartCount are 0, Safe is YES.
    private func clearClock() {
        durable.clock.clock = 0
        durable.clock.resetCount = 0
        durable.clock.restartCount = 0
        durable.clock.safe = true
        durable.save(.clock)
        volatile.clockAnchor = (0, clockService.milliseconds)
    }

    /// TPM2_HierarchyControl (24.2)
    func hierarchyControl(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let enable = try call.parameters.next(TPMHandle.self)
        guard [.owner, .endorsement, .platform, .platformNV].contains(enable) else { throw TPMRC.value.parameter(1) }
        let state = try call.parameters.read { (reader) throws(WireError) in try reader.flag() }
        try call.parameters.finish()
        let isEnabled = volatile.hierarchies.isEnabled(enable)
        // Its own authorization may switch a hierarchy off, but only the platform's switches it on again.
        let isOwn = call.handles[0] == enable && (isEnabled || !state)
        guard call.handles[0] == .platform || isOwn else { throw .authType }

        guard state != isEnabled else { return .empty }
        volatile.hierarchies.set(enable, enabled: state)
        if !state { flushObjects(of: enable) }
        undoShutdown()
        return .empty
    }

    /// TPM2_SetPrimaryPolicy (24.3)
    func setPrimaryPolicy(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let policy = try call.parameters.hierarchyPolicy()
        try call.parameters.finish()
        guard policy.isWhole else { throw TPMRC.size.parameter(1) }

        switch call.handles[0] {
        case .owner: durable.hierarchies.owner.policy = policy
        case .endorsement: durable.hierarchies.endorsement.policy = policy
        case .lockout: durable.hierarchies.lockoutPolicy = policy
        case .platform:
            volatile.hierarchies.platformPolicy = policy
            return .empty
        default: throw TPMRC.value.handle(1)
        }
        durable.save(.hierarchies)
        return .empty
    }

    /// TPM2_ChangePPS (24.4): platformAuth and NV stay.
    func changePPS(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        durable.hierarchies.platform = Hierarchy()
        durable.save(.hierarchies)
        volatile.hierarchies.platformPolicy = HierarchyPolicy()
        durable.settings.pcrPolicy = HierarchyPolicy()
        durable.save(.settings)
        forgetKeys(of: .platform)
        return .empty
    }

    /// TPM2_ChangeEPS (24.5)
    func changeEPS(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        durable.hierarchies.endorsement = Hierarchy()
        durable.save(.hierarchies)
        volatile.hierarchies.ehEnable = true
        forgetKeys(of: .endorsement)
        return .empty
    }

    /// The hierarchy's seed has changed.
    private func forgetKeys(of hierarchy: TPMHandle) {
        flushObjects(of: hierarchy)
        evictObjects(of: hierarchy)
        durable.forgetPrimaries(of: hierarchy)
    }

    /// TPM2_ClearControl (24.7): only the platform may allow Clear again.
    func clearControl(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let disable = try call.parameters.read { (reader) throws(WireError) in try reader.flag() }
        try call.parameters.finish()
        guard disable || call.handles[0] == .platform else { throw .authFail }

        durable.hierarchies.disableClear = disable
        durable.save(.hierarchies)
        return .empty
    }

    /// TPM2_HierarchyChangeAuth (24.8)
    func hierarchyChangeAuth(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let newAuth = Secret(withoutTrailingZeros(try call.parameters.bytes(max: HashAlgorithm.largestDigest)))
        try call.parameters.finish()

        switch call.handles[0] {
        case .owner: durable.hierarchies.owner.authValue = newAuth
        case .endorsement: durable.hierarchies.endorsement.authValue = newAuth
        case .lockout: durable.hierarchies.lockoutAuth = newAuth
        case .platform:
            volatile.hierarchies.platformAuth = newAuth
            return .empty
        default: throw TPMRC.value.handle(1)
        }
        durable.save(.hierarchies)
        return .empty
    }
}

extension ParameterReader {
    /// An authPolicy and the algorithm it is of: two parameters.
    mutating func hierarchyPolicy() throws(TPMRC) -> HierarchyPolicy {
        let authPolicy = try bytes(max: HashAlgorithm.largestDigest)
        let hashAlg = try read { (reader) throws(WireError) in try reader.hashOrNull() }
        return HierarchyPolicy(hash: hashAlg, digest: authPolicy)
    }
}
