// The rest of the table of docs/threat-model.md: what a taken-over proxy sends that is no call of its own, and what it sends too much of. Whatever it is,
// another guest is served beside it, and the services stay as they were.
import CSystem
import Foundation
import IPC
import RunningService
import SystemMap
import Testing
import TPMWire
import Wire

@Suite(.serialized) struct HostileMessageTests {
    let broker: Broker
    let proxy: TakenOverProxy
    private let services: [pid_t]

    init() throws {
        broker = try Broker()
        proxy = try TakenOverProxy(broker)
        try proxy.startup()
        services = try Self.services(broker)
    }

    private static func services(_ broker: Broker) throws -> [pid_t] {
        try broker.processes { line in ServiceName.allCases.contains { line.contains("/paratpm-\($0.rawValue) ") } }.sorted()
    }

    /// An honest guest works beside the hostile one, with the same services as before.
    private func othersLive() throws {
        let guest = try Emulator(broker)
        let tpm = try guest.connect()
        let parent = try tpm.primary(Template.eccStorage).handle
        let created = try Created(try tpm.run(.create, [parent], passwords: [[]], creation(Template.sealed(), data: [1, 2, 3])))
        let object = try #require(try tpm.load(created, under: parent).handle)
        #expect(try tpm.run(.unseal, [object], passwords: [[]]).parameters == [0, 3, 1, 2, 3])
        #expect(try tpm.extendPCR(10, [TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))]) == .success)
        #expect(try Self.services(broker) == services)
    }

    /// The status of the answer to a message; nil: the service ended the connection.
    private func answer(_ message: [UInt8], _ channel: Channel) throws -> UInt32? {
        do {
            try channel.send(message)
            return try UInt32(wire: Array(try channel.receive().bytes.prefix(4)))
        } catch IPCError.disconnected { return nil }
    }

    // MARK: Malformed messages

    @Test func truncatesMessagesAtEveryLength() throws {
        for message in ProxyMessage.all() {
            let channel = proxy.services.first { $0.name == message.service }?.channel
            let what = "\(message.service) \(message.number)"
            for count in 1..<message.bytes.count {
                #expect(try answer(Array(message.bytes.prefix(count)), #require(channel)) == malformed, "\(what): \(count) bytes")
            }
            #expect(try answer(message.bytes + [0], #require(channel)) == malformed, "\(what): a byte more")
        }
        try othersLive()
    }

    @Test func makesEveryCallThatIsNotAProxys() throws {
        let own = ProxyMessage.all()
        for (name, channel) in proxy.services {
            // A proxy may withdraw and announce, and gets no answer to that.
            let allowed = Set(own.filter { $0.service == name }.map(\.number) + [DeviceCalls.Withdraw.number, PCRCalls.TakePosted.number])
            for number in (UInt16(0)...1023).filter({ !allowed.contains($0) }) + [4096, 0x7FFF, 0x8000, .max] {
                let status = try answer(number.wire + [UInt8](repeating: 0, count: 40), channel)
                #expect(status == notPermitted || status == CallStatus.unknownCall.rawValue, "\(name) \(number)")
            }
        }
        try othersLive()
    }

    @Test func withdrawsWhatDoesNotWait() throws {
        for _ in 0..<100 { try proxy.device.send(DeviceCalls.Withdraw.number.wire) }
        #expect(try proxy.device.call(DeviceCalls.Random.self, 8).bytes.count == 8)
        try othersLive()
    }

    @Test func postsExtends() throws {
        let request = PCRCalls.Extend.Request(pcr: 16, digests: [TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))])
        let message = PCRCalls.PostedExtend(change: 0, request).wire
        let page = try #require(VPCRPage(proxy.page, writable: false))
        let values = try #require(page.read())
        func announce() throws {
            try proxy.pcr.tell(PCRCalls.TakePosted.self, Nothing())
            _ = try proxy.pcr.call(PCRCalls.AbortEvent.self, Nothing())
        }
        for malformed in (1..<message.count).map({ Array(message.prefix($0)) }) + [message + [0], PCRCalls.PostedExtend(change: 9, .init(pcr: 17, digests: [])).wire] {
            try proxy.posts.send(malformed)
            try announce()
        }
        #expect(page.read() == values)
        // As many as a socket holds: paratpm-pcr takes some at a time.
        var count = 0
        while csystem_send(proxy.posts.descriptor.raw, message, message.count, nil, 0, Int32(MSG_DONTWAIT)) > 0 { count += 1 }
        #expect(count > PCRCalls.PostedExtend.waitingMax)
        try othersLive()
        for _ in 0..<count { try announce() }
        #expect(page.read()?.digest(.sha256, 16) != values.digest(.sha256, 16))
        #expect(csystem_send(proxy.posts.descriptor.raw, message, message.count, nil, 0, Int32(MSG_DONTWAIT)) > 0)
        try othersLive()
    }

    @Test func sendsRandomMessages() throws {
        var generator = SystemRandomNumberGenerator()
        let numbers = Dictionary(grouping: ProxyMessage.all(), by: \.service)
        for (name, channel) in proxy.services {
            for message in numbers[name] ?? [] {
                for size in [0, 1, 2, 7, 64, 1000, Frame.largest - 2] {
                    let random = (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) }
                    #expect(try answer(message.number.wire + random, channel) != nil, "\(name) \(message.number)")
                }
                // Well-formed but for one bit
                for _ in 0..<64 {
                    var changed = message.bytes
                    guard let place = (2..<changed.count).randomElement(using: &generator) else { break }
                    changed[place] ^= 1 << UInt8.random(in: 0...7, using: &generator)
                    #expect(try answer(changed, channel) != nil, "\(name) \(message.number)")
                }
            }
        }
        try othersLive()
    }

    @Test func sendsOversizedMessages() throws {
        for (_, channel) in proxy.services {
            var message = [UInt8](repeating: 1, count: Frame.largest + 1)
            #expect(csystem_send(channel.descriptor.raw, &message, message.count, nil, 0, 0) == message.count)
            #expect(throws: IPCError.disconnected) { try channel.receive() }
        }
        try othersLive()
    }

    @Test func sendsDescriptors() throws {
        let before = try descriptors()
        for (_, channel) in proxy.services {
            for _ in 0..<200 {
                try channel.send(UInt16(9999).wire, descriptors: [proxy.page, proxy.page, proxy.page, proxy.page])
                _ = try channel.receive()
            }
        }
        #expect(try descriptors() == before)
        try othersLive()
    }

    @Test func answersItsDoorUnasked() throws {
        for size in [1, 4, 64, 1000] {
            try proxy.door.send([UInt8](repeating: 0, count: size), descriptors: [proxy.page])
        }
        // The door starts another proxy in the place of one that does not behave.
        try eventually("the door did not stand it") { proxy.emulator.child.log.contains("starting another") }
        #expect(proxy.emulator.child.isRunning)
        try othersLive()
    }

    // MARK: Too much

    @Test func exhaustsHandles() throws {
        let twin = try proxy.createOwn(Template.eccSigning(Scheme(.ecdsa, .sha256))).twin
        var refused: UInt32?
        var count = 0
        while refused == nil && count <= 2 * DeviceCalls.Load.tableMax {
            refused = refusal { _ = try proxy.device.call(DeviceCalls.Load.self, twin) }
            count += 1
        }
        #expect(refused == CallStatus.quota.rawValue && count == DeviceCalls.Load.tableMax + 1)
        try othersLive()
    }

    @Test(arguments: [2, 64, Frame.largest]) func floodsWithoutReading(size: Int) throws {
        for (name, channel) in proxy.services {
            let before = try memory()
            let flood = Flood(channel, size: size)
            try othersLive()
            #expect(flood.end() > 0, "\(name)")
            #expect(try memory() < before + 8192, "kB, of all services, after a flood of \(name)")
        }
        #expect(try Self.services(broker) == services)
    }

    @Test func floodsTheChipsQueue() throws {
        let handle = try proxy.load(try proxy.createOwn(Template.eccSigning(Scheme(.ecdsa, .sha256))))
        let request = DeviceCalls.Sign.Request(handle: handle, digest: [UInt8](repeating: 1, count: 32), scheme: Scheme(.ecdsa, .sha256))
        let before = try memory()
        let flood = Flood(proxy.device, message: DeviceCalls.Sign.number.wire + request.wire)
        try othersLive()
        #expect(flood.end() > 0)
        #expect(try memory() < before + 8192)
    }

    /// Of the services: open descriptors.
    private func descriptors() throws -> Int {
        try services.map { try FileManager.default.contentsOfDirectory(atPath: "/proc/\($0)/fd").count }.reduce(0, +)
    }

    /// Of the services: kB.
    private func memory() throws -> Int {
        try services.map { pid in
            let line = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8).split(separator: "\n").first { $0.hasPrefix("VmRSS") }
            return Int(line?.split(whereSeparator: { $0 == " " || $0 == "\t" })[1] ?? "") ?? 0
        }.reduce(0, +)
    }
}

/// Sends one message again and again in a thread of its own, and reads no answer.
private final class Flood: @unchecked Sendable {
    private let lock = NSLock()
    private var isStopped = false
    private var sent = 0
    private let done = DispatchSemaphore(value: 0)

    convenience init(_ channel: Channel, size: Int) {
        self.init(channel, message: UInt16(9999).wire + [UInt8](repeating: 1, count: size - 2))
    }

    init(_ channel: Channel, message: [UInt8]) {
        let raw = dup(channel.descriptor.raw)
        Thread.detachNewThread { [self] in
            while !lock.withLock({ isStopped }) {
                if csystem_send(raw, message, message.count, nil, 0, Int32(MSG_DONTWAIT)) == message.count {
                    lock.withLock { sent += 1 }
                } else if errno == EAGAIN {
                    usleep(50)
                } else {
                    break
                }
            }
            close(raw)
            done.signal()
        }
    }

    /// - Returns: how many messages went out.
    func end() -> Int {
        lock.withLock { isStopped = true }
        done.wait()
        return lock.withLock { sent }
    }
}
