// The TPM commands that the device owner gives, typed (Part 3). Responses are decoded whole.
import ChipClient
import TPMCrypto
import TPMWire
import Wire

extension ResponseMessage {
    /// The parameters, every byte of them; anything else is garbage.
    func decode<T>(_ body: (inout WireReader) throws(WireError) -> T) throws(ChipError) -> T {
        var reader = WireReader(parameters)
        do throws(WireError) {
            let value = try body(&reader)
            try reader.finish()
            return value
        } catch { throw .garbage }
    }
}

/// TPM2_GetCapability (Part 3, 30.2)
enum GetCapability {
    /// TPM_CAP
    enum Kind: UInt32 {
        case algorithms = 0, handles = 1, properties = 6, curves = 8
    }
    /// TPM_PT_MANUFACTURER, TPM_PT_FIRMWARE_VERSION_1
    static let manufacturer: UInt32 = 0x105
    static let firmware: UInt32 = 0x10B
    static let listMax = 512

    static func command(_ kind: Kind, from property: UInt32, count: UInt32) -> CommandMessage {
        CommandMessage(.getCapability, parameters: kind.rawValue.wire + property.wire + count.wire)
    }
}

/// TPMS_ALG_PROPERTY (Part 2, 10.8.1), TPMS_TAGGED_PROPERTY (10.8.2)
private struct TaggedValue<Tag: WireCodable>: WireCodable {
    let tag: Tag
    let value: UInt32
    init(from reader: inout WireReader) throws(WireError) {
        tag = try reader.value()
        value = try reader.u32()
    }
    func encode(to writer: inout WireWriter) {
        writer.value(tag)
        writer.u32(value)
    }
}

extension Chip {
    private func capability<T: WireCodable>(
        _ kind: GetCapability.Kind, from property: UInt32, count: UInt32, of _: T.Type
    ) throws(ChipError) -> [T] {
        let parameters = GetCapability.command(kind, from: property, count: count).parameters
        return try run(ChipCommand(code: .getCapability, parameters: parameters)).decode { (reader) throws(WireError) in
            _ = try reader.flag()  // moreData
            guard try reader.u32() == kind.rawValue else { throw .invalid(0) }
            return try reader.list(max: GetCapability.listMax)
        }
    }

    func algorithms() throws(ChipError) -> [TPMAlgorithm] {
        try capability(.algorithms, from: 0, count: 254, of: TaggedValue<TPMAlgorithm>.self).map(\.tag)
    }

    /// The numbers of the curves, known to us or not.
    func curves() throws(ChipError) -> [UInt16] { try capability(.curves, from: 0, count: 64, of: UInt16.self) }

    /// The values of properties that stand side by side; the first that is missing ends the list.
    func properties(from first: UInt32, count: Int) throws(ChipError) -> [UInt32] {
        let found = try capability(.properties, from: first, count: UInt32(count), of: TaggedValue<UInt32>.self)
        return zip(first..., found).prefix { $0 == $1.tag }.map(\.1.value)
    }

    /// The handles in use, of the first one's type.
    func handles(from first: TPMHandle) throws(ChipError) -> [TPMHandle] {
        try capability(.handles, from: first.rawValue, count: 254, of: TPMHandle.self)
    }

    /// TPM2_TestParms (Part 3, 30.3)
    func supports(_ parameters: PublicArea.Parameters) throws(ChipError) -> Bool {
        var writer = WireWriter()
        writer.value(parameters.type)
        parameters.encode(to: &writer)
        do throws(ChipError) {
            _ = try run(ChipCommand(code: .testParms, parameters: writer.bytes))
            return true
        } catch {
            guard case .rc = error else { throw error }
            return false
        }
    }

    // MARK: Objects

    /// TPM2_ReadPublic (Part 3, 12.4); nil if there is no such object.
    func readPublic(_ handle: TPMHandle) throws(ChipError) -> PublicArea? {
        let command = ChipCommand(code: .readPublic, entities: [Entity(handle, name: [])])
        let response: ResponseMessage
        do throws(ChipError) { response = try run(command) } catch {
            guard case .rc(let code) = error, code.isAboutLostHandles else { throw error }
            return nil
        }
        let (area, name) = try response.decode { (reader) throws(WireError) in
            let area = try reader.value(Sized<PublicArea>.self).value
            let name = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
            _ = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
            return (area, name)
        }
        guard area.name == name else { throw .garbage }
        return area
    }

    /// TPM2_CreatePrimary (Part 3, 24.1)
    /// - Parameter auth: the hierarchy's.
    func createPrimary(
        _ template: PublicArea, in hierarchy: TPMHandle, auth: Secret
    ) throws(ChipError) -> (TPMHandle, PublicArea) {
        let command = ChipCommand(
            code: .createPrimary, entities: [Entity(permanent: hierarchy)], authorization: .hierarchy(auth),
            parameters: creationParameters(SensitiveCreate(), template))
        let response = try run(command)
        let (area, name) = try response.decode { (reader) throws(WireError) in
            let area = try reader.value(Sized<PublicArea>.self).value
            try skipCreation(&reader)
            return (area, try reader.sized16(max: 2 + HashAlgorithm.largestDigest))
        }
        guard let handle = response.handle, handle.kind == .transient, area.name == name else { throw .garbage }
        return (handle, area)
    }

    /// TPM2_EvictControl (Part 3, 28.5)
    func makePersistent(_ object: Entity, at handle: TPMHandle, ownerAuth: Secret) throws(ChipError) {
        let command = ChipCommand(
            code: .evictControl, entities: [Entity(permanent: .owner), object], authorization: .hierarchy(ownerAuth),
            parameters: handle.wire)
        try run(command).decode { (_) throws(WireError) in }
    }

    /// TPM2_Create (Part 3, 12.1). Sensitive data goes encrypted; without any the session shows that the chip made the key.
    func create(
        _ template: PublicArea, data: [UInt8], under parent: Entity
    ) throws(ChipError) -> (area: PublicArea, wrapped: [UInt8]) {
        var command = ChipCommand(
            code: .create, entities: [parent], authorization: .salted(data.isEmpty ? [] : .decrypt),
            parameters: creationParameters(SensitiveCreate(data: data), template))
        defer { wipe(&command.parameters) }
        let (area, wrapped) = try run(command).decode { (reader) throws(WireError) in
            let wrapped = try reader.sized16()
            let area = try reader.value(Sized<PublicArea>.self).value
            try skipCreation(&reader)
            return (area, wrapped)
        }
        guard template.isTemplate(of: area) else { throw .garbage }
        return (area, wrapped)
    }

    /// TPM2_Load (Part 3, 12.2)
    func load(
        _ area: PublicArea, _ wrapped: [UInt8], under parent: Entity, authorization: ChipCommand.Authorization = .password
    ) throws(ChipError) -> TPMHandle {
        var writer = WireWriter()
        writer.sized16(wrapped)
        writer.sized16(area)
        let response = try run(ChipCommand(
            code: .load, entities: [parent], authorization: authorization, parameters: writer.bytes))
        let name = try response.decode { (reader) throws(WireError) in try reader.sized16() }
        guard let handle = response.handle, handle.kind == .transient, name == area.name else { throw .garbage }
        return handle
    }

    /// TPM2_FlushContext (Part 3, 28.4)
    func flush(_ handle: TPMHandle) throws(ChipError) {
        try run(ChipCommand(code: .flushContext, parameters: handle.wire)).decode { (_) throws(WireError) in }
    }

    /// TPM2_ContextSave (Part 3, 28.2): TPMS_CONTEXT as the chip gives it.
    func saveContext(_ handle: TPMHandle) throws(ChipError) -> [UInt8] {
        try run(ChipCommand(code: .contextSave, entities: [Entity(handle, name: [])])).parameters
    }

    /// TPM2_ContextLoad (Part 3, 28.3)
    func loadContext(_ context: [UInt8]) throws(ChipError) -> TPMHandle {
        let response = try run(ChipCommand(code: .contextLoad, parameters: context))
        guard let handle = response.handle, handle.kind == .transient else { throw .garbage }
        return handle
    }

    // MARK: Use

    /// TPM2_Sign (Part 3, 20.2) with the NULL ticket.
    func sign(_ digest: [UInt8], _ scheme: Scheme, with key: Entity) throws(ChipError) -> Signature {
        var writer = WireWriter()
        writer.sized16(digest)
        scheme.encode(to: &writer)
        writer.value(Ticket.null(StructureTag.hashCheck))
        return try run(ChipCommand(code: .sign, entities: [key], authorization: .password, parameters: writer.bytes))
            .decode { (reader) throws(WireError) in try reader.value() }
    }

    /// TPM2_RSA_Decrypt (Part 3, 14.3)
    func decryptRSA(
        _ cipherText: [UInt8], _ scheme: Scheme, label: [UInt8], with key: Entity
    ) throws(ChipError) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16(cipherText)
        scheme.encode(to: &writer)
        writer.sized16(label)
        return try secretBytes(ChipCommand(
            code: .rsaDecrypt, entities: [key], authorization: .salted(.encrypt), parameters: writer.bytes))
    }

    /// TPM2_ECDH_ZGen (Part 3, 14.5)
    func agree(_ point: ECCPoint, with key: Entity) throws(ChipError) -> ECCPoint {
        var writer = WireWriter()
        writer.sized16(point)
        let command = ChipCommand(
            code: .ecdhZGen, entities: [key], authorization: .salted(.encrypt), parameters: writer.bytes)
        return try run(command).decode { (reader) throws(WireError) in try reader.value(Sized<ECCPoint>.self).value }
    }

    /// TPM2_Unseal (Part 3, 12.7)
    func unseal(_ object: Entity) throws(ChipError) -> [UInt8] {
        try secretBytes(ChipCommand(code: .unseal, entities: [object], authorization: .salted(.encrypt)))
    }

    /// TPM2_HMAC (Part 3, 15.5). What is authenticated may be as secret as the result.
    func hmac(_ hash: HashAlgorithm, _ data: [UInt8], with key: Entity) throws(ChipError) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16(data)
        writer.value(hash)
        return try secretBytes(ChipCommand(
            code: .hmac, entities: [key], authorization: .salted([.decrypt, .encrypt]), parameters: writer.bytes))
    }

    /// TPM2_GetRandom (Part 3, 16.1), repeated until there are enough: a chip gives at most a digest's size at once.
    func random(_ count: Int) throws(ChipError) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let wanted = UInt16(min(count - bytes.count, HashAlgorithm.largestDigest))
            let more = try secretBytes(ChipCommand(
                code: .getRandom, authorization: .salted(.encrypt), parameters: wanted.wire))
            guard (1...Int(wanted)).contains(more.count) else { throw .garbage }
            bytes += more
        }
        return bytes
    }

    /// A response that is one TPM2B.
    private func secretBytes(_ command: ChipCommand) throws(ChipError) -> [UInt8] {
        var response = try run(command)
        defer { wipe(&response.parameters) }
        return try response.decode { (reader) throws(WireError) in try reader.sized16() }
    }
}

extension ChipCommand.Authorization {
    /// A hierarchy's auth never goes in the clear.
    static func hierarchy(_ auth: Secret) -> Self { auth.isEmpty ? .password : .proof(auth) }
}

/// inSensitive, inPublic, outsideInfo, creationPCR
func creationParameters(_ sensitive: SensitiveCreate, _ template: PublicArea) -> [UInt8] {
    var writer = WireWriter(capacity: 512)
    writer.sized16(sensitive)
    writer.sized16(template)
    writer.sized16([UInt8]())
    writer.list([PCRSelection]())
    return writer.bytes
}

/// creationData, creationHash, creationTicket: nobody asks for them.
private func skipCreation(_ reader: inout WireReader) throws(WireError) {
    _ = try reader.sized16()
    _ = try reader.sized16(max: HashAlgorithm.largestDigest)
    _ = try reader.value(Ticket.self)
}
