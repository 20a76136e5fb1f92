// Part 3, 12.9: CreateLoaded, three commands in one: a primary, an ordinary object or a derived one, by what the parent is.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2B_TEMPLATE, in bytes: no TPMT_PUBLIC is longer
    private static let templateMax = 2 * PublicArea.rsaMax

    /// TPM2_CreateLoaded (12.9)
    func createLoaded(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        var sensitive = try call.parameters.next(Sized<SensitiveCreate>.self).value
        let template = try call.parameters.bytes(max: Self.templateMax)
        try call.parameters.finish()
        sensitive.userAuth = withoutTrailingZeros(sensitive.userAuth)

        let parentHandle = call.handles[0]
        let parent = parentHandle.isObject ? try object(parentHandle) : nil
        if let parent {
            guard parent.isParent || parent.isDerivationParent else { throw TPMRC.type.handle(1) }
        }
        try volatile.transient.requireRoom()
        let object: LoadedObject
        var outPrivate: [UInt8] = []
        if let parent, parent.isDerivationParent {
            object = try derivedObject(sensitive, template, parent)
        } else if let parent {
            (object, outPrivate) = try ordinaryObject(sensitive, template, parent)
        } else {
            object = try primaryObject(sensitive, template, parentHandle)
        }
        let handle = try volatile.transient.insert(.object(object))
        return Reply(handle: handle) {
            $0.sized16(outPrivate)
            $0.sized16(object.publicArea)
            $0.sized16(object.name)
        }
    }

    private func primaryObject(
        _ sensitive: SensitiveCreate, _ bytes: [UInt8], _ hierarchy: TPMHandle
    ) throws(TPMRC) -> LoadedObject {
        let template = try creationTemplate(sensitive, bytes, parent: nil)
        let (publicArea, backing) = try primaryBacking(hierarchy, template, data: sensitive.data)
        return LoadedObject(publicArea, in: hierarchy, authValue: sensitive.userAuth, backing: backing)
    }

    private func ordinaryObject(
        _ sensitive: SensitiveCreate, _ bytes: [UInt8], _ parent: LoadedObject
    ) throws(TPMRC) -> (LoadedObject, outPrivate: [UInt8]) {
        let template = try creationTemplate(sensitive, bytes, parent: parent.publicArea)
        let key = try makeKey(template, data: sensitive.data)
        return (child(key, under: parent, sensitive), sealedPrivate(key, under: parent, authValue: sensitive.userAuth))
    }

    /// A derived key becomes a twin, as an imported one does.
    private func derivedObject(
        _ sensitive: SensitiveCreate, _ bytes: [UInt8], _ parent: LoadedObject
    ) throws(TPMRC) -> LoadedObject {
        var (template, input) = try decodedTemplate(bytes) { (reader) throws(WireError) in
            (try PublicArea(withoutUnique: &reader), try reader.value(DerivationInput.self))
        } area: { $0.0 }
        try checkAuthSize(sensitive, template)
        guard template.type != .rsa else { throw TPMRC.type.parameter(2) }
        guard !template.attributes.contains(.sensitiveDataOrigin) else { throw .attributes }
        do throws(TPMRC) { try template.checkAttributes(parent: parent.publicArea) } catch { throw error.parameter(2) }
        do throws(WireError) { try input.fill(from: sensitive.data) } catch { throw TPMRC(error) }
        let derived = try parent.derive(template, input)
        return child(try importKey(derived.publicArea, derived.secret), under: parent, sensitive)
    }

    private func child(_ key: NewKey, under parent: LoadedObject, _ sensitive: SensitiveCreate) -> LoadedObject {
        LoadedObject(
            key.publicArea, under: parent, authValue: sensitive.userAuth, backing: .twin(TwinReference(key.twin, keeper)))
    }

    private func creationTemplate(
        _ sensitive: SensitiveCreate, _ bytes: [UInt8], parent: PublicArea?
    ) throws(TPMRC) -> PublicArea {
        let template = try decodedTemplate(bytes) { (reader) throws(WireError) in try PublicArea(from: &reader) } area: { $0 }
        try checkAuthSize(sensitive, template)
        do throws(TPMRC) {
            try template.checkCreation(parent: parent, dataSize: sensitive.data.count)
        } catch { throw error.parameter(2) }
        return template
    }

    /// The second parameter, which the parent's type says how to read.
    private func decodedTemplate<T>(
        _ bytes: [UInt8], _ read: (inout WireReader) throws(WireError) -> T, area: (T) -> PublicArea
    ) throws(TPMRC) -> T {
        do throws(TPMRC) {
            var reader = WireReader(bytes, rules.vocabulary)
            let template: T
            do throws(WireError) {
                try reader.expectNameAlgorithm()
                template = try read(&reader)
                try reader.finish()
            } catch {
                note(met: reader.met)
                throw TPMRC(error)
            }
            try area(template).checkOffered(by: device.chip)
            return template
        } catch { throw error.parameter(2) }
    }

    private func checkAuthSize(_ sensitive: SensitiveCreate, _ template: PublicArea) throws(TPMRC) {
        guard sensitive.userAuth.count <= template.nameAlgorithm?.digestSize ?? 0 else { throw TPMRC.size.parameter(1) }
    }
}
