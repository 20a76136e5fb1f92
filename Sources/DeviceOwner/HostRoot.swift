// The host root: the storage primary under which all guest roots live (docs/architecture.md, "Keys and the gate").
import ChipClient
import GuestIdentity
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// A host root whose Name stands in our record.
struct HostRoot {
    let handle: TPMHandle
    let area: PublicArea
    private let point: ECCPoint

    /// In the owner's range of persistent handles (Part 2, 7.5), away from where other software puts its keys.
    static let standardHandle = TPMHandle(0x8101_0A50)

    /// nil unless the area is what our template makes.
    init?(_ handle: TPMHandle, _ area: PublicArea) {
        guard RootTemplate.host.isTemplate(of: area), case .ecc(let point) = area.unique else { return nil }
        self.handle = handle
        self.area = area
        self.point = point
    }

    var entity: Entity { Entity(handle, name: area.name) }

    /// Whether the chip has this very key at its place. Asked at every connection: a session salted with another key would
    /// tell our secrets to whoever made that key.
    func verify(in chip: Chip) throws(ChipError) {
        guard try chip.readPublic(handle)?.name == area.name else {
            throw .refused("the key at handle \(handle.hex) is not the host root of this paratpm: is this another chip, or was it cleared?")
        }
    }

    func makeSalt() throws(ChipError) -> (secret: [UInt8], encrypted: [UInt8]) {
        guard let salt = ChipClient.makeSalt(for: point) else { throw .refused("the host root's point is not on its curve") }
        return salt
    }
}

/// What the host's record holds. File: u8 version, u32 handle, sized16 Name.
struct HostRecord: WireCodable, Equatable {
    let handle: TPMHandle
    let name: [UInt8]
    private static let version: UInt8 = 1
    static let largest = 1 + 4 + 2 + 2 + HashAlgorithm.largestDigest

    init(handle: TPMHandle, name: [UInt8]) {
        self.handle = handle
        self.name = name
    }
    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        handle = try reader.value()
        guard handle.kind == .persistent else { throw .invalid(0) }
        name = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
    }
    func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.value(handle)
        writer.sized16(name)
    }
}

/// Finds the host root, or makes it. Never overwrites what it did not make.
struct HostRootKeeper {
    let chip: Chip
    let instance: Instance
    /// Where a new host root goes; nil: where the record says, else the standard place.
    let wantedHandle: TPMHandle?
    let ownerAuth: Secret

    func establish() throws(Failure) -> HostRoot {
        do throws(ChipError) {
            try chip.connect()
            if let root = try find() { return root }
            return try make()
        } catch {
            if case .refused(let why) = error { throw Failure(.config, why) }
            throw Failure(.unavailable, "the chip at \(chip.address): \(error.explanation)")
        }
    }

    private func record() throws(ChipError) -> HostRecord? {
        let path = instance.hostRecord
        do {
            guard let bytes = try Files.read(path, max: HostRecord.largest) else { return nil }
            return try HostRecord(wire: bytes)
        } catch let failure as Failure {
            throw .refused(failure.message)
        } catch {
            throw .refused("\(path) is damaged; it was left alone")
        }
    }

    private func handle(_ record: HostRecord?) throws(ChipError) -> TPMHandle {
        let handle = wantedHandle ?? record?.handle ?? HostRoot.standardHandle
        if let record, record.handle != handle {
            throw .refused("\(instance.hostRecord) says that the host root is at \(record.handle.hex), not \(handle.hex)")
        }
        return handle
    }

    /// The recorded key, if it is where it should be.
    private func find() throws(ChipError) -> HostRoot? {
        guard let record = try record(), let area = try chip.readPublic(try handle(record)) else { return nil }
        guard area.name == record.name, let root = HostRoot(record.handle, area) else {
            throw .refused("handle \(record.handle.hex) holds another key than \(instance.hostRecord) says: is this another chip?")
        }
        return root
    }

    /// CreatePrimary gives the same key as long as the hierarchy's seed is the same, so it can be made again, and a key that
    /// lies at the handle already can be told from a foreign one.
    private func make() throws(ChipError) -> HostRoot {
        let record = try record()
        let handle = try handle(record)
        let present = try chip.readPublic(handle)?.name
        let (transient, area) = try chip.createPrimary(RootTemplate.host, in: .owner, auth: ownerAuth)
        defer { try? chip.flush(transient) }
        guard let root = HostRoot(handle, area) else { throw .garbage }
        if let record, record.name != area.name {
            throw .refused("the chip cannot make the host root of \(instance.hostRecord) again: it was cleared, or is another chip")
        }
        switch present {
        case nil:
            try chip.makePersistent(Entity(transient, name: area.name), at: handle, ownerAuth: ownerAuth)
            log(.notice, .device, "made the host root at handle \(handle.hex)")
        case area.name: break
        default: throw .refused("handle \(handle.hex) holds somebody else's key; choose another with --host-handle")
        }
        try write(HostRecord(handle: handle, name: area.name))
        return root
    }

    private func write(_ record: HostRecord) throws(ChipError) {
        do throws(Failure) {
            try Files.makeDirectory(instance.deviceDirectory, mode: 0o700)
            try Files.write(instance.hostRecord, record.wire, mode: 0o600, replacing: true)
        } catch { throw .refused(error.message) }
    }
}

extension TPMHandle {
    var hex: String { "0x" + String(rawValue, radix: 16) }
}
