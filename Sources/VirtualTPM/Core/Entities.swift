// Entities: whatever a handle may name, with its Name, authValue, policy and DA protection (Part 1, 14.7 and 16).
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// Checks one handle of the handle area: its interface type (Part 2, 9), and that what it names is there.
    func checkHandle(_ handle: TPMHandle, _ kind: HandleKind, evicts: Bool = false) throws(TPMRC) {
        guard kind.allows(handle), isInRange(handle) else { throw .value }
        switch handle.kind {
        case .transient: guard volatile.transient[handle] != nil else { throw .referenceH0 }
        case .hmacSession, .policySession: try checkSession(handle)
        case .persistent: try checkPersistent(handle, evicts: evicts)
        case .nvIndex: _ = try nvIndex(handle)
        case .permanent: guard volatile.hierarchies.isEnabled(handle) else { throw .hierarchy }
        default: break
        }
    }

    /// The hierarchy that an object is kept for must be enabled, too, beside its own. But the owner may evict an object of an endorsement
    /// hierarchy that is disabled.
    private func checkPersistent(_ handle: TPMHandle, evicts: Bool) throws(TPMRC) {
        let keeper = handle < .platformPersistentFirst ? TPMHandle.owner : .platform
        guard let object = durable.persistent[handle], volatile.hierarchies.isEnabled(keeper),
            volatile.hierarchies.isEnabled(object.hierarchy) || evicts && object.hierarchy == .endorsement
        else { throw .handle }
    }

    private func checkSession(_ handle: TPMHandle) throws(TPMRC) {
        guard volatile.sessions[handle] == nil else { return }
        // The same session slot, but of the other type
        let other = TPMHandle(handle.kind == .hmacSession ? .policySession : .hmacSession, handle.index)
        throw volatile.sessions[other] == nil ? .referenceH0 : .handle
    }

    /// Whether a transient object or a session could have the handle.
    func isInRange(_ handle: TPMHandle) -> Bool {
        switch handle.kind {
        case .transient: handle.index < UInt32(volatile.transient.range)
        case .hmacSession, .policySession: handle.index < UInt32(volatile.sessions.range)
        default: true
        }
    }

    /// The object that a transient or persistent handle names; TPM_RC_TYPE for a sequence.
    func object(_ handle: TPMHandle, number: Int = 1) throws(TPMRC) -> LoadedObject {
        switch handle.kind {
        case .transient:
            switch volatile.transient[handle] {
            case .object(let object): return object
            case .sequence: throw TPMRC.type.handle(number)
            case nil: throw TPMRC(rawValue: TPMRC.referenceH0.rawValue + UInt32(number - 1))
            }
        case .persistent:
            guard let object = durable.persistent[handle] else { throw TPMRC.handle.handle(number) }
            return object
        default: throw TPMRC.value.handle(number)
        }
    }

    /// The entity's Name (Part 1, 16): what cpHash and session binding are computed over.
    func name(of handle: TPMHandle) -> [UInt8] {
        switch handle.kind {
        case .transient:
            if case .object(let object) = volatile.transient[handle] { object.name } else { [] }
        case .persistent: durable.persistent[handle]?.name ?? []
        case .nvIndex: nv(handle)?.publicArea.name ?? []
        default: handle.wire
        }
    }

    /// The entity's authValue; empty where it has none.
    func authValue(of handle: TPMHandle) -> Secret {
        switch handle {
        case .owner: durable.hierarchies.owner.authValue
        case .endorsement: durable.hierarchies.endorsement.authValue
        case .platform: volatile.hierarchies.platformAuth
        case .lockout: durable.hierarchies.lockoutAuth
        default:
            switch handle.kind {
            case .transient:
                switch volatile.transient[handle] {
                case .object(let object): object.authValue
                case .sequence(let sequence): sequence.authValue
                case nil: .empty
                }
            case .persistent: durable.persistent[handle]?.authValue ?? .empty
            case .nvIndex: nv(handle)?.authValue ?? .empty
            case .pcr: PCRAttributes.of(Int(handle.index)).isInAuthGroup ? volatile.pcrAuthValue : .empty
            default: .empty
            }
        }
    }

    /// The entity's authPolicy and the algorithm it must have been computed with; nil: it has no policy.
    func authPolicy(of handle: TPMHandle) -> HierarchyPolicy? {
        let policy: HierarchyPolicy
        switch handle {
        case .owner: policy = durable.hierarchies.owner.policy
        case .endorsement: policy = durable.hierarchies.endorsement.policy
        case .platform: policy = volatile.hierarchies.platformPolicy
        case .lockout: policy = durable.hierarchies.lockoutPolicy
        default:
            if handle.kind == .pcr {
                policy = PCRAttributes.of(Int(handle.index)).isInAuthGroup ? durable.settings.pcrPolicy : HierarchyPolicy()
            } else if handle.kind == .nvIndex, let index = nv(handle)?.publicArea {
                policy = HierarchyPolicy(hash: index.nameAlgorithm, digest: index.authPolicy)
            } else if let object = try? object(handle) {
                policy = HierarchyPolicy(hash: object.publicArea.nameAlgorithm, digest: object.publicArea.authPolicy)
            } else {
                return nil
            }
        }
        return policy.hash == nil ? nil : policy
    }

    /// Whether failed authorizations of the entity count against the guest (Part 1, 19.8.2).
    func isDAProtected(_ handle: TPMHandle) -> Bool {
        switch handle.kind {
        case .permanent: handle == .lockout
        case .transient, .persistent:
            if let object = try? object(handle) { !object.attributes.contains(.noDA) } else { false }
        case .nvIndex: !(nv(handle)?.publicArea.attributes.contains(.noDA) ?? true)
        default: false
        }
    }

    /// Whether the entity's authValue may authorize this command.
    func isAuthValueAvailable(_ handle: TPMHandle, role: AuthRole, command: TPMCommandCode) -> Bool {
        switch handle.kind {
        case .permanent, .pcr: return true
        case .transient, .persistent:
            if case .sequence = volatile.transient[handle] { return true }
            guard let object = try? object(handle), !object.isPublicOnly else { return false }
            switch role {
            case .user: return object.attributes.contains(.userWithAuth)
            case .admin: return !object.attributes.contains(.adminWithPolicy)
            case .dup: return false
            }
        case .nvIndex:
            guard let index = nv(handle) else { return false }
            if command.nvAccess == .write { return index.publicArea.attributes.contains(.authWrite) }
            // A PIN index authorizes nothing before it is written, and as often as its limit says (Part 1, 37.2.7).
            if index.isPIN { return index.isWritten && index.pin.count < index.pin.limit }
            return index.publicArea.attributes.contains(.authRead)
        default: return false
        }
    }

    /// Whether a policy may authorize this command for the entity.
    func isPolicyAvailable(_ handle: TPMHandle, role: AuthRole, command: TPMCommandCode) -> Bool {
        switch handle.kind {
        case .transient, .persistent: return (try? object(handle)).map { !$0.isPublicOnly } ?? false
        case .pcr: return PCRAttributes.of(Int(handle.index)).isInAuthGroup
        case .nvIndex:
            guard let area = nv(handle)?.publicArea, !area.authPolicy.isEmpty else { return false }
            if isPolicyRequired(handle, role: role) { return true }
            return area.attributes.contains(command.nvAccess == .write ? .policyWrite : .policyRead)
        default: return authPolicy(of: handle) != nil
        }
    }

    /// Whether nothing but a policy session will do (Part 1, 19.2: roles ADMIN and DUP).
    func isPolicyRequired(_ handle: TPMHandle, role: AuthRole) -> Bool {
        switch role {
        case .user: return handle.kind == .pcr && authPolicy(of: handle) != nil
        case .dup: return true
        case .admin:
            if handle.kind == .nvIndex { return true }
            return (try? object(handle))?.attributes.contains(.adminWithPolicy) ?? false
        }
    }

    /// The hierarchy's proof (Part 1, 14.4): phProof, shProof, ehProof, or the NULL hierarchy's.
    func proof(of hierarchy: TPMHandle) -> Secret {
        switch hierarchy {
        case .owner: durable.hierarchies.owner.proof
        case .endorsement: durable.hierarchies.endorsement.proof
        case .platform: durable.hierarchies.platform.proof
        default: volatile.hierarchies.nullProof
        }
    }

    /// What stands for the hierarchy's primary seed.
    func seedID(of hierarchy: TPMHandle) -> Secret {
        switch hierarchy {
        case .owner: durable.hierarchies.owner.seedID
        case .endorsement: durable.hierarchies.endorsement.seedID
        case .platform: durable.hierarchies.platform.seedID
        default: volatile.hierarchies.nullSeed
        }
    }

    /// The digest of the selected PCRs' concatenated values (Part 1, 17.6: as PolicyPCR, Quote and creation data use it).
    func pcrDigest(_ selection: [PCRSelection], hash: HashAlgorithm) throws(TPMRC) -> [UInt8] {
        let values = try pcrs.values()
        var context = HashContext(hash)
        for bank in volatile.banks.present(selection) {
            for pcr in bank.pcrs { context.update(values.digest(bank.hash, pcr)) }
        }
        return context.finished()
    }
}

extension HandleKind {
    /// Whether a handle's value is within the interface type.
    func allows(_ handle: TPMHandle) -> Bool {
        switch self {
        case .pcr: handle.rawValue < UInt32(PCRSelection.pcrCount)
        case .pcrOrNull: handle == .null || HandleKind.pcr.allows(handle)
        case .object: handle.isObject
        case .objectOrNull: handle == .null || handle.isObject
        case .entity: [.owner, .endorsement, .platform, .lockout].contains(handle) || handle.isObject || handle.kind == .nvIndex
            || HandleKind.pcr.allows(handle)
        case .entityOrNull: handle == .null || HandleKind.entity.allows(handle)
        case .hierarchyOrNull: handle.isHierarchy
        case .hierarchy: handle.isHierarchy && handle != .null
        case .hierarchyAuth: [.owner, .endorsement, .platform, .lockout].contains(handle)
        case .provision: handle == .owner || handle == .platform
        case .clear: handle == .lockout || handle == .platform
        case .platform: handle == .platform
        case .lockout: handle == .lockout
        case .endorsement: handle == .endorsement
        case .nvIndex: handle.kind == .nvIndex
        case .nvAuth: handle == .owner || handle == .platform || handle.kind == .nvIndex
        case .session: handle.isSession
        case .hmacSession: handle.kind == .hmacSession
        case .policySession: handle.kind == .policySession
        case .context: handle.isSession || handle.kind == .transient
        case .parent: handle.isHierarchy || handle.isObject
        }
    }
}

extension TPMCommandCode {
    enum NVAccess { case read, write }

    /// What an index's own authorization is used for: TPMA_NV tells reading from writing (Part 2, 13.4).
    var nvAccess: NVAccess {
        switch self {
        case .nvWrite, .nvIncrement, .nvSetBits, .nvExtend, .nvWriteLock: .write
        default: .read
        }
    }
}
