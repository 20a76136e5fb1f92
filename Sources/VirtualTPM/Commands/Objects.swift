// Part 3, 12: object commands.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_Create (12.1)
    func create(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let request = try CreationRequest(&call.parameters)

        let parent = try object(call.handles[0])
        guard parent.isParent else { throw TPMRC.type.handle(1) }
        try request.check(parent: parent, chip: device.chip)

        let key = try makeKey(request.template, data: request.sensitive.data)
        let name = key.publicArea.name
        let evidence = try creationEvidence(request, parent: parent, hierarchy: parent.hierarchy, name: name)
        let outPrivate = sealedPrivate(key, under: parent, authValue: request.sensitive.userAuth)
        return Reply {
            $0.sized16(outPrivate)
            $0.sized16(key.publicArea)
            $0.value(evidence)
        }
    }

    /// TPM2_Load (12.2)
    func load(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let inPrivate = try call.parameters.bytes(max: Limits.privateMax)
        let publicArea = try call.parameters.namedPublicArea()
        try call.parameters.finish()

        guard !inPrivate.isEmpty else { throw TPMRC.size.parameter(1) }
        let parent = try object(call.handles[0])
        guard parent.isParent else { throw TPMRC.type.handle(1) }
        let name = publicArea.name
        let envelope: Envelope
        do throws(TPMRC) {
            envelope = try Envelope(opening: inPrivate, key: keys.envelope(parentName: parent.name, name: name), name: name)
        } catch {
            throw error.parameter(1)
        }
        do throws(TPMRC) { try publicArea.checkAttributes(parent: parent.publicArea) } catch { throw error.parameter(2) }
        guard let twin = envelope.twin(of: publicArea) else { throw TPMRC.hash.parameter(2) }

        let loaded = LoadedObject(
            publicArea, under: parent, authValue: envelope.authValue, backing: .twin(TwinReference(twin, keeper)))
        let handle = try volatile.transient.insert(.object(loaded))
        return Reply(handle: handle) { $0.sized16(name) }
    }

    /// TPM2_LoadExternal (12.3)
    func loadExternal(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let sensitive = try call.parameters.sensitiveArea()
        let publicArea = try call.parameters.next(Sized<PublicArea>.self).value
        let hierarchy = try call.parameters.hierarchy()
        try call.parameters.finish()

        do throws(TPMRC) { try publicArea.checkOffered(by: device.chip) } catch { throw error.parameter(2) }
        guard volatile.hierarchies.isEnabled(hierarchy) else { throw TPMRC.hierarchy.parameter(3) }
        let backing: Backing
        if let sensitive {
            guard hierarchy == .null else { throw TPMRC.hierarchy.parameter(3) }
            backing = .software(try externalSecret(sensitive, publicArea))
        } else {
            do throws(TPMRC) { try publicArea.checkSchemes(parent: nil) } catch { throw error.parameter(2) }
            try publicArea.checkPublicKey()
            backing = .publicOnly
        }

        let name = publicArea.name
        let loaded = LoadedObject(
            publicArea: publicArea, name: name, qualifiedName: name, hierarchy: hierarchy,
            authValue: Secret(withoutTrailingZeros(sensitive?.authValue ?? [])), backing: backing, isExternal: true,
            isStClear: publicArea.attributes.contains(.stClear))
        let handle = try volatile.transient.insert(.object(loaded))
        return Reply(handle: handle) { $0.sized16(name) }
    }

    /// The private part of a key that comes in the clear: it may not look as if this TPM had made it.
    private func externalSecret(_ sensitive: SensitiveArea, _ publicArea: PublicArea) throws(TPMRC) -> Secret {
        guard publicArea.attributes.isDisjoint(with: [.fixedTPM, .fixedParent, .restricted]) else {
            throw TPMRC.attributes.parameter(2)
        }
        if let nameAlgorithm = publicArea.nameAlgorithm {
            guard sensitive.seedValue.count <= nameAlgorithm.digestSize else { throw TPMRC.keySize.parameter(1) }
        }
        do throws(TPMRC) {
            if publicArea.nameAlgorithm == nil {
                try publicArea.checkSchemes(parent: nil)
            } else {
                try publicArea.checkAttributes(parent: nil)
            }
        } catch {
            throw error.parameter(2)
        }
        return try publicArea.checkedSecret(sensitive, parameter: 1)
    }

    /// TPM2_ReadPublic (12.4)
    func readPublic(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let object = try object(call.handles[0], orSequence: .sequence)
        return Reply {
            $0.sized16(object.publicArea)
            $0.sized16(object.name)
            $0.sized16(object.qualifiedName)
        }
    }

    /// TPM2_ActivateCredential (12.5)
    func activateCredential(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let credentialBlob = try call.parameters.bytes(max: GateCalls.Activate.Request.credentialMax)
        let secret = try call.parameters.bytes(max: PublicArea.rsaMax)
        try call.parameters.finish()

        let key = try object(call.handles[1], number: 2)
        guard key.isStorageKey else { throw TPMRC.type.handle(2) }
        let activated = try object(call.handles[0])
        var credential = try opened(credentialBlob, secret, key, for: activated)
        defer { wipe(&credential) }
        return Reply { $0.sized16(credential) }
    }

    /// Where the chip has the storage key, the policy checker opens the credential: it alone gets the seed.
    private func opened(
        _ blob: [UInt8], _ secret: [UInt8], _ key: LoadedObject, for activated: LoadedObject
    ) throws(TPMRC) -> [UInt8] {
        do throws(TPMRC) {
            if case .twin(let twin) = key.backing {
                try key.checkSecret(secret)
                return try policy.activate(GateCalls.Activate.Request(
                    key: GatedObject(area: key.publicArea, twin: twin.blob), credential: blob, secret: secret, object: activated.named))
            }
        } catch { throw error.parameter(2) }
        let seed: [UInt8]
        do throws(TPMRC) { seed = try key.recoverSeed(secret, for: .identity) } catch {
            throw error == .key ? .failure : error.parameter(2)
        }
        guard let wrapper = OuterWrapper(protector: key.publicArea, seed: seed, name: activated.name) else { throw .failure }
        do throws(TPMRC) {
            var plain = try wrapper.open(blob)
            defer { wipe(&plain) }
            return try OuterWrapper.credential(in: plain)
        } catch { throw error.parameter(1) }
    }

    /// TPM2_MakeCredential (12.6)
    func makeCredential(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let credential = try call.parameters.bytes(max: HashAlgorithm.largestDigest)
        let objectName = try call.parameters.bytes(max: Limits.nameMax)
        try call.parameters.finish()

        let key = try object(call.handles[0])
        guard key.isStorageKey else { throw TPMRC.type.handle(1) }
        guard credential.count <= key.publicArea.nameAlgorithm?.digestSize ?? 0 else { throw TPMRC.size.parameter(1) }
        let (seed, secret) = try key.publicArea.shareSeed(for: .identity)
        guard let wrapper = OuterWrapper(protector: key.publicArea, seed: seed, name: objectName) else { throw .failure }
        let blob = wrapper.seal(UInt16(credential.count).wire + credential)
        return Reply {
            $0.sized16(blob)
            $0.sized16(secret)
        }
    }

    /// TPM2_Unseal (12.7)
    func unseal(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let object = try object(call.handles[0])
        guard object.publicArea.type == .keyedHash else { throw TPMRC.type.handle(1) }
        guard object.attributes.isDisjoint(with: .keyUses) else { throw TPMRC.attributes.handle(1) }
        var data = try object.unseal()
        defer { wipe(&data) }
        return Reply { $0.sized16(data) }
    }

    /// TPM2_ObjectChangeAuth (12.8)
    func objectChangeAuth(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let newAuth = withoutTrailingZeros(try call.parameters.bytes(max: HashAlgorithm.largestDigest))
        try call.parameters.finish()

        let object = try object(call.handles[0])
        guard newAuth.count <= object.publicArea.nameAlgorithm?.digestSize ?? HashAlgorithm.largestDigest else {
            throw TPMRC.size.parameter(1)
        }
        let parent = try self.object(call.handles[1], number: 2)
        guard object.qualifiedName == object.publicArea.qualifiedName(under: parent.qualifiedName),
            case .twin(let twin) = object.backing
        else { throw TPMRC.type.handle(2) }
        let key = NewKey(publicArea: object.publicArea, twin: twin.blob)
        let outPrivate = sealedPrivate(key, under: parent, authValue: newAuth)
        return Reply { $0.sized16(outPrivate) }
    }
}

extension VirtualTPM {
    /// TPM2B_PRIVATE of a child.
    func sealedPrivate(_ key: NewKey, under parent: LoadedObject, authValue: [UInt8]) -> [UInt8] {
        let name = key.publicArea.name
        return Envelope(key, authValue: authValue).sealed(key: keys.envelope(parentName: parent.name, name: name), name: name)
    }

    /// The object that a handle names; `code` for a sequence, which has no public area (what its absence violates first).
    func object(_ handle: TPMHandle, number: Int = 1, orSequence code: TPMRC) throws(TPMRC) -> LoadedObject {
        if case .sequence = volatile.transient[handle] { throw code.handle(number) }
        return try object(handle, number: number)
    }
}

extension ParameterReader {
    /// TPM2B_SENSITIVE; nil for an empty one.
    mutating func sensitiveArea() throws(TPMRC) -> SensitiveArea? {
        try read { (reader) throws(WireError) in
            var ahead = reader
            if try ahead.u16() == 0 {
                reader = ahead
                return nil
            }
            return try reader.value(Sized<SensitiveArea>.self).value
        }
    }
}
