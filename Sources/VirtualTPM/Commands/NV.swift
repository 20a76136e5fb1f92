// Part 3, 31: non-volatile storage (Part 1, 37).
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// The index that a handle names. One whose hierarchy is disabled is as if it were not there (Part 1, 37.4).
    func nvIndex(_ handle: TPMHandle) throws(TPMRC) -> NVIndex {
        guard let index = nv(handle) else { throw .handle }
        let isPlatform = index.publicArea.attributes.contains(.platformCreate)
        guard volatile.hierarchies.isEnabled(isPlatform ? .platformNV : .owner) else { throw .handle }
        return index
    }

    /// Whether what authorized the command may read the index: TPM_RC_NV_LOCKED, NV_AUTHORIZATION, NV_UNINITIALIZED.
    /// The index's own authorization was checked against its attributes when it was used.
    func nvReadChecks(authHandle: TPMHandle, index: NVIndex) throws(TPMRC) {
        let attributes = index.publicArea.attributes
        guard !attributes.contains(.readLocked) else { throw .nvLocked }
        switch authHandle {
        case .owner: guard attributes.contains(.ownerRead) else { throw .nvAuthorization }
        case .platform: guard attributes.contains(.ppRead) else { throw .nvAuthorization }
        default: guard authHandle == index.publicArea.index else { throw .nvAuthorization }
        }
        guard attributes.contains(.written) else { throw .nvUninitialized }
    }

    /// Whether what authorized the command may write the index: TPM_RC_NV_LOCKED, NV_AUTHORIZATION.
    func nvWriteChecks(authHandle: TPMHandle, index: NVIndex) throws(TPMRC) {
        let attributes = index.publicArea.attributes
        guard !attributes.contains(.writeLocked) else { throw .nvLocked }
        switch authHandle {
        case .owner: guard attributes.contains(.ownerWrite) else { throw .nvAuthorization }
        case .platform: guard attributes.contains(.ppWrite) else { throw .nvAuthorization }
        default: guard authHandle == index.publicArea.index else { throw .nvAuthorization }
        }
    }

    /// TPM2_NV_DefineSpace (31.3)
    func nvDefineSpace(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let auth = withoutTrailingZeros(try call.parameters.bytes(max: HashAlgorithm.largestDigest))
        let publicInfo = try call.parameters.next(Sized<NVPublic>.self).value
        try call.parameters.finish()
        let authHandle = call.handles[0]

        do throws(TPMRC) { try publicInfo.checkSizes() } catch { throw error.parameter(2) }
        guard auth.count <= publicInfo.nameAlgorithm.digestSize else { throw TPMRC.size.parameter(1) }
        guard authHandle != .platform || volatile.hierarchies.phEnableNV else { throw TPMRC.hierarchy.handle(1) }
        do throws(TPMRC) { try publicInfo.checkAttributes() } catch { throw error.parameter(2) }
        // Who defines an index must be able to undefine it.
        guard publicInfo.attributes.contains(.platformCreate) == (authHandle == .platform) else { throw TPMRC.attributes.handle(1) }
        guard nv(publicInfo.index) == nil else { throw .nvDefined }
        let index = NVIndex(publicArea: publicInfo, authValue: Secret(auth))
        guard hasRoom(.nvIndices), hasRoom(.nvBytes, for: index.space) else { throw .nvSpace }

        durable.nv[publicInfo.index] = index
        durable.save(.nv(publicInfo.index))
        return .empty
    }

    /// Bytes of `limits.nvBytes` that are taken.
    var nvBytesUsed: Int { durable.nv.values.reduce(0) { $0 + $1.space } }

    /// TPM2_NV_UndefineSpace (31.4)
    func nvUndefineSpace(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let attributes = try nvIndex(call.handles[1]).publicArea.attributes
        guard !attributes.contains(.policyDelete) else { throw TPMRC.attributes.handle(2) }
        guard call.handles[0] == .platform || !attributes.contains(.platformCreate) else { throw .nvAuthorization }

        deleteIndex(call.handles[1])
        return .empty
    }

    /// TPM2_NV_UndefineSpaceSpecial (31.5)
    func nvUndefineSpaceSpecial(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let attributes = try nvIndex(call.handles[0]).publicArea.attributes
        guard attributes.contains(.policyDelete) else { throw TPMRC.attributes.handle(1) }

        deleteIndex(call.handles[0])
        return .empty
    }

    /// What a counter had counted is remembered, so that no later one counts it again.
    func deleteIndex(_ handle: TPMHandle) {
        if let index = durable.nv[handle], index.type == .counter, index.integer > durable.deletedCount {
            durable.deletedCount = index.integer
            durable.save(.deletedCount)
        }
        durable.nv[handle] = nil
        durable.save(.nv(handle))
    }

    /// TPM2_NV_ReadPublic (31.6)
    func nvReadPublic(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let nvPublic = try nvIndex(call.handles[0]).publicArea
        return Reply {
            $0.sized16(nvPublic)
            $0.sized16(nvPublic.name)
        }
    }

    /// TPM2_NV_Write (31.7)
    func nvWrite(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let data = try call.parameters.bytes(max: Limits.nvBuffer)
        let offset = Int(try call.parameters.next(UInt16.self))
        try call.parameters.finish()

        let index = try nvIndex(call.handles[1])
        try nvWriteChecks(authHandle: call.handles[0], index: index)
        let attributes = index.publicArea.attributes
        guard index.type == .ordinary || index.isPIN else { throw .attributes }
        guard offset <= index.data.count else { throw TPMRC.value.parameter(2) }
        guard data.count <= index.data.count - offset else { throw .nvRange }
        guard !attributes.contains(.writeAll) || data.count == index.data.count else { throw .nvRange }

        if index.publicArea.index == DeepQuoteIndex.request, host != nil {
            try requestDeepQuote(data, offset: offset)
            return .empty
        }
        var contents = index.isWritten ? index.data : NVIndex.unwritten(index.publicArea)
        contents.replaceSubrange(offset..<offset + data.count, with: data)
        store(index, contents)
        return .empty
    }

    /// What is there already is not stored again.
    private func store(_ index: NVIndex, _ data: [UInt8]) {
        var changed = index
        changed.data = data
        changed.publicArea.attributes.insert(.written)
        let handle = index.publicArea.index
        guard durable.nv[handle] != changed else { return }
        durable.nv[handle] = changed
        durable.save(.nv(handle))
    }

    /// The index that a command other than NV_Write changes.
    private func writableIndex(_ call: CommandCall, _ type: NVAttributes.IndexType) throws(TPMRC) -> NVIndex {
        let index = try nvIndex(call.handles[1])
        try nvWriteChecks(authHandle: call.handles[0], index: index)
        guard index.type == type else { throw TPMRC.attributes.handle(2) }
        return index
    }

    /// TPM2_NV_Increment (31.8)
    func nvIncrement(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        let index = try writableIndex(call, .counter)

        let count = index.isWritten ? index.integer : durable.deletedCount
        store(index, (count &+ 1).wire)
        return .empty
    }

    /// TPM2_NV_Extend (31.9)
    func nvExtend(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let data = try call.parameters.bytes(max: Limits.nvBuffer)
        try call.parameters.finish()
        let index = try writableIndex(call, .extend)

        let hash = index.publicArea.nameAlgorithm
        let before = index.isWritten ? index.data : [UInt8](repeating: 0, count: hash.digestSize)
        store(index, digest(hash, before, data))
        return .empty
    }

    /// TPM2_NV_SetBits (31.10)
    func nvSetBits(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let bits = try call.parameters.next(UInt64.self)
        try call.parameters.finish()
        let index = try writableIndex(call, .bits)

        store(index, (index.integer | bits).wire)
        return .empty
    }

    /// TPM2_NV_WriteLock (31.11): until the next Startup, or for ever. A locked index stays locked.
    func nvWriteLock(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        let index = try nvIndex(call.handles[1])
        do throws(TPMRC) { try nvWriteChecks(authHandle: call.handles[0], index: index) } catch {
            guard error == .nvLocked else { throw error }
            return .empty
        }
        guard !index.publicArea.attributes.isDisjoint(with: [.writeDefine, .writeStClear]) else { throw TPMRC.attributes.handle(2) }

        lock(index, .writeLocked)
        return .empty
    }

    /// TPM2_NV_GlobalWriteLock (31.12): every index that was defined for it.
    func nvGlobalWriteLock(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        for index in durable.nv.values where index.publicArea.attributes.contains(.globalLock) { lock(index, .writeLocked) }
        return .empty
    }

    private func lock(_ index: NVIndex, _ attribute: NVAttributes) {
        guard !index.publicArea.attributes.contains(attribute) else { return }
        let handle = index.publicArea.index
        durable.nv[handle]?.publicArea.attributes.insert(attribute)
        durable.save(.nv(handle))
    }

    /// TPM2_NV_Read (31.13)
    func nvRead(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let size = Int(try call.parameters.next(UInt16.self))
        let offset = Int(try call.parameters.next(UInt16.self))
        try call.parameters.finish()

        let index = try nvIndex(call.handles[1])
        try nvReadChecks(authHandle: call.handles[0], index: index)
        guard size <= Limits.nvBuffer else { throw TPMRC.value.parameter(1) }
        guard offset <= index.data.count else { throw TPMRC.value.parameter(2) }
        guard size <= index.data.count - offset else { throw .nvRange }
        return Reply { $0.sized16(Array(index.data[offset..<offset + size])) }
    }

    /// TPM2_NV_ReadLock (31.14): until the next Startup. An index that is not written can be locked too.
    func nvReadLock(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()
        let index = try nvIndex(call.handles[1])
        do throws(TPMRC) { try nvReadChecks(authHandle: call.handles[0], index: index) } catch {
            if error == .nvLocked { return .empty }
            guard error == .nvUninitialized else { throw error }
        }
        guard index.publicArea.attributes.contains(.readStClear) else { throw TPMRC.attributes.handle(2) }

        lock(index, .readLocked)
        return .empty
    }

    /// TPM2_NV_ChangeAuth (31.15)
    func nvChangeAuth(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let newAuth = withoutTrailingZeros(try call.parameters.bytes(max: HashAlgorithm.largestDigest))
        try call.parameters.finish()
        let index = try nvIndex(call.handles[0])
        guard newAuth.count <= index.publicArea.nameAlgorithm.digestSize else { throw TPMRC.size.parameter(1) }

        durable.nv[call.handles[0]]?.authValue = Secret(newAuth)
        durable.save(.nv(call.handles[0]))
        return .empty
    }
}

extension NVIndex {
    /// What the index takes of the guest's NV memory, in bytes.
    var space: Int { data.count + publicArea.wire.count + authValue.count }
}

extension NVPublic {
    /// Sizes that fit nameAlg and the type (Part 3, 31.3): TPM_RC_SIZE; TPM_RC_ATTRIBUTES for a reserved type.
    fileprivate func checkSizes() throws(TPMRC) {
        guard authPolicy.isEmpty || authPolicy.count == nameAlgorithm.digestSize else { throw .size }
        switch attributes.indexType {
        case .ordinary: break
        case .extend: guard Int(dataSize) == nameAlgorithm.digestSize else { throw .size }
        case .counter, .bits, .pinFail, .pinPass: guard dataSize == 8 else { throw .size }
        case nil: throw .attributes
        }
        // A write that must be of all the data has to fit in one command.
        guard !attributes.contains(.writeAll) || Int(dataSize) <= Limits.nvBuffer else { throw .size }
    }

    /// Attributes that may stand together (Part 3, 31.3): TPM_RC_ATTRIBUTES.
    fileprivate func checkAttributes() throws(TPMRC) {
        let readers: NVAttributes = [.ownerRead, .ppRead, .authRead, .policyRead]
        let writers: NVAttributes = [.ownerWrite, .ppWrite, .authWrite, .policyWrite]
        guard attributes.isDisjoint(with: [.written, .writeLocked, .readLocked]),
            !attributes.isDisjoint(with: readers), !attributes.isDisjoint(with: writers),
            !attributes.contains([.clearStClear, .writeDefine]),
            !attributes.contains(.policyDelete) || attributes.contains(.platformCreate)
        else { throw .attributes }
        switch attributes.indexType {
        case .counter: guard !attributes.contains(.clearStClear) else { throw .attributes }
        case .pinFail: guard attributes.contains(.noDA), isPINWritable else { throw .attributes }
        case .pinPass: guard isPINWritable else { throw .attributes }
        default: break
        }
    }

    /// The authValue of a PIN index is of no use before it is written, and what it protects must stay writable.
    private var isPINWritable: Bool { attributes.isDisjoint(with: [.authWrite, .globalLock, .writeDefine]) }
}
