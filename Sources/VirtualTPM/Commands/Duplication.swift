// Part 3, 13: duplication commands. The chip gives and takes private parts under wrappers of the device owner's; the guest's
// own wrappers, which are bound to virtual Names, are put on and taken off here.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2B_DATA, in bytes (Part 2, 10.4.3)
    private static let innerKeyMax = 2 + HashAlgorithm.largestDigest

    /// TPM2_Duplicate (13.1)
    func duplicate(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let encryptionKeyIn = try call.parameters.bytes(max: Self.innerKeyMax)
        let symmetric = try call.parameters.symmetric(object: true, of: device.chip)
        try call.parameters.finish()

        let object = try object(call.handles[0])
        guard !object.attributes.contains(.fixedParent) else { throw TPMRC.attributes.handle(1) }
        guard let hash = object.publicArea.nameAlgorithm else { throw TPMRC.type.handle(1) }
        let newParent = try storageKey(call.handles[1], number: 2)
        if object.attributes.contains(.encryptedDuplication) {
            guard symmetric != .null else { throw TPMRC.symmetric.parameter(2) }
            guard newParent != nil else { throw TPMRC.hierarchy.handle(2) }
        }
        guard encryptionKeyIn.isEmpty || encryptionKeyIn.count == symmetric.keySize else { throw TPMRC.size.parameter(1) }

        let encryptionKey = encryptionKeyIn.isEmpty ? try drawRandom(symmetric.keySize) : encryptionKeyIn
        var plain = Sized(try object.sensitiveArea(keys)).wire
        defer { wipe(&plain) }
        let inner = InnerWrapper(key: encryptionKey, hash: hash, name: object.name)?.seal(plain) ?? plain
        let (outDuplicate, outSymSeed) = try wrapped(inner, for: newParent, name: object.name)
        return Reply {
            $0.sized16(encryptionKeyIn.isEmpty ? encryptionKey : [])
            $0.sized16(outDuplicate)
            $0.sized16(outSymSeed)
        }
    }

    /// TPM2_Rewrap (13.2)
    func rewrap(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let inDuplicate = try call.parameters.bytes(max: Limits.privateMax)
        let name = try call.parameters.bytes(max: Limits.nameMax)
        let inSymSeed = try call.parameters.bytes(max: PublicArea.rsaMax)
        try call.parameters.finish()

        let (oldHandle, newHandle) = (call.handles[0], call.handles[1])
        guard inSymSeed.isEmpty == (oldHandle == .null) else { throw TPMRC.handle.handle(1) }
        var content = inDuplicate
        defer { wipe(&content) }
        if let oldParent = try storageKey(oldHandle, number: 1) {
            let seed: [UInt8]
            do throws(TPMRC) { seed = try oldParent.recoverSeed(inSymSeed, for: .duplicate) } catch {
                throw error.isAboutAvailability ? error : TPMRC.value.parameter(3)
            }
            do throws(TPMRC) { content = try opened(inDuplicate, seed, oldParent, name) } catch { throw error.parameter(1) }
        }
        let newParent = try storageKey(newHandle, number: 2)
        let (outDuplicate, outSymSeed) = try wrapped(content, for: newParent, name: name)
        guard outDuplicate.count <= Limits.privateMax else { throw TPMRC.value.parameter(1) }
        return Reply {
            $0.sized16(outDuplicate)
            $0.sized16(outSymSeed)
        }
    }

    /// TPM2_Import (13.3). Other than in the reference code the key is checked under every kind of parent, since the chip, whose
    /// guest root is fixed to it, takes no other.
    func importObject(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let encryptionKey = try call.parameters.bytes(max: Self.innerKeyMax)
        let publicArea = try call.parameters.namedPublicArea()
        do throws(TPMRC) { try publicArea.checkOffered(by: device.chip) } catch { throw error.parameter(2) }
        let duplicate = try call.parameters.bytes(max: Limits.privateMax)
        let inSymSeed = try call.parameters.bytes(max: PublicArea.rsaMax)
        let symmetric = try call.parameters.symmetric(object: true, of: device.chip)
        try call.parameters.finish()

        guard publicArea.attributes.isDisjoint(with: [.fixedTPM, .fixedParent]) else { throw TPMRC.attributes.parameter(2) }
        let parent = try object(call.handles[0])
        guard parent.isParent else { throw TPMRC.type.handle(1) }
        guard encryptionKey.count == symmetric.keySize else { throw TPMRC.size.parameter(1) }
        let needsWrappers = publicArea.attributes.contains(.encryptedDuplication)
        guard !needsWrappers || symmetric != .null else { throw TPMRC.attributes.parameter(1) }
        guard !needsWrappers || !inSymSeed.isEmpty else { throw TPMRC.attributes.parameter(4) }
        let seed = try importSeed(inSymSeed, parent)
        guard let hash = publicArea.nameAlgorithm else { throw TPMRC.hash.parameter(2) }

        let name = publicArea.name
        let sensitive: SensitiveArea
        do throws(TPMRC) {
            let inner = try seed.map { (seed) throws(TPMRC) in try opened(duplicate, seed, parent, name) } ?? duplicate
            var plain = try InnerWrapper(key: encryptionKey, hash: hash, name: name)?.open(inner) ?? inner
            defer { wipe(&plain) }
            sensitive = try SensitiveArea(unwrapped: plain)
        } catch { throw error.parameter(3) }
        let key = try importedKey(publicArea, sensitive)
        let outPrivate = sealedPrivate(key, under: parent, authValue: withoutTrailingZeros(sensitive.authValue))
        return Reply { $0.sized16(outPrivate) }
    }

    /// The outer wrapper's seed; nil where there is none.
    private func importSeed(_ inSymSeed: [UInt8], _ parent: LoadedObject) throws(TPMRC) -> [UInt8]? {
        guard !inSymSeed.isEmpty else { return nil }
        // A symmetric parent shares no secrets.
        guard parent.publicArea.isAsymmetric else { throw TPMRC.type.handle(1) }
        do throws(TPMRC) { return try parent.recoverSeed(inSymSeed, for: .duplicate) } catch { throw error.parameter(4) }
    }

    private func importedKey(_ publicArea: PublicArea, _ sensitive: SensitiveArea) throws(TPMRC) -> NewKey {
        guard sensitive.seedValue.count <= publicArea.seedSize else { throw TPMRC.keySize.parameter(3) }
        do throws(TPMRC) { try publicArea.checkAttributes(parent: nil) } catch { throw error.parameter(2) }
        return try importKey(publicArea, try publicArea.checkedSecret(sensitive, parameter: 3))
    }

    /// An asymmetric storage key, or nobody; TPM_RC_TYPE for any other object.
    private func storageKey(_ handle: TPMHandle, number: Int) throws(TPMRC) -> LoadedObject? {
        guard handle != .null else { return nil }
        let key = try object(handle, number: number)
        guard key.isStorageKey else { throw TPMRC.type.handle(number) }
        return key
    }

    /// With an outer wrapper for its new parent; as it is where there is none.
    private func wrapped(
        _ content: [UInt8], for newParent: LoadedObject?, name: [UInt8]
    ) throws(TPMRC) -> (blob: [UInt8], secret: [UInt8]) {
        guard let newParent else { return (content, []) }
        let (seed, secret) = try newParent.publicArea.shareSeed(for: .duplicate)
        guard let wrapper = OuterWrapper(protector: newParent.publicArea, seed: seed, name: name) else { throw .key }
        return (wrapper.seal(content), secret)
    }

    private func opened(
        _ blob: [UInt8], _ seed: [UInt8], _ parent: LoadedObject, _ name: [UInt8]
    ) throws(TPMRC) -> [UInt8] {
        guard let wrapper = OuterWrapper(protector: parent.publicArea, seed: seed, name: name) else { throw .key }
        return try wrapper.open(blob)
    }
}

extension SymmetricDefinition {
    /// Bytes of an inner wrapper's key; 0: no inner wrapper.
    fileprivate var keySize: Int {
        if case .aes(let bits, _) = self { Int(bits) / 8 } else { 0 }
    }
}

extension TPMRC {
    /// The chip cannot be asked now, which says nothing about the question.
    fileprivate var isAboutAvailability: Bool { self == .retry || self == .failure }
}
