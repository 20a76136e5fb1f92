// paratpm-pcr dies and comes back: what the service manager kept is what the next one begins with.
import CSystem
import CryptoBase
import Glibc
import IPC
@testable import PCRStore
import RunningService
import SystemMap
import TPMWire
import Testing
import Wire

/// paratpm-pcr under a service manager of the test's own.
private final class ManagedPCRs {
    let directory: TemporaryInstance
    private let socket: NotificationSocket
    private var store = DescriptorStore()
    private let guestsMax: Int
    private var service: RunningService?

    init(guestsMax: Int = PCRServer.guestsMax) throws {
        directory = try TemporaryInstance()
        socket = try NotificationSocket(at: directory.instance.notifySocket)
        self.guestsMax = guestsMax
        try start()
    }

    private func start() throws {
        let (instance, kept, guestsMax) = (directory.instance, store.kept, guestsMax)
        service = try RunningService(.pcr, in: directory) {
            let manager = ServiceManager { $0 == "NOTIFY_SOCKET" ? instance.notifySocket : nil }
            return PCRServer(instance, guestsMax: guestsMax, manager: manager, passed: kept).service
        }
    }

    /// - Parameter keeping: false for a manager that kept nothing.
    func restart(keeping: Bool = true) throws {
        service?.stop()
        listen()
        if !keeping { store = DescriptorStore() }
        try start()
    }

    private func listen() { while let notification = socket.next() { store.take(notification) } }

    /// What is kept once the service has served a connection.
    func kept() throws -> [(name: String, descriptor: Descriptor)] {
        _ = try directory.connect(.pcr).call(StatusCall.self, Nothing())
        listen()
        return store.kept
    }
}

private struct Connections {
    let door: Channel
    let proxy: Channel
    let page: VPCRPage
    let posts: Channel

    init(_ guest: TestGuest) throws {
        door = try guest.door(.pcr)
        let (proxy, descriptors) = try guest.proxy(.pcr)
        self.proxy = proxy
        try #require(descriptors.count == 2)
        page = try #require(VPCRPage(descriptors[0], writable: false))
        posts = Channel(descriptors[1])
    }
}

private let ones = TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))
private let startup = PCRCalls.Startup.Request(state: false)

@Suite struct TakeOverTests {
    @Test func vPCRsOutliveParatpmPCR() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        var c = try Connections(guest)
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try c.door.call(PCRCalls.SetLocality.self, 3)
        _ = try c.proxy.call(PCRCalls.Startup.self, startup)
        var former = c.page
        for pcr in 0..<24 where pcr != 17 { _ = try? c.proxy.call(PCRCalls.Extend.self, .init(pcr: UInt8(pcr), digests: [ones])) }
        for _ in 0..<3 {
            let values = try #require(former.read())
            try pcrs.restart()
            #expect(former.read() == values, "the old page stays as it was")
            c = try Connections(guest)
            #expect(c.page.read() == values)
            _ = try c.proxy.call(PCRCalls.Extend.self, .init(pcr: 10, digests: [ones]))
            #expect(c.page.read()?.generation == values.generation + 1)
            #expect(try pcrs.kept().count == 1, "one page of one guest")
            former = c.page
        }
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.initialize.rawValue))) {
            try c.proxy.call(PCRCalls.Startup.self, startup)
        }
    }

    @Test func aChangeIsMadeOnceHoweverOftenItIsAskedFor() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        var c = try Connections(guest)
        for _ in 0..<2 { _ = try c.door.call(PCRCalls.PowerOn.self, Nothing(), change: 5) }
        #expect(c.page.read()?.bootCount == 1)
        for _ in 0..<2 { _ = try c.proxy.call(PCRCalls.Startup.self, startup, change: 5) }
        let request = PCRCalls.Extend.Request(pcr: 10, digests: [ones])
        for _ in 0..<2 { _ = try c.proxy.call(PCRCalls.Extend.self, request, change: 6) }
        let values = try #require(c.page.read())
        try pcrs.restart()
        c = try Connections(guest)
        _ = try c.proxy.call(PCRCalls.Extend.self, request, change: 6)
        #expect(c.page.read() == values)
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing(), change: 5)
        #expect(c.page.read() == values)
        _ = try c.proxy.call(PCRCalls.Extend.self, request, change: 7)
        #expect(c.page.read()?.updateCounter == values.updateCounter + 1)
    }

    @Test func thePageSaysWhichChangeWasMadeLast() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        var c = try Connections(guest)
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try c.proxy.call(PCRCalls.Startup.self, startup, change: 5)
        #expect(c.page.change == 5)
        let before = try #require(c.page.read())
        let request = PCRCalls.Extend.Request(pcr: 10, digests: [ones])
        try c.posts.send(PCRCalls.PostedExtend(change: 6, request).wire)
        // Behind it
        _ = try c.proxy.call(PCRCalls.Extend.self, request, change: 6)
        #expect(c.page.change == 6)
        let values = try #require(c.page.read())
        #expect(values.updateCounter == before.updateCounter + 1)
        #expect(values.digest(.sha256, 10) == digest(.sha256, [UInt8](repeating: 0, count: 32), ones.digest))
        try pcrs.restart()
        c = try Connections(guest)
        #expect(c.page.change == 6 && c.page.read() == values)
        // Of several, the first is asked for again when all are made.
        for change in 7...9 as ClosedRange<UInt64> { try c.posts.send(PCRCalls.PostedExtend(change: change, request).wire) }
        _ = try c.proxy.call(PCRCalls.Extend.self, request, change: 7)
        #expect(c.page.change == 9 && c.page.read()?.updateCounter == values.updateCounter + 3)
        let later = try #require(c.page.read())
        // What is refused is not made, and says why when it is asked for again.
        try c.posts.send(PCRCalls.PostedExtend(change: 10, .init(pcr: 17, digests: [ones])).wire)
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.locality.rawValue))) {
            try c.proxy.call(PCRCalls.Extend.self, .init(pcr: 17, digests: [ones]), change: 10)
        }
        #expect(c.page.change == 0 && c.page.read() == later)
    }

    /// Nobody is woken by what is posted; but nobody sees the vPCRs without it, and who posted it cannot take it back.
    @Test func whatIsPostedIsMadeBeforeAnyoneLooks() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        let request = PCRCalls.Extend.Request(pcr: 10, digests: [ones])
        var change: UInt64 = 0
        func started() throws -> Connections {
            change += 1
            let c = try Connections(guest)
            _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
            _ = try c.proxy.call(PCRCalls.Startup.self, startup)
            try c.posts.send(PCRCalls.PostedExtend(change: change, request).wire)
            #expect(c.page.change != change)
            return c
        }
        let extended = digest(.sha256, [UInt8](repeating: 0, count: 32), ones.digest)

        // An administrator, and the policy checker
        var c = try started()
        let selection = [PCRSelection(.sha256, pcrs: [10])]
        let admin = try pcrs.directory.connect(.pcr)
        #expect(try admin.call(PCRCalls.Values.self, .init(guest: guest.id.bytes, selection: selection)).digests == [TaggedDigest(.sha256, extended)])
        // The platform
        c = try started()
        _ = try c.door.call(PCRCalls.SetLocality.self, 0)
        #expect(c.page.read()?.digest(.sha256, 10) == extended)
        // Another command of the guest
        c = try started()
        _ = try c.proxy.call(PCRCalls.CountClear.self, Nothing())
        #expect(c.page.read()?.digest(.sha256, 10) == extended)
        // The proxy says so
        c = try started()
        try c.proxy.tell(PCRCalls.TakePosted.self, Nothing())
        while c.page.change != change { usleep(1000) }
        // The next proxy of a guest whose proxy is gone
        c = try started()
        c = try Connections(guest)
        #expect(c.page.read()?.digest(.sha256, 10) == extended)
    }

    @Test func whatABootMeasuresFirstIsMeasuredByWhoeverStartsIt() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        var c = try Connections(guest)
        _ = try c.door.call(PCRCalls.MeasuredPowerOn.self, FirstEvent(pcr: 14, digests: [ones]), change: 1)
        try pcrs.restart()
        c = try Connections(guest)
        _ = try c.door.call(PCRCalls.MeasuredPowerOn.self, FirstEvent(pcr: 14, digests: [ones]), change: 1)
        _ = try c.proxy.call(PCRCalls.Startup.self, startup)
        let measured = try #require(c.page.read()).digest(.sha256, 14)
        #expect(measured == digest(.sha256, [UInt8](repeating: 0, count: 32) + ones.digest))
        // A boot that measures nothing measures nothing.
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try c.proxy.call(PCRCalls.Startup.self, startup)
        #expect(c.page.read()?.digest(.sha256, 14) == [UInt8](repeating: 0, count: 32))
    }

    @Test func aRefusalIsRepeatedToo() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        var c = try Connections(guest)
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try c.proxy.call(PCRCalls.Startup.self, startup)
        let locality = IPCError.status(CallStatus(rawValue: TPMRC.locality.rawValue))
        let request = PCRCalls.Extend.Request(pcr: 17, digests: [ones])
        #expect(throws: locality) { try c.proxy.call(PCRCalls.Extend.self, request, change: 9) }
        _ = try c.door.call(PCRCalls.SetLocality.self, 3)
        try pcrs.restart()
        c = try Connections(guest)
        #expect(throws: locality) { try c.proxy.call(PCRCalls.Extend.self, request, change: 9) }
        _ = try c.proxy.call(PCRCalls.Extend.self, request, change: 10)
    }

    @Test func aMeasurementGoesOnWhereItWas() throws {
        func measured(_ restarts: Bool) throws -> VPCRValues? {
            let pcrs = try ManagedPCRs()
            let guest = try pcrs.directory.addGuest("one")
            var c = try Connections(guest)
            func next() throws {
                guard restarts else { return }
                try pcrs.restart()
                c = try Connections(guest)
            }
            _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
            _ = try c.door.call(PCRCalls.HashStart.self, Nothing())
            for count in [0, 1, 63, 64, 129, 4096] {
                try next()
                _ = try c.door.call(PCRCalls.HashData.self, Blob([UInt8](repeating: UInt8(count & 0xFF), count: count)))
            }
            try next()
            _ = try c.door.call(PCRCalls.HashEnd.self, Nothing())
            try next()
            _ = try c.proxy.call(PCRCalls.Startup.self, startup)
            var values = c.page.read()
            values?.generation = 0  // begins at random
            return values
        }
        let values = try #require(try measured(true))
        #expect(values == (try measured(false)))
        #expect(values.digest(.sha256, 0) != [UInt8](repeating: 0, count: 31) + [4])
    }

    @Test func whatShutdownKeptIsKept() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        var c = try Connections(guest)
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try c.proxy.call(PCRCalls.Startup.self, startup)
        _ = try c.proxy.call(PCRCalls.Extend.self, .init(pcr: 7, digests: [ones]))
        let value = c.page.read()?.digest(.sha256, 7)
        _ = try c.proxy.call(PCRCalls.Shutdown.self, .init(state: true))
        try pcrs.restart()
        c = try Connections(guest)
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        try pcrs.restart()
        c = try Connections(guest)
        _ = try c.proxy.call(PCRCalls.Startup.self, .init(state: true))
        #expect(c.page.read()?.digest(.sha256, 7) == value)
    }

    /// A proxy that could make paratpm-pcr forget its guest could begin a boot of its own.
    @Test func whereNothingWasKeptOnlyTheDoorBeginsABoot() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        var c = try Connections(guest)
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try c.proxy.call(PCRCalls.Startup.self, startup)
        try pcrs.restart(keeping: false)
        c = try Connections(guest)
        let initialize = IPCError.status(CallStatus(rawValue: TPMRC.initialize.rawValue))
        #expect(throws: initialize) { try c.proxy.call(PCRCalls.Startup.self, startup) }
        #expect(throws: initialize) { try c.proxy.call(PCRCalls.Extend.self, .init(pcr: 0, digests: [ones])) }
        _ = try c.door.call(PCRCalls.PowerOn.self, Nothing())
        _ = try c.proxy.call(PCRCalls.Startup.self, startup)
    }

    @Test func guestsThatAreNotBackYetDoNotGiveWay() throws {
        let pcrs = try ManagedPCRs(guestsMax: 1)
        let one = try pcrs.directory.addGuest("one")
        let two = try pcrs.directory.addGuest("two")
        _ = try Connections(one).door.call(PCRCalls.PowerOn.self, Nothing())
        try pcrs.restart()
        let door = try two.door(.pcr)
        #expect(throws: IPCError.status(.quota)) { try door.call(PCRCalls.PowerOn.self, Nothing()) }
        #expect(try Connections(one).page.read()?.bootCount == 1)
        // Its proxy came back and went: now it gives way.
        #expect(throws: Never.self) {
            while true {
                do throws(IPCError) { _ = try door.call(PCRCalls.PowerOn.self, Nothing()); break } catch .status(.quota) {}
            }
        }
        #expect(try pcrs.kept().map { $0.name.contains(two.id.hex) } == [true])
    }

    @Test func aForgottenGuestIsKeptByNobody() throws {
        let pcrs = try ManagedPCRs()
        let guest = try pcrs.directory.addGuest("one")
        _ = try Connections(guest)
        #expect(try pcrs.kept().count == 1)
        _ = try pcrs.directory.connect(.pcr).call(PCRCalls.ForgetGuest.self, Blob(guest.id.bytes))
        #expect(try pcrs.kept().isEmpty)
    }
}

@Suite struct VPCRPageTests {
    private func page(_ bytes: Int = VPCRPage.size) throws -> Descriptor {
        let file = Descriptor(owning: csystem_memfd("page"))
        #expect(ftruncate(file.raw, off_t(bytes)) == 0)
        return file
    }
    private let guest = GuestID([UInt8](repeating: 7, count: GuestID.size))!

    /// The later of two pages counts, and of one page the last whole change.
    @Test func aPageThatIsNotOursIsNone() throws {
        let file = try page()
        let writer = try #require(VPCRPage(file, writable: true))
        var values = VPCRValues()
        values.set(.sha384, 23, [UInt8](repeating: 9, count: 48))
        writer.write(values, [1, 2, 3], change: 0)
        #expect(csystem_seal(file.raw) == 0)
        #expect(VPCRPage.saved(in: file) == nil, "without a version")
        writer.begin(guest, madeAt: 5)
        let saved = try #require(VPCRPage.saved(in: file))
        #expect(saved.guest == guest && saved.madeAt == 5 && saved.values == values && saved.remainder == [1, 2, 3])
        #expect(VPCRPage.saved(in: try page(4096)) == nil)
        let open = try page()
        try #require(VPCRPage(open, writable: true)).begin(guest, madeAt: 1)
        #expect(VPCRPage.saved(in: open) == nil, "anyone may have written it")
    }

    @Test func aHalfDoneChangeIsNone() throws {
        let file = try page()
        let writer = try #require(VPCRPage(file, writable: true))
        var values = VPCRValues()
        for generation in 1...5 as ClosedRange<UInt64> {
            values.generation = generation
            writer.write(values, [], change: 0)
        }
        // The writer dies after it has filled the copy that is not the whole one with anything.
        let sequence = 4 + 1
        let copySize = (VPCRPage.size - 64) / 2
        let other = 64 + ((sequence + 1) & 1) * copySize
        #expect(pwrite(file.raw, [UInt8](repeating: 0xEE, count: copySize), copySize, off_t(other)) == copySize)
        #expect(try #require(VPCRPage(file, writable: false)).read() == values)
    }

    @Test func theLongestRemainderFits() throws {
        var pcrs = VirtualPCRs(generation: 1)
        pcrs.powerOn()
        try pcrs.startup(state: false)
        try pcrs.shutdown(state: true)
        pcrs.hashStart()
        pcrs.hashData([UInt8](repeating: 1, count: 127))
        let state = GuestState(pcrs)
        #expect(state.remainder.count < VPCRPage.remainderMax)
        let restored = try GuestState(pcrs.values, remainder: state.remainder)
        #expect(restored.remainder == state.remainder)
        for count in 0..<state.remainder.count {
            #expect((try? GuestState(pcrs.values, remainder: Array(state.remainder.prefix(count)))) == nil)
        }
        #expect((try? GuestState(pcrs.values, remainder: state.remainder + [0])) == nil)
    }
}
