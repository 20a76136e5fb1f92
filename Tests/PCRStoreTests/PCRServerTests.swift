// paratpm-pcr as its peers meet it: over real sockets, with real descriptors.
import Glibc
import IPC
import PCRStore
import RunningService
import SystemMap
import TPMWire
import Testing
import Wire

private struct House {
    let directory: TemporaryInstance
    let service: RunningService

    init(guestsMax: Int = PCRServer.guestsMax) throws {
        directory = try TemporaryInstance()
        let instance = directory.instance
        service = try RunningService(.pcr, in: directory) { PCRServer(instance, guestsMax: guestsMax).service }
    }

    /// A guest with power and Startup behind it.
    func start(_ name: String) throws -> (guest: TestGuest, door: Channel, proxy: Channel, page: Descriptor) {
        let guest = try directory.addGuest(name)
        let door = try guest.door(.pcr)
        _ = try door.call(PCRCalls.PowerOn.self, Nothing())
        let (proxy, descriptors) = try guest.proxy(.pcr)
        _ = try proxy.call(PCRCalls.Startup.self, .init(state: false))
        return (guest, door, proxy, try #require(descriptors.first))
    }
}

private let ones = TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))
private let extended = "5c85955f709283ecce2b74f1b1552918819f390911816e7bb466805a38ab87f3"  // swtpm: 01…01 into zero

@Suite struct PCRServerTests {
    @Test func anExtendIsOnThePageWhenTheReplyComes() throws {
        let house = try House()
        let (_, door, proxy, descriptor) = try house.start("one")
        let page = try #require(VPCRPage(descriptor, writable: false))
        let before = try #require(page.read())
        #expect(before.started)
        #expect(before.bootCount == 1)
        _ = try proxy.call(PCRCalls.Extend.self, .init(pcr: 10, digests: [ones]))
        let after = try #require(page.read())
        #expect(hexString(after.digest(.sha256, 10)) == extended)
        #expect(after.generation == before.generation + 1)
        _ = try door.call(PCRCalls.SetLocality.self, 3)
        #expect(page.read()?.locality == 3)
        _ = try door.call(PCRCalls.PowerOn.self, Nothing())
        #expect(page.read()?.started == false)
    }

    @Test func nobodyElseCanWriteThePage() throws {
        let house = try House()
        let page = try house.start("one").page
        #expect(mmap(nil, VPCRPage.size, PROT_READ | PROT_WRITE, MAP_SHARED, page.raw, 0) == MAP_FAILED)
        #expect(VPCRPage(page, writable: true) == nil)
        #expect(write(page.raw, [0xFF], 1) == -1)
        #expect(ftruncate(page.raw, 0) == -1)
        #expect(ftruncate(page.raw, 8192) == -1)
        let again = open("/proc/self/fd/\(page.raw)", O_RDWR)
        #expect(again < 0 || write(again, [0xFF], 1) == -1)
        close(again)
        let mapping = try #require(mmap(nil, VPCRPage.size, PROT_READ, MAP_SHARED, page.raw, 0))
        #expect(mapping != MAP_FAILED)
        #expect(mprotect(mapping, VPCRPage.size, PROT_READ | PROT_WRITE) == -1)
        munmap(mapping, VPCRPage.size)
    }

    @Test func guestsDoNotTouchOneAnother() throws {
        let house = try House()
        let one = try house.start("one")
        let two = try house.start("two")
        let page = try #require(VPCRPage(two.page, writable: false))
        let before = page.read()
        _ = try one.proxy.call(PCRCalls.Extend.self, .init(pcr: 7, digests: [ones]))
        _ = try one.door.call(PCRCalls.SetLocality.self, 4)
        _ = try one.door.call(PCRCalls.PowerOn.self, Nothing())
        #expect(page.read() == before)
    }

    @Test func errorsAreResponseCodes() throws {
        let house = try House()
        let (_, _, proxy, _) = try house.start("one")
        func code(_ body: () throws(IPCError) -> Void) -> UInt32? {
            do throws(IPCError) { try body() } catch { if case .status(let status) = error { return status.rawValue } }
            return nil
        }
        #expect(code { () throws(IPCError) in _ = try proxy.call(PCRCalls.ResetPCR.self, 7) } == 0x907)
        #expect(code { () throws(IPCError) in _ = try proxy.call(PCRCalls.Extend.self, .init(pcr: 17, digests: [ones])) } == 0x907)
        #expect(code { () throws(IPCError) in _ = try proxy.call(PCRCalls.Startup.self, .init(state: true)) } == 0x100)
    }

    @Test func onlyTheDoorGivesThePlatformsSignals() throws {
        let house = try House()
        let (_, _, proxy, descriptor) = try house.start("one")
        let page = try #require(VPCRPage(descriptor, writable: false))
        let before = page.read()
        let admin = try house.directory.connect(.pcr)
        for channel in [proxy, admin] {
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.PowerOn.self, Nothing()) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.SetLocality.self, 4) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.HashStart.self, Nothing()) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.HashData.self, Blob([1])) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.HashEnd.self, Nothing()) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.ResetEstablished.self, 4) }
            refused { () throws(IPCError) in _ = try channel.call(Introduction.OpenProxyChannel.self, Nothing()) }
        }
        #expect(page.read() == before)
    }

    @Test func onlyTheProxyGivesTheGuestsCommands() throws {
        let house = try House()
        let (guest, door, proxy, _) = try house.start("one")
        let admin = try house.directory.connect(.pcr)
        for channel in [door, admin] {
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.Extend.self, .init(pcr: 10, digests: [ones])) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.ResetPCR.self, 16) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.Startup.self, .init(state: false)) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.Shutdown.self, .init(state: true)) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.CountClear.self, Nothing()) }
        }
        for channel in [door, proxy] {
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.Values.self, .init(guest: guest.id.bytes, selection: [])) }
            refused { () throws(IPCError) in _ = try channel.call(PCRCalls.ForgetGuest.self, Blob(guest.id.bytes)) }
            refused { () throws(IPCError) in _ = try channel.call(StatusCall.self, Nothing()) }
        }
    }

    private func refused(_ body: () throws(IPCError) -> Void, location: SourceLocation = #_sourceLocation) {
        #expect(throws: IPCError.status(.notPermitted), sourceLocation: location, performing: body)
    }

    @Test func valuesGoToThePolicyChecker() throws {
        let house = try House()
        let (guest, _, proxy, descriptor) = try house.start("one")
        _ = try proxy.call(PCRCalls.Extend.self, .init(pcr: 10, digests: [ones]))
        let policy = try house.directory.connect(.pcr)
        let selection = [PCRSelection(.sha256, pcrs: [0, 10]), PCRSelection(.sha1, pcrs: [17])]
        let reply = try policy.call(PCRCalls.Values.self, .init(guest: guest.id.bytes, selection: selection))
        #expect(reply.digests.map { hexString($0.digest) } == [
            String(repeating: "00", count: 32), extended, String(repeating: "ff", count: 20),
        ])
        let page = try #require(VPCRPage(descriptor, writable: false)?.read())
        #expect(reply.generation == page.generation)
        #expect(reply.updateCounter == 21)
        let twice = [PCRSelection(.sha256, pcrs: [0]), PCRSelection(.sha256, pcrs: [1])]
        #expect(throws: IPCError.status(.malformed)) {
            try policy.call(PCRCalls.Values.self, .init(guest: guest.id.bytes, selection: twice))
        }
        #expect(throws: IPCError.status(.unavailable)) {
            try policy.call(PCRCalls.Values.self, .init(guest: [UInt8](repeating: 9, count: 32), selection: []))
        }
        let all = HashAlgorithm.allCases.map { PCRSelection($0, pcrs: 0..<24) }
        #expect(try policy.call(PCRCalls.Values.self, .init(guest: guest.id.bytes, selection: all)).digests.count == 96)
    }

    @Test func aForgottenGuestIsGone() throws {
        let house = try House()
        let (guest, _, proxy, _) = try house.start("one")
        let admin = try house.directory.connect(.pcr)
        _ = try admin.call(PCRCalls.ForgetGuest.self, Blob(guest.id.bytes))
        refused { () throws(IPCError) in _ = try proxy.call(PCRCalls.Extend.self, .init(pcr: 10, digests: [ones])) }
        #expect(throws: IPCError.status(.unavailable)) {
            try admin.call(PCRCalls.Values.self, .init(guest: guest.id.bytes, selection: []))
        }
        #expect(throws: IPCError.status(.malformed)) { try admin.call(PCRCalls.ForgetGuest.self, Blob([1])) }
    }

    @Test func thereIsRoomForSoManyGuests() throws {
        let house = try House(guestsMax: 2)
        let one = try house.start("one")
        let two = try house.start("two")
        // Without its proxy's connection a guest would give way.
        defer { withExtendedLifetime((one, two)) {} }
        let three = try house.directory.addGuest("three").door(.pcr)
        #expect(throws: IPCError.status(.quota)) { try three.call(PCRCalls.PowerOn.self, Nothing()) }
        let admin = try house.directory.connect(.pcr)
        _ = try admin.call(PCRCalls.ForgetGuest.self, Blob(one.guest.id.bytes))
        _ = try three.call(PCRCalls.PowerOn.self, Nothing())
        let status = try admin.call(StatusCall.self, Nothing())
        #expect(status.lines.first?.value == "2 of 2")
        #expect(try admin.call(GuestStatusCall.self, Blob([])).guests.count == 2)
    }

    @Test func vPCRsOutliveDoorAndProxy() throws {
        let house = try House()
        let guest: TestGuest
        do {
            let (one, _, proxy, _) = try house.start("one")
            _ = try proxy.call(PCRCalls.Extend.self, .init(pcr: 10, digests: [ones]))
            guest = one
        }
        let (proxy, descriptors) = try guest.proxy(.pcr)
        let page = try #require(VPCRPage(descriptors[0], writable: false)?.read())
        #expect(hexString(page.digest(.sha256, 10)) == extended)
        #expect(page.bootCount == 1)
        _ = try proxy.call(PCRCalls.Extend.self, .init(pcr: 10, digests: [ones]))
    }

    @Test func bytesThatAreNoCallAreAnswered() throws {
        let house = try House()
        let (_, door, proxy, _) = try house.start("one")
        let admin = try house.directory.connect(.pcr)
        var bytes = SystemRandomNumberGenerator()
        for channel in [door, proxy, admin] {
            for number: UInt16 in [0, 1, 2, 3, 4, 16, 17, 18, 19, 20, 21, 32, 33, 34, 35, 36, 48, 64, 0xFFFF] {
                for length in 0..<12 {
                    var message = WireWriter()
                    message.u16(number)
                    for _ in 0..<length { message.u8(bytes.next() & (length % 2 == 0 ? 0xFF : 1)) }
                    try channel.send(message.bytes)
                    #expect(try channel.receive().bytes.count >= 4)
                }
            }
        }
        _ = try house.start("two")
    }
}

@Suite struct PCRCallsDecodingTests {
    /// A message cut short anywhere is refused, and so is one with a byte too many.
    private func isExact<T: WireCodable>(_: T.Type, _ wire: [UInt8]) -> Bool {
        for count in 0..<wire.count where (try? T(wire: Array(wire.prefix(count)))) != nil { return false }
        return (try? T(wire: wire))?.wire == wire && (try? T(wire: wire + [0])) == nil
    }

    @Test func requestsAndRepliesAreDecodedWhole() {
        let selection = [PCRSelection(.sha256, pcrs: [0, 23])]
        let digests = [TaggedDigest(.sha1, [UInt8](repeating: 7, count: 20)), ones]
        #expect(isExact(PCRCalls.Startup.Request.self, PCRCalls.Startup.Request(state: true).wire))
        #expect(isExact(PCRCalls.Extend.Request.self, PCRCalls.Extend.Request(pcr: 10, digests: digests).wire))
        #expect(isExact(PCRCalls.Values.Request.self, PCRCalls.Values.Request(guest: [1, 2], selection: selection).wire))
        #expect(isExact(
            PCRCalls.Values.Reply.self,
            PCRCalls.Values.Reply(generation: 1, bootCount: 4, updateCounter: 2, locality: 3, digests: digests).wire))
    }

    @Test func extendHasVisibleBytes() {
        let wire = PCRCalls.Extend.Request(pcr: 10, digests: [TaggedDigest(.sha1, [UInt8](repeating: 7, count: 20))]).wire
        #expect(wire == [0x0A, 0, 0, 0, 1, 0x00, 0x04] + [UInt8](repeating: 7, count: 20))
    }
}
