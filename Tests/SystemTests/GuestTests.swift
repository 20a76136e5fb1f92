// Two guests on one chip: isolation (P1, P4), durability (P6), and a chip that fails.
import Foundation
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct GuestTests {
    private let digest = [UInt8](repeating: 0x11, count: 32)

    @Test func guestsSeeTheSameHandlesAndDifferentThings() throws {
        let broker = try Broker()
        let one = try Emulator(broker)
        let two = try Emulator(broker)
        let (a, b) = (try one.connect(), try two.connect())
        let srkA = try a.primary(Template.eccStorage)
        let srkB = try b.primary(Template.eccStorage)
        #expect(srkA.handle == srkB.handle)
        #expect(srkA.area.unique != srkB.area.unique, "each guest has an SRK of its own")

        #expect(try a.extendPCR(16, [TaggedDigest(.sha256, digest)]) == .success)
        #expect(try a.readPCR(16) != [UInt8](repeating: 0, count: 32))
        #expect(try b.readPCR(16) == [UInt8](repeating: 0, count: 32))

        let index = TPMHandle(0x0150_0016)
        for (connection, text) in [(a, "guest one"), (b, "guest two")] {
            let area = NVPublic(index: index, nameAlgorithm: .sha256, attributes: [.ownerRead, .ownerWrite], authPolicy: [], dataSize: 9)
            #expect(try connection.run(.nvDefineSpace, [.owner], passwords: [[]]) { $0.sized16([]); $0.sized16(area) }.code == .success)
            #expect(try connection.run(.nvWrite, [.owner, index], passwords: [[]]) { $0.sized16(Array(text.utf8)); $0.u16(0) }.code == .success)
        }
        for (connection, text) in [(a, "guest one"), (b, "guest two")] {
            let read = try connection.run(.nvRead, [.owner, index], passwords: [[]]) { $0.u16(9); $0.u16(0) }
            #expect(read.parameters == [0, 9] + Array(text.utf8))
        }
    }

    @Test func oneGuestsBlobsAndContextsAreUselessToTheOther() throws {
        let broker = try Broker()
        let one = try Emulator(broker)
        let two = try Emulator(broker)
        let (a, b) = (try one.connect(), try two.connect())
        let srkA = try a.primary(Template.eccStorage)
        let srkB = try b.primary(Template.eccStorage)
        let created = try Created(try a.run(.create, [srkA.handle], passwords: [[]], creation(Template.sealed(), data: [1, 2, 3])))
        #expect(try a.load(created, under: srkA.handle).code == .success)
        #expect(try b.load(created, under: srkB.handle).code == TPMRC.integrity.parameter(1))
        let context = try a.run(.contextSave, [srkA.handle]).parameters
        #expect(try b.run(.contextLoad) { $0.raw(context) }.code == TPMRC.integrity.parameter(1))
    }

    @Test func oneGuestsWrongPasswordsLockNeitherTheOtherNorTheChip() throws {
        let broker = try Broker()
        let one = try Emulator(broker)
        let two = try Emulator(broker)
        let template = Template.sealed(attributes: [.fixedTPM, .fixedParent, .userWithAuth])
        func sealed(_ c: TPMConnection) throws -> TPMHandle {
            let srk = try c.primary(Template.eccStorage).handle
            let created = try Created(try c.run(.create, [srk], passwords: [[]], creation(template, auth: [1], data: [7])))
            return try #require(try c.load(created, under: srk).handle)
        }
        let (a, b) = (try one.connect(), try two.connect())
        let (objectA, objectB) = (try sealed(a), try sealed(b))
        for _ in 0..<10 { _ = try a.run(.unseal, [objectA], passwords: [[9]]) }
        #expect(try a.run(.unseal, [objectA], passwords: [[1]]).code == .lockout)
        #expect(try b.run(.unseal, [objectB], passwords: [[1]]).parameters == [0, 1, 7])
    }

    @Test func whatWasAnsweredSurvivesTheDeathOfEveryProcess() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        var c = try guest.connect()
        let srk = try c.primary(Template.eccStorage)
        #expect(try c.run(.evictControl, [.owner, srk.handle], passwords: [[]]) { $0.u32(0x8100_0001) }.code == .success)
        let created = try Created(try c.run(.create, [srk.handle], passwords: [[]], creation(Template.sealed(), data: Array("kept".utf8))))
        let index = TPMHandle(0x0150_0020)
        let area = NVPublic(index: index, nameAlgorithm: .sha256, attributes: [.ownerRead, .ownerWrite], authPolicy: [], dataSize: 8)
        #expect(try c.run(.nvDefineSpace, [.owner], passwords: [[]]) { $0.sized16([]); $0.sized16(area) }.code == .success)
        // The last answered write counts, whenever the end comes.
        var last: [UInt8] = []
        for i in 0..<50 {
            let value = UInt64(i).wire
            if try c.run(.nvWrite, [.owner, index], passwords: [[]], { $0.sized16(value); $0.u16(0) }).code == .success { last = value }
        }
        kill(guest.child.pid, SIGKILL)
        try broker.killEverything()
        try broker.restartAfterKill()
        try guest.startAgain()
        c = try guest.connect()
        let read = try c.run(.nvRead, [.owner, index], passwords: [[]]) { $0.u16(8); $0.u16(0) }
        #expect(read.parameters == [0, 8] + last)
        let loaded = try c.load(created, under: TPMHandle(0x8100_0001))
        let object = try #require(loaded.handle)
        #expect(try c.run(.unseal, [object], passwords: [[]]).parameters == [0, 4] + Array("kept".utf8))
        #expect(try c.primary(Template.eccStorage).area == srk.area, "the same primary as before")
    }

    @Test func damagedStateIsRefusedKeptAndExplained() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        let c = try guest.connect()
        _ = try c.primary(Template.eccStorage)
        guest.child.stop(SIGKILL)
        try eventually("its proxy is gone") { (try? broker.processes { $0.contains("paratpm-proxy") })?.isEmpty ?? false }
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: guest.stateFile)))
        let written = try #require(bytes.firstIndex { $0 != 0 })
        bytes[written + 200] ^= 0x40
        try Data(bytes).write(to: URL(fileURLWithPath: guest.stateFile))
        try guest.startAgain()
        let answer = try guest.connect().run(.getRandom) { $0.u16(8) }
        #expect(answer.code == .failure)
        #expect(guest.child.log.contains("tpm2-00.permall"), "the log names the file: \(guest.child.log)")
        #expect([UInt8](try Data(contentsOf: URL(fileURLWithPath: guest.stateFile))) == bytes, "the file is as it was")
    }

    @Test func connectionsComeAndGoAndObjectsStay() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        let handle = try guest.connect().primary(Template.eccStorage).handle
        for _ in 0..<20 { _ = try guest.connect() }  // connected and closed without a byte
        #expect(try guest.connect().run(.readPublic, [handle]).code == .success)
    }

    @Test func aDeadChipNeverHangsAGuest() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        let c = try guest.connect()
        let srk = try c.primary(Template.eccStorage).handle
        let chips = try broker.processes { $0.contains("swtpm") && $0.contains("/chip") && !$0.contains("--name") }
        #expect(!chips.isEmpty)
        for pid in chips { kill(pid, SIGKILL) }
        let started = Date()
        let answer = try c.run(.create, [srk], passwords: [[]], creation(Template.eccSigning()))
        #expect([.failure, .retry, .success].contains(answer.code))
        #expect(Date().timeIntervalSince(started) < 30)
        // What needs no chip goes on.
        #expect(try c.readPCR(0).count == 32)
        // The broker starts the chip again, and the guest works as before.
        try eventually("the guest works again", within: 40) {
            (try? c.run(.create, [srk], passwords: [[]], creation(Template.eccSigning())).code) == .success
        }
    }

    @Test func morePrimariesAndObjectsThanTheChipHasSlots() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        let c = try guest.connect()
        let srk = try c.primary(Template.eccStorage).handle
        var objects: [TPMHandle] = []
        for i in 0..<12 {
            let created = try Created(try c.run(.create, [srk], passwords: [[]], creation(Template.sealed(), data: [UInt8(i)])))
            objects.append(try #require(try c.load(created, under: srk).handle))
        }
        for _ in 0..<2 {
            for (i, object) in objects.enumerated() {
                #expect(try c.run(.unseal, [object], passwords: [[]]).parameters == [0, 1, UInt8(i)])
            }
        }
    }
}
