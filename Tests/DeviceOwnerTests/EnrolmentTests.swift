// Guests' registrations and identities on disk.
import Glibc
import GuestIdentity
import RunningService
import SystemMap
import TPMCrypto
import Testing

@Suite struct EnrolmentTests {
    let directory: TemporaryInstance
    var instance: Instance { directory.instance }
    init() throws { directory = try TemporaryInstance() }

    @Test func enrolsListsAndRemoves() throws {
        let names = ["b", "a.1", "c-_"].map { GuestName($0)! }
        for name in names { try GuestEnrolment.enrol(name: name, instance: instance) }
        #expect(try GuestEnrolment.list(instance).map(\.name.text) == ["a.1", "b", "c-_"])
        try GuestEnrolment.remove(names[0], instance: instance)
        #expect(try GuestEnrolment.list(instance).count == 2)
        #expect(throws: Failure.self) { try GuestEnrolment.remove(names[0], instance: instance) }
        try GuestEnrolment.enrol(name: names[0], instance: instance)
    }

    @Test func aGuestAddedAgainIsAnotherGuest() throws {
        let name = GuestName("a")!
        let first = try GuestEnrolment.enrol(name: name, instance: instance)
        try GuestEnrolment.remove(name, instance: instance)
        #expect(try GuestEnrolment.enrol(name: name, instance: instance) != first)
    }

    @Test func aNameOrADirectoryIsTakenOnce() throws {
        let name = GuestName("a")!
        try GuestEnrolment.enrol(name: name, instance: instance, directory: directory.path + "/deep/down")
        #expect(throws: Failure.self) { try GuestEnrolment.enrol(name: name, instance: instance) }
        #expect(throws: Failure.self) {
            try GuestEnrolment.enrol(name: GuestName("b")!, instance: instance, directory: directory.path + "/deep/down")
        }
        #expect(try GuestEnrolment.load(GuestName("b")!, instance) == nil)
    }

    @Test func theIdentityFitsTheRegistrationAndIsPrivate() throws {
        let name = GuestName("a")!
        let id = try GuestEnrolment.enrol(name: name, instance: instance)
        let key = try GuestEnrolment.loadIdentity(in: instance.guestDirectory(name))
        let registration = try #require(try GuestEnrolment.load(name, instance))
        #expect(registration.publicKey == key.publicKey && registration.guest == id)
        var status = stat()
        #expect(stat(instance.guestDirectory(name) + "/" + Instance.identityFile, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    /// version 1, "a", the key, any user, no home of its own
    @Test func aRegistrationIsTheseBytes() throws {
        let registration = Registration(name: GuestName("a")!, publicKey: [UInt8](repeating: 7, count: 32), uid: nil)
        let bytes: [UInt8] = [1, 0, 1, 0x61] + [UInt8](repeating: 7, count: 32) + [0xFF, 0xFF, 0xFF, 0xFF, 0, 0]
        #expect(registration.wire == bytes)
        #expect(try Registration(wire: bytes) == registration)
        for length in 0..<bytes.count { #expect(throws: (any Error).self) { try Registration(wire: Array(bytes[..<length])) } }
        #expect(throws: (any Error).self) { try Registration(wire: bytes + [0]) }
        #expect(throws: (any Error).self) { try Registration(wire: [2] + bytes.dropFirst()) }
    }

    @Test func filesThatAreNotOursAreRefusedAndKept() throws {
        let name = GuestName("a")!
        try GuestEnrolment.enrol(name: name, instance: instance)
        let path = instance.registration(name)
        let good = try #require(try Files.read(path, max: 200))
        // Another guest's registration under this name, a damaged one, a large one, a link.
        for bad in [good.map { $0 == 0x61 ? 0x62 : $0 }, [1], [UInt8](repeating: 0, count: 4096)] {
            try Files.write(path, bad, mode: 0o644, replacing: true)
            #expect(throws: Failure.self) { try GuestEnrolment.load(name, instance) }
            #expect(try Files.read(path, max: 4096) == bad)
        }
        try Files.write(path + ".real", good, mode: 0o644, replacing: false)
        unlink(path)
        symlink(path + ".real", path)
        #expect(throws: Failure.self) { try GuestEnrolment.load(name, instance) }
    }
}
