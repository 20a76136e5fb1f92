// Each guest's root key and sealed secret: made once, kept as wrapped blobs in a file of the guest's own.
import ChipClient
import CryptoBase
import GuestIdentity
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// An object outside the chip.
struct WrappedObject: WireCodable, Equatable {
    let area: PublicArea
    let wrapped: [UInt8]
    /// Computed once: every use of the object asks for them.
    let name: [UInt8]
    private let digest: [UInt8]

    init(area: PublicArea, wrapped: [UInt8]) {
        self.area = area
        self.wrapped = wrapped
        name = area.name
        digest = CryptoBase.digest(.sha256, area.wire, wrapped)
    }
    init(from reader: inout WireReader) throws(WireError) {
        self.init(area: try reader.value(Sized<PublicArea>.self).value, wrapped: try reader.sized16(max: TwinBlob.privateMax))
    }
    func encode(to writer: inout WireWriter) {
        writer.sized16(area)
        writer.sized16(wrapped)
    }
    func key(_ guest: GuestID) -> ObjectKey { ObjectKey(guest: guest, digest: digest) }
}

/// File: u8 version, the root key's TPM2B_PUBLIC and TPM2B_PRIVATE, the sealed secret's.
/// That both are this guest's, the chip vouches for: the guest's id is a part of their public areas.
struct GuestRecord: WireCodable, Equatable {
    let root: WrappedObject
    let secret: WrappedObject
    private static let version: UInt8 = 1
    static let largest = 8192

    init(root: WrappedObject, secret: WrappedObject) {
        self.root = root
        self.secret = secret
    }
    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        root = try reader.value()
        secret = try reader.value()
    }
    func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.value(root)
        writer.value(secret)
    }

    func belongs(to guest: GuestID) -> Bool {
        RootTemplate.guest(guest).isTemplate(of: root.area) && RootTemplate.secret(guest).isTemplate(of: secret.area)
    }
}

final class GuestRoots {
    /// Bytes of a guest's secret.
    static let secretSize = 32
    /// The new object's, and one for the persistent parent while it is used.
    private static let slotsUnderHostRoot = 2

    private let chip: Chip
    private let cache: ObjectCache
    private let instance: Instance
    private let hostRoot: HostRoot
    let bindings: GuestBindings
    private var records: [GuestID: GuestRecord] = [:]

    init(_ chip: Chip, _ cache: ObjectCache, _ instance: Instance, _ hostRoot: HostRoot) {
        self.chip = chip
        self.cache = cache
        self.instance = instance
        self.hostRoot = hostRoot
        bindings = GuestBindings(chip, cache, instance, hostRoot)
    }

    /// How many guests have used the chip since we started.
    var count: Int { records.count }

    /// Makes the guest's root key and secret, if it has none.
    func ensure(_ guest: GuestID) throws(ChipError) {
        guard try record(guest) == nil else { return }
        let record = try make(guest)
        do throws(Failure) {
            try Files.makeDirectory(instance.guestRecords, mode: 0o700)
            try Files.write(instance.guestRecord(guest), record.wire, mode: 0o600, replacing: false)
        } catch { throw .refused(error.message) }
        records[guest] = record
    }

    func exists(_ guest: GuestID) throws(ChipError) -> Bool { try record(guest) != nil }

    /// The guest's root key, in the chip.
    func root(_ guest: GuestID) throws(ChipError) -> Entity { try loaded(try existing(guest).root, guest) }

    func publicArea(_ guest: GuestID) throws(ChipError) -> PublicArea { try existing(guest).root.area }

    /// A child of the guest's root key, in the chip.
    func child(_ object: WrappedObject, _ guest: GuestID) throws(ChipError) -> Entity {
        let handle = try cache.handle(object.key(guest)) { () throws(ChipError) in
            let parent = try root(guest)
            try cache.reserve(1)
            return try chip.load(object.area, object.wrapped, under: parent)
        }
        return Entity(handle, name: object.name)
    }

    /// Unseals the guest's secret.
    func secret(_ guest: GuestID) throws(ChipError) -> [UInt8] {
        let secret = try chip.unseal(try child(try existing(guest).secret, guest))
        guard secret.count == Self.secretSize else { throw .garbage }
        return secret
    }

    /// Destroys what makes the guest's objects readable.
    func forget(_ guest: GuestID) throws(ChipError) {
        records[guest] = nil
        do throws(Failure) { try Files.remove(instance.guestRecord(guest)) } catch { throw .refused(error.message) }
        try bindings.forget(guest)
        // Where the chip cannot be reached, nobody can use what is still loaded there.
        try? cache.forget(guest)
    }

    private func existing(_ guest: GuestID) throws(ChipError) -> GuestRecord {
        guard let record = try record(guest) else { throw .refused("the guest \(guest.hex) is forgotten") }
        return record
    }

    private func record(_ guest: GuestID) throws(ChipError) -> GuestRecord? {
        if let record = records[guest] { return record }
        let path = instance.guestRecord(guest)
        let bytes: [UInt8]
        do throws(Failure) {
            guard let read = try Files.read(path, max: GuestRecord.largest) else { return nil }
            bytes = read
        } catch { throw .refused(error.message) }
        guard let record = try? GuestRecord(wire: bytes), record.belongs(to: guest) else {
            throw .refused("\(path) is damaged or another guest's; it was left alone, and the guest cannot use the chip")
        }
        records[guest] = record
        return record
    }

    private func make(_ guest: GuestID) throws(ChipError) -> GuestRecord {
        let root = try makeRoot(guest)
        // No single generator is trusted alone.
        var secret = zip(try chip.random(Self.secretSize), randomBytes(Self.secretSize)).map { $0 ^ $1 }
        defer { wipe(&secret) }
        let parent = try loaded(root, guest)
        try cache.reserve(1)
        let sealed = try chip.create(RootTemplate.secret(guest), data: secret, under: parent)
        return GuestRecord(root: root, secret: WrappedObject(area: sealed.area, wrapped: sealed.wrapped))
    }

    private func makeRoot(_ guest: GuestID) throws(ChipError) -> WrappedObject {
        if let binding = try bindings.binding(of: guest) {
            return try bindings.createRoot(RootTemplate.guest(guest), binding, of: guest)
        }
        try cache.reserve(Self.slotsUnderHostRoot)
        return try chip.createKey(RootTemplate.guest(guest), under: hostRoot.entity).object
    }

    private func loaded(_ root: WrappedObject, _ guest: GuestID) throws(ChipError) -> Entity {
        let handle = try cache.handle(root.key(guest)) { () throws(ChipError) in
            if let binding = try bindings.binding(of: guest) { return try bindings.loadRoot(root, binding, of: guest) }
            try cache.reserve(Self.slotsUnderHostRoot)
            return try chip.load(root.area, root.wrapped, under: hostRoot.entity)
        }
        return Entity(handle, name: root.name)
    }
}
