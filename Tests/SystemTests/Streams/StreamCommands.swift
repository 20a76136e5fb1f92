// What each command of a stream is given, and what its success means to the generator.
import TPMWire
import Wire

extension StreamGenerator {
    /// Replaces handles that name objects, sessions and indices, and adds the parameters.
    mutating func fill(_ step: inout Step, _ row: CommandRow) {
        for (i, slot) in row.handles.enumerated() {
            switch slot.kind {
            case .policySession: step.handles[i] = session(policy: true)
            case .hmacSession, .session: step.handles[i] = session(policy: false)
            case .object, .objectOrNull, .context: step.handles[i] = object(kind(row.code, i))
            case .entity where random.chance(40), .parent where random.chance(60): step.handles[i] = object(.storage)
            default: break
            }
        }
        if row.handles.count >= 2, row.handles[0].kind == .nvAuth, case .bytes(let index) = step.handles[1] {
            step.handles[0] = .bytes(indexAuthority(index, writing: ![.nvRead, .nvReadLock, .policyNV, .policyAuthorizeNV].contains(row.code)))
        }
        fillObjects(&step)
    }

    /// The kind of object that a command's handle wants.
    private mutating func kind(_ code: TPMCommandCode, _ number: Int) -> StreamWorld.Kind {
        switch code {
        case .unseal: .sealed
        case .sign, .verifySignature, .commit: .signing
        case .hmac, .hmacStart: random.chance(70) ? .hmac : .external
        case .encryptDecrypt, .encryptDecrypt2: .cipher
        case .sequenceUpdate, .sequenceComplete: random.pick([.hashSequence, .hmacSequence, .eventSequence])
        case .eventSequenceComplete: .eventSequence
        case .ecdhZGen, .ecdhKeyGen, .zGen2Phase: .agreeing
        case .quote, .certifyCreation, .getTime, .getSessionAuditDigest, .getCommandAuditDigest, .nvCertify: .attesting
        case .certify, .certifyX509: number == 1 ? .attesting : random.pick(StreamWorld.Kind.allCases)
        case .create, .load, .import, .makeCredential: .storage
        case .readPublic, .contextSave, .evictControl, .objectChangeAuth, .duplicate: number == 0 ? random.pick(StreamWorld.Kind.allCases) : .storage
        default: .storage
        }
    }

    private mutating func fillObjects(_ step: inout Step) {
        switch step.code {
        case .createPrimary: makeObject(&step, random.pick([.storage, .storage, .signing, .attesting, .hmac, .sealed, .cipher, .agreeing]))
        case .create: fillCreate(&step)
        case .load: fillLoad(&step)
        case .createLoaded:
            let (kind, auth) = (random.pick([.signing, .sealed, .hmac, .storage, .cipher] as [StreamWorld.Kind]), auth())
            step.parameters = [sensitiveCreate(kind, auth: auth), template(kind)]
            remember(&step, kind, auth)
        case .loadExternal:
            step.parameters = random.chance(70) ? externalKey() : [sized([]), template(.signing), .bytes(hierarchy())]
            remember(&step, .external, [])
        case .hashSequenceStart:
            let (algorithm, auth) = (random.chance(30) ? TPMAlgorithm.null.rawValue : hash(), auth())
            step.parameters = [sized(auth), .bytes(algorithm.wire)]
            remember(&step, algorithm == 0x10 ? .eventSequence : .hashSequence, auth)
        case .hmacStart:
            let auth = auth()
            step.parameters = [sized(auth), .bytes(random.chance(50) ? [0, 0x10] : hash().wire)]
            remember(&step, .hmacSequence, auth)
        case .sequenceUpdate: step.parameters = [data(200)]
        case .sequenceComplete:
            step.parameters = [data(200), .bytes(hierarchy())]
            forget(&step, 0)
        case .eventSequenceComplete:
            step.parameters = [data(200)]
            forget(&step, 1)
        case .objectChangeAuth: step.parameters = [sized(auth())]
        case .evictControl: fillEvict(&step)
        case .contextSave: fillContextSave(&step)
        case .contextLoad: fillContextLoad(&step)
        case .flushContext:
            guard let slot = (world.transient.map(\.slot) + world.sessions.map(\.slot)).randomElement(using: &random) else { break }
            step.parameters = [.slot(slot)]
            step.effect = { world in
                world.objects.removeAll { $0.slot == slot }
                world.sessions.removeAll { $0.slot == slot }
            }
        case .startAuthSession: fillStartAuthSession(&step)
        case .duplicate: step.parameters = [data(16), .bytes(random.chance(70) ? [0, 0x10] : [0, 6, 0, 128, 0, 0x43])]
        case .rewrap: step.parameters = [data(64), digest(), data(64)]
        case .import: step.parameters = [data(16), template(.signing), data(100), data(64), .bytes([0, 0x10])]
        case .activateCredential: step.parameters = [data(64), data(64)]
        case .makeCredential: step.parameters = [data(32), sized([0, 0x0B] + random.bytes(random.pick([32, 32, 20])))]
        default: fillUses(&step)
        }
    }

    private mutating func makeObject(_ step: inout Step, _ kind: StreamWorld.Kind) {
        let auth = auth()
        step.parameters = creation(kind, auth: auth)
        remember(&step, kind, auth)
    }

    /// The answer's handle is a new object's.
    private mutating func remember(_ step: inout Step, _ kind: StreamWorld.Kind, _ auth: [UInt8]) {
        let slot = world.newSlot("object")
        step.stores = { $0.handle.map { [slot: $0.wire] } ?? [:] }
        step.effect = { $0.objects.append(StreamWorld.Object(slot: slot, kind: kind, auth: auth)) }
    }

    private func forget(_ step: inout Step, _ number: Int) {
        guard case .slot(let slot) = step.handles[number] else { return }
        step.effect = { $0.objects.removeAll { $0.slot == slot } }
    }

    private mutating func fillCreate(_ step: inout Step) {
        let (kind, auth, slot) = (random.pick([.storage, .signing, .attesting, .agreeing, .hmac, .sealed, .sealed, .cipher] as [StreamWorld.Kind]), auth(), world.newSlot("blob"))
        step.parameters = creation(kind, auth: auth)
        guard case .slot(let parent) = step.handles[0] else { return }
        step.stores = { response in
            var reader = WireReader(response.parameters)
            let (privateArea, publicArea) = (try reader.sized16(), try reader.sized16())
            return [slot: UInt16(privateArea.count).wire + privateArea + UInt16(publicArea.count).wire + publicArea]
        }
        step.effect = { $0.blobs.append(StreamWorld.Blob(slot: slot, parent: parent, kind: kind, auth: auth)) }
    }

    private mutating func fillLoad(_ step: inout Step) {
        guard !world.blobs.isEmpty else {
            step.parameters = [data(100), template(.sealed)]
            return
        }
        let blob = random.pick(world.blobs)
        if world.objects.contains(where: { $0.slot == blob.parent }), random.chance(90) { step.handles[0] = .slot(blob.parent) }
        step.parameters = [.slot(blob.slot)]
        remember(&step, blob.kind, blob.auth)
    }

    private mutating func fillEvict(_ step: inout Step) {
        if let kept = world.objects.first(where: \.isPersistent), random.chance(50), case .bytes = step.handles[0] {
            step.handles[1] = .slot(kept.slot)
            step.parameters = [.slot(kept.slot)]
            step.effect = { $0.objects.removeAll { $0.slot == kept.slot } }
            return
        }
        let (handle, slot) = (random.pick([0x8100_0001, 0x8100_0002, 0x8180_0001] as [UInt32]).wire, world.newSlot("kept"))
        step.parameters = [.bytes(handle)]
        guard case .slot(let source) = step.handles[1], let object = world.objects.first(where: { $0.slot == source }), !object.isPersistent
        else { return }
        step.stores = { _ in [slot: handle] }
        step.effect = { world in
            world.objects.append(StreamWorld.Object(slot: slot, kind: object.kind, auth: object.auth, isPersistent: true))
        }
    }

    private mutating func fillContextSave(_ step: inout Step) {
        if !world.sessions.isEmpty, random.chance(20) { step.handles[0] = .slot(random.pick(world.sessions).slot) }
        guard case .slot(let source) = step.handles[0] else { return }
        let (slot, object) = (world.newSlot("context"), world.objects.first { $0.slot == source })
        step.stores = { [slot: $0.parameters] }
        step.effect = { world in
            world.contexts.append((slot, object))
            world.sessions.removeAll { $0.slot == source }
        }
    }

    private mutating func fillContextLoad(_ step: inout Step) {
        guard !world.contexts.isEmpty else {
            step.parameters = [.bytes(random.bytes(8) + TPMHandle(0x8000_0000).wire + hierarchy()), data(64)]
            return
        }
        let context = random.pick(world.contexts)
        step.parameters = [.slot(context.slot)]
        let slot = world.newSlot("loaded")
        step.stores = { $0.handle.map { [slot: $0.wire] } ?? [:] }
        step.effect = { world in
            if let object = context.object {
                world.objects.append(StreamWorld.Object(slot: slot, kind: object.kind, auth: object.auth))
            } else {
                world.sessions.append((slot, false))
            }
        }
    }

    private mutating func fillStartAuthSession(_ step: inout Step) {
        step.handles = [.bytes(random.chance(95) ? TPMHandle.null.wire : TPMHandle.owner.wire), .bytes((random.chance(90) ? TPMHandle.null : .owner).wire)]
        let type = random.chance(95) ? UInt8(random.pick([0, 1, 1, 1, 3, 3])) : 2
        let symmetric: [UInt8] = random.pick([[0, 0x10], [0, 0x10], [0, 6, 0, 128, 0, 0x43], [0, 0x0A, 0, 0x0B], [0, 6, 0, 129, 0, 0x43]])
        step.parameters = [
            sized(random.bytes(random.pick([16, 16, 32, 32, 15, 64]))), sized(random.chance(95) ? [] : [1, 2, 3]), .bytes([type] + symmetric),
            .bytes(hash().wire),
        ]
        let slot = world.newSlot("session")
        step.stores = { $0.handle.map { [slot: $0.wire] } ?? [:] }
        step.effect = { $0.sessions.append((slot, type != 0)) }
    }
}

extension SeededRandom: RandomNumberGenerator {}
