// Part 3, 24.1 and 28.5: primary objects, and objects that outlast the power.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_CreatePrimary (24.1)
    func createPrimary(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let request = try CreationRequest(&call.parameters)

        let hierarchy = call.handles[0]
        try request.check(parent: nil, chip: device.chip)
        try volatile.transient.requireRoom()

        let (publicArea, backing) = try primaryBacking(hierarchy, request.template, data: request.sensitive.data)
        let primary = LoadedObject(publicArea, in: hierarchy, authValue: request.sensitive.userAuth, backing: backing)
        let evidence = try creationEvidence(request, parent: nil, hierarchy: hierarchy, name: primary.name)
        let handle = try volatile.transient.insert(.object(primary))
        return Reply(handle: handle) {
            $0.sized16(publicArea)
            $0.value(evidence)
            $0.sized16(primary.name)
        }
    }

    /// A primary's public area, and where its private part is.
    func primaryBacking(
        _ hierarchy: TPMHandle, _ template: PublicArea, data: [UInt8]
    ) throws(TPMRC) -> (PublicArea, Backing) {
        if hierarchy == .null, case .ecc(_, _, let curve, _) = template.parameters,
            template.attributes.contains([.restricted, .decrypt])
        {
            let (publicArea, scalar) = nullStorageKey(curve, template, data: data)
            return (publicArea, .software(scalar))
        }
        let key = try primary(hierarchy, template, data: data)
        return (key.publicArea, .twin(TwinReference(key.twin, keeper)))
    }

    /// TPM2_EvictControl (28.5)
    func evictControl(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let persistentHandle = try call.parameters.next(TPMHandle.self)
        guard persistentHandle.kind == .persistent else { throw TPMRC.value.parameter(1) }
        try call.parameters.finish()

        let (authorization, handle) = (call.handles[0], call.handles[1])
        let object = try object(handle, number: 2, orSequence: .attributes)
        guard object.hierarchy != .null, !object.isExternal, !object.isStClear, !object.isPublicOnly else {
            throw TPMRC.attributes.handle(2)
        }
        let isPersistent = handle.kind == .persistent
        guard !isPersistent || handle == persistentHandle else { throw TPMRC.handle.handle(2) }
        try checkEviction(object, authorization, persistentHandle, isPersistent: isPersistent)

        if isPersistent {
            durable.persistent[persistentHandle] = nil
        } else {
            guard durable.persistent[persistentHandle] == nil else { throw .nvDefined }
            guard hasRoom(.persistentObjects) else { throw .nvSpace }
            durable.persistent[persistentHandle] = object
        }
        durable.save(.persistent(persistentHandle))
        return .empty
    }

    /// Who may make persistent or evict what, and where (Part 2, 7.5). The platform may evict anything.
    private func checkEviction(
        _ object: LoadedObject, _ authorization: TPMHandle, _ target: TPMHandle, isPersistent: Bool
    ) throws(TPMRC) {
        let isPlatform = authorization == .platform
        if isPlatform && isPersistent { return }
        guard isPlatform == (object.hierarchy == .platform) else { throw TPMRC.hierarchy.handle(2) }
        guard isPersistent || isPlatform == (target >= .platformPersistentFirst) else { throw TPMRC.range.parameter(1) }
    }
}
