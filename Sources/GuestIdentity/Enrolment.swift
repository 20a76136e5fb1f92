// Guests become known here: a public registration that every service reads, and a private identity that the door holds.
import Glibc
import SystemMap
import CryptoBase
import Wire

extension GuestID {
    /// SHA-256 of the guest's public key.
    package init(publicKey: [UInt8]) {
        guard let id = GuestID(digest(.sha256, publicKey)) else { preconditionFailure("SHA-256 has 32 bytes") }
        self = id
    }
}

/// What every service knows of a guest.
/// File: u8 version, sized16 name, 32 bytes Ed25519 public key, u32 uid.
package struct Registration: WireCodable, Sendable, Equatable {
    package var name: GuestName
    package var publicKey: [UInt8]
    /// The user that the guest's door runs as; nil: any (0xFFFFFFFF in the file).
    package var uid: UInt32?

    package static let publicKeySize = 32
    private static let version: UInt8 = 1
    private static let anyUser = UInt32.max
    static let largest = 1 + 2 + 63 + publicKeySize + 4

    package var guest: GuestID { GuestID(publicKey: publicKey) }

    package init(name: GuestName, publicKey: [UInt8], uid: UInt32?) {
        self.name = name
        self.publicKey = publicKey
        self.uid = uid
    }
    package init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        guard let name = GuestName(String(decoding: try reader.sized16(max: 63), as: UTF8.self)) else { throw .invalid(0) }
        self.name = name
        publicKey = try reader.bytes(Self.publicKeySize)
        let uid = try reader.u32()
        self.uid = uid == Self.anyUser ? nil : uid
    }
    package func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.sized16(Array(name.text.utf8))
        writer.raw(publicKey)
        writer.u32(uid ?? Self.anyUser)
    }

    package func admits(_ user: uid_t) -> Bool { uid == nil || uid == user }
}

package enum GuestEnrolment {
    /// Identity file: u8 version, 32 bytes Ed25519 private key.
    private static let identityVersion: UInt8 = 1
    private static let identitySize = 33

    /// Makes a new guest: its directory, its identity and its registration.
    /// - Parameters:
    ///   - directory: where its identity and its TPM's state live; nil: the instance's place for it.
    ///   - uid: the only user whose door may be this guest; nil: any.
    @discardableResult
    package static func enrol(
        name: GuestName, instance: Instance, directory: String? = nil, uid: UInt32? = nil
    ) throws(Failure) -> GuestID {
        let directory = directory ?? instance.guestDirectory(name)
        if try load(name, instance) != nil {
            throw Failure(.cannotCreate, "there is a guest \(name) already (\(instance.registration(name))); remove it first, or take another name")
        }
        try Files.makeDirectory(instance.registryDirectory, mode: 0o755)
        try Files.makeDirectory(directory, mode: 0o700)
        let owner = geteuid() == 0 ? uid : nil
        if let owner, chown(directory, owner, gid_t.max) != 0 { throw .system(.cannotCreate, "give away", directory) }
        let path = identityPath(in: directory)
        guard access(path, F_OK) != 0 else {
            throw Failure(.cannotCreate, "\(path) exists: a guest lives there already; choose another directory, or move the file away")
        }
        let key = IdentityKey.generate()
        let registration = Registration(name: name, publicKey: key.publicKey, uid: uid)
        // The registration first: a crash in between leaves a name without a guest, but never a guest that nobody knows.
        try Files.write(instance.registration(name), registration.wire, mode: 0o644, replacing: false)
        try writeIdentity(key, to: path, owner: owner)
        return registration.guest
    }

    private static func writeIdentity(_ key: IdentityKey, to path: String, owner: uid_t?) throws(Failure) {
        var bytes = [identityVersion] + key.privateKey.bytes
        defer { wipe(&bytes) }
        try Files.write(path, bytes, mode: 0o600, replacing: false, owner: owner)
    }

    /// A guest's registration; nil if there is no such guest.
    package static func load(_ name: GuestName, _ instance: Instance) throws(Failure) -> Registration? {
        let path = instance.registration(name)
        guard let bytes = try Files.read(path, max: Registration.largest) else { return nil }
        guard let registration = try? Registration(wire: bytes), registration.name == name else {
            throw Failure(.dataError, "\(path) is damaged or not this guest's registration; it was left alone")
        }
        return registration
    }

    /// The private identity in a guest's directory.
    package static func loadIdentity(in directory: String) throws(Failure) -> IdentityKey {
        let path = identityPath(in: directory)
        guard var bytes = try Files.read(path, max: identitySize) else {
            throw Failure(.noInput, "\(path) is missing: no guest was added here (paratpmctl guest add)")
        }
        defer { wipe(&bytes) }
        guard bytes.count == identitySize, bytes[0] == identityVersion,
            let key = IdentityKey(privateKey: Array(bytes[1...]))
        else { throw Failure(.dataError, "\(path) is damaged or not an identity; it was left alone") }
        return key
    }

    /// Every guest, in order of name. A damaged registration is an error that names its file.
    package static func list(_ instance: Instance) throws(Failure) -> [Registration] {
        var guests: [Registration] = []
        for text in try Files.list(instance.registryDirectory) {
            guard let name = GuestName(text), let guest = try load(name, instance) else { continue }
            guests.append(guest)
        }
        return guests
    }

    /// Takes the registration away, and the identity from `directory`: no door can be this guest any more. The TPM's state
    /// stays where it is, and is worthless once paratpm-device has forgotten the guest.
    package static func remove(_ name: GuestName, instance: Instance, directory: String? = nil) throws(Failure) {
        guard access(instance.registration(name), F_OK) == 0 else {
            throw Failure(.noInput, "there is no guest \(name) (\(instance.registration(name)))")
        }
        try Files.remove(instance.registration(name))
        try Files.remove(identityPath(in: directory ?? instance.guestDirectory(name)))
    }

    private static func identityPath(in directory: String) -> String { directory + "/" + Instance.identityFile }
}
