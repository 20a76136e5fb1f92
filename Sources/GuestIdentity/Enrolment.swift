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
/// File: u8 version, sized16 name, 32 bytes Ed25519 public key, u32 uid, sized16 home.
package struct Registration: WireCodable, Sendable, Equatable {
    package var name: GuestName
    package var publicKey: [UInt8]
    /// The user that the guest's door runs as; nil: any (0xFFFFFFFF in the file).
    package var uid: UInt32?
    /// The directory with its identity and state, where a program that starts swtpm chose it; empty: the instance's own place.
    package var home: String

    package static let publicKeySize = 32
    private static let version: UInt8 = 1
    private static let anyUser = UInt32.max
    private static let homeMax = Int(PATH_MAX)
    static let largest = 1 + 2 + 63 + publicKeySize + 4 + 2 + homeMax

    package var guest: GuestID { GuestID(publicKey: publicKey) }

    package init(name: GuestName, publicKey: [UInt8], uid: UInt32?, home: String = "") {
        self.name = name
        self.publicKey = publicKey
        self.uid = uid
        self.home = home
    }
    package init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        guard let name = GuestName(String(decoding: try reader.sized16(max: 63), as: UTF8.self)) else { throw .invalid(0) }
        self.name = name
        publicKey = try reader.bytes(Self.publicKeySize)
        let uid = try reader.u32()
        self.uid = uid == Self.anyUser ? nil : uid
        home = String(decoding: try reader.sized16(max: Self.homeMax), as: UTF8.self)
    }
    package func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.sized16(Array(name.text.utf8))
        writer.raw(publicKey)
        writer.u32(uid ?? Self.anyUser)
        writer.sized16(Array(home.utf8))
    }

    package func admits(_ user: uid_t) -> Bool { uid == nil || uid == user }
}

package enum GuestEnrolment {
    /// Identity file: u8 version, 32 bytes Ed25519 private key.
    private static let identityVersion: UInt8 = 1
    private static let identitySize = 33

    /// Makes a new guest: its directory, its identity and its registration.
    /// - Parameters:
    ///   - home: where its identity and its TPM's state live; nil: the instance's places for them.
    ///   - uid: the only user whose door may be this guest; nil: any.
    @discardableResult
    package static func enrol(
        name: GuestName, instance: Instance, directory home: String? = nil, uid: UInt32? = nil
    ) throws(Failure) -> GuestID {
        if try load(name, instance) != nil {
            throw Failure(.cannotCreate, "there is a guest \(name) already (\(instance.registration(name))); remove it first, or take another name")
        }
        try Files.makeDirectory(instance.registryDirectory, mode: 0o755)
        let directory = try makeHome(home ?? instance.guestDirectory(name), owner: geteuid() == 0 ? uid : nil)
        let path = home == nil ? instance.identity(name) : identityPath(in: directory)
        if home == nil && instance.isSystem { try Files.makeDirectory(instance.identityDirectory, mode: 0o700) }
        guard access(path, F_OK) != 0 else {
            throw Failure(.cannotCreate, "\(path) exists: a guest lives there already; choose another directory, or move the file away")
        }
        let state = "\(directory)/\(Instance.stateFile)"
        guard access(state, F_OK) != 0 else {
            throw Failure(.cannotCreate, "\(state) exists, but its guest is not known: it is a removed guest's or another program's; "
                + "choose another directory, or move the file away")
        }
        let key = IdentityKey.generate()
        let registration = Registration(name: name, publicKey: key.publicKey, uid: uid, home: home == nil ? "" : directory)
        // The registration first: a crash in between leaves a name without a guest, but never a guest that nobody knows.
        try Files.write(instance.registration(name), registration.wire, mode: 0o644, replacing: false)
        // In the system's instance the identity stays root's: the service manager hands it to the guest's door.
        try writeIdentity(key, to: path, owner: geteuid() == 0 && !(instance.isSystem && home == nil) ? uid : nil)
        return registration.guest
    }

    /// Returns the directory's absolute path.
    private static func makeHome(_ directory: String, owner: uid_t?) throws(Failure) -> String {
        try Files.makeDirectory(directory, mode: 0o700)
        if let owner, chown(directory, owner, gid_t.max) != 0 { throw .system(.cannotCreate, "give away", directory) }
        guard let path = realpath(directory, nil) else { throw .system(.io, "find", directory) }
        defer { free(path) }
        return String(cString: path)
    }

    private static func writeIdentity(_ key: IdentityKey, to path: String, owner: uid_t?) throws(Failure) {
        var bytes = [identityVersion] + key.privateKey.bytes
        defer { wipe(&bytes) }
        try Files.write(path, bytes, mode: 0o600, replacing: false, owner: owner)
    }

    /// A guest's registration; nil if there is no such guest.
    package static func load(_ name: GuestName, _ instance: Instance) throws(Failure) -> Registration? {
        let path = instance.registration(name)
        guard let (bytes, owner) = try Files.readOwned(path, max: Registration.largest) else { return nil }
        guard let registration = try? Registration(wire: bytes), registration.name == name else {
            throw Failure(.dataError, "\(path) is damaged or not this guest's registration; it was left alone")
        }
        // Those who may enrol guests write here beside root, each for himself alone.
        guard owner == 0 || owner == geteuid() || owner == registration.uid else {
            throw Failure(.dataError, "\(path) belongs to user \(owner), who cannot enrol guests for others; it was left alone")
        }
        return registration
    }

    /// The private identity in a guest's directory.
    package static func loadIdentity(in directory: String) throws(Failure) -> IdentityKey {
        try loadIdentity(at: identityPath(in: directory))
    }

    /// The private identity in a file of its own.
    package static func loadIdentity(at path: String) throws(Failure) -> IdentityKey {
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

    /// Makes a guest known again whose registration was taken away, and whose identity is in its place.
    package static func register(
        name: GuestName, instance: Instance, key: IdentityKey, uid: UInt32?
    ) throws(Failure) -> GuestID {
        let registration = Registration(name: name, publicKey: key.publicKey, uid: uid)
        try Files.makeDirectory(instance.registryDirectory, mode: 0o755)
        try Files.write(instance.registration(name), registration.wire, mode: 0o644, replacing: false)
        return registration.guest
    }

    /// Takes the registration and the identity away: no door can be this guest any more. The TPM's state
    /// stays where it is, and is worthless once paratpm-device has forgotten the guest.
    package static func remove(_ name: GuestName, instance: Instance) throws(Failure) {
        guard let registration = try load(name, instance) else {
            throw Failure(.noInput, "there is no guest \(name) (\(instance.registration(name)))")
        }
        try Files.remove(instance.registration(name))
        try Files.remove(identity(of: registration, instance))
    }

    /// Where a guest's private identity is.
    package static func identity(of guest: Registration, _ instance: Instance) -> String {
        guest.home.isEmpty ? instance.identity(guest.name) : identityPath(in: guest.home)
    }

    private static func identityPath(in directory: String) -> String { directory + "/" + Instance.identityFile }
}
