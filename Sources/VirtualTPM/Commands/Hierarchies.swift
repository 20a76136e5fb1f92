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
        func isOwned(_ object: LoadedObject) -> Bool { object.hierarchy == .owner || object.hierarchy == .endorsement }
        volatile.transient.removeAll {
            if case .object(let object) = $0 { isOwned(object) } else { false }
        }
        for (handle, object) in durable.persistent where isOwned(object) {
            durable.persistent[handle] = nil
            durable.save(.persistent(handle))
        }
    }

    private func clearNV() {
        for (handle, index) in durable.nv where !index.publicArea.attributes.contains(.platformCreate) {
            durable.nv[handle] = nil
            durable.save(.nv(handle))
        }
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
