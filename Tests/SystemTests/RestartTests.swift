// kill -9 in the middle of anything: paratpm-pcr, paratpm-policy and paratpm-device die under a guest that works (D9).
import Foundation
import IPC
import Testing
import TPMCrypto
import TPMWire
import Wire

/// A guest's client that repeats what it is told to repeat.
private final class Persistent {
    /// A service that is killed quickly and often comes back after pauses, and on a busy machine later still.
    private static let triesMax = 200
    /// Between two tries, in microseconds, as a client's driver would wait.
    private static let pause: UInt32 = 20_000
    let connection: TPMConnection
    /// How often it was told to.
    private(set) var retries = 0

    init(_ connection: TPMConnection) { self.connection = connection }

    /// The first answer that is not TPM_RC_RETRY.
    func run(_ command: () throws -> ResponseMessage) throws -> ResponseMessage {
        for _ in 0..<Self.triesMax {
            let response = try command()
            if response.code != .retry { return response }
            retries += 1
            usleep(Self.pause)
        }
        throw HarnessError("TPM_RC_RETRY for ever")
    }

    func run(
        _ code: TPMCommandCode, _ handles: [TPMHandle] = [], passwords: [[UInt8]] = [], _ parameters: (inout WireWriter) -> Void = { _ in }
    ) throws -> ResponseMessage {
        try run { try connection.run(code, handles, passwords: passwords, parameters) }
    }

    /// A session, whose StartAuthSession may be told to repeat.
    func session(_ make: () throws -> ClientSession) throws -> ClientSession {
        for _ in 0..<Self.triesMax {
            do { return try make() } catch let error as HarnessError where error.description == "StartAuthSession: 922" {
                retries += 1
                usleep(Self.pause)
            }
        }
        throw HarnessError("TPM_RC_RETRY for ever")
    }
}

/// Kills a broker's services at random times, in a thread of its own, until it is told to stop.
private final class Killer: @unchecked Sendable {
    private let lock = NSLock()
    private var isStopped = false
    private(set) var kills = 0
    private let done = DispatchSemaphore(value: 0)

    init(_ broker: Broker, _ services: [String], every pause: ClosedRange<UInt32>) {
        let directory = broker.directory.path
        Thread.detachNewThread { [self] in
            var random = SystemRandomNumberGenerator()
            while !lock.withLock({ isStopped }) {
                usleep(UInt32.random(in: pause, using: &random))
                guard let service = services.randomElement(using: &random) else { break }
                for pid in Self.processes(service, directory) where kill(pid, SIGKILL) == 0 { kills += 1 }
            }
            done.signal()
        }
    }

    func stop() {
        guard lock.withLock({ () -> Bool in defer { isStopped = true }; return !isStopped }) else { return }
        done.wait()
    }

    private static func processes(_ service: String, _ directory: String) -> [pid_t] {
        let listing = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return listing.compactMap { pid_t($0) }.filter { pid in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
            let words = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return words.first?.hasSuffix("/" + service) == true && words.contains(directory)
        }
    }
}

/// How long a service was away, told by the thread that killed it; nil: it is away still.
private final class Outage: @unchecked Sendable {
    private let lock = NSLock()
    private var length: TimeInterval? = 0

    var seconds: TimeInterval? { lock.withLock { length } }
    func begin() { lock.withLock { length = nil } }
    func end(_ seconds: TimeInterval) { lock.withLock { length = seconds } }
}

@Suite(.serialized) struct RestartTests {
    /// Extends, quotes, seals, unseals and walks through policies, and compares with the arithmetic.
    private func work(_ guest: Persistent, rounds: Int, isOver: () -> Bool) throws {
        let c = guest.connection
        let srk = try guest.run { try c.run(.createPrimary, [.owner], passwords: [[]], creation(Template.eccStorage)) }
        let parent = try #require(srk.handle)
        let area = try parsedArea(srk)
        let key = try loaded(guest, Template.eccSigning(Scheme(.ecdsa, .sha256), restricted: true), [], parent)
        var expected = [UInt8](repeating: 0, count: 32)
        var round = 0
        while round < rounds || !isOver() {
            round += 1
            let event = digest(.sha256, UInt64(round).wire)
            #expect(try guest.run(.pcrExtend, [TPMHandle(10)], passwords: [[]]) { $0.list([TaggedDigest(.sha256, event)]) }.code == .success)
            expected = digest(.sha256, expected, event)
            // An HMAC session salted with the storage key, as Linux uses it.
            let session = try guest.session { try ClientSession(c, saltKey: (parent, area)) }
            let hmacExtended = try guest.run {
                try ClientSession.run(c, .pcrExtend, [Entity(TPMHandle(10))], [.init(session, [])], authorized: 1) {
                    $0.list([TaggedDigest(.sha256, event)])
                }
            }
            #expect(hmacExtended.code == .success)
            expected = digest(.sha256, expected, event)
            #expect(try pcr10(guest) == expected, "round \(round)")
            try unsealUnderPolicy(guest, parent, expected, secret: event)
            try quote(guest, key, expected, nonce: event)
        }
        #expect(try pcr10(guest) == expected)
    }

    private func pcr10(_ guest: Persistent) throws -> [UInt8] {
        let read = try guest.run(.pcrRead) { $0.list([PCRSelection(.sha256, pcrs: [10])]) }
        try #require(read.code == .success)
        return Array(read.parameters.suffix(32))
    }

    private func parsedArea(_ response: ResponseMessage) throws -> PublicArea {
        var reader = WireReader(response.parameters)
        return try reader.value(Sized<PublicArea>.self).value
    }

    private func loaded(_ guest: Persistent, _ template: PublicArea, _ data: [UInt8], _ parent: TPMHandle) throws -> TPMHandle {
        let created = try Created(try guest.run(.create, [parent], passwords: [[]], creation(template, data: data)))
        let response = try guest.run { try guest.connection.load(created, under: parent) }
        return try #require(response.handle, "Load: \(response.code)")
    }

    /// PolicyPCR and PolicyCommandCode, step by step, then Unseal.
    private func unsealUnderPolicy(_ guest: Persistent, _ parent: TPMHandle, _ pcr: [UInt8], secret: [UInt8]) throws {
        let c = guest.connection
        let selection = [PCRSelection(.sha256, pcrs: [10])]
        var pcrs = WireWriter()
        pcrs.list(selection)
        let zero = [UInt8](repeating: 0, count: 32)
        let afterPCR = digest(.sha256, zero, TPMCommandCode.policyPCR.wire, pcrs.bytes, digest(.sha256, pcr))
        let policy = digest(.sha256, afterPCR, TPMCommandCode.policyCommandCode.wire, TPMCommandCode.unseal.wire)
        let template = Template.sealed(policy: policy, attributes: [.fixedTPM, .fixedParent, .noDA])
        let object = try loaded(guest, template, secret, parent)
        let session = try guest.session { try ClientSession(c, type: 1) }
        let steps = [
            try guest.run(.policyPCR, [session.handle]) { $0.sized16([UInt8]()); $0.raw(pcrs.bytes) },
            try guest.run(.policyCommandCode, [session.handle]) { $0.value(TPMCommandCode.unseal) },
        ]
        #expect(steps.map(\.code) == [.success, .success])
        let name = try guest.run(.readPublic, [object]).parameters
        var reader = WireReader(name)
        _ = try reader.sized16()
        let entity = Entity(object, name: try reader.sized16())
        let unsealed = try guest.run { try ClientSession.run(c, .unseal, [entity], [.init(session, [])], authorized: 1) }
        #expect(unsealed.code == .success)
        #expect(unsealed.parameters == UInt16(secret.count).wire + secret)
        try #require(guest.run(.flushContext, []) { $0.value(object) }.code == .success)
    }

    private func quote(_ guest: Persistent, _ key: TPMHandle, _ pcr: [UInt8], nonce: [UInt8]) throws {
        let quoted = try guest.run(.quote, [key], passwords: [[]]) {
            $0.sized16(nonce)
            Scheme.null.encode(to: &$0)
            $0.list([PCRSelection(.sha256, pcrs: [10])])
        }
        #expect(quoted.code == .success)
        var reader = WireReader(quoted.parameters)
        let attest = try reader.sized16()
        #expect(Array(attest.suffix(32)) == digest(.sha256, pcr))
    }

    private func kill(_ broker: Broker, _ service: String = "paratpm-policy", by signal: Int32 = SIGKILL) throws {
        var pids: [pid_t] = []
        // One that dies again and again comes back after pauses.
        try eventually("\(service) is there") {
            pids = (try? broker.processes { $0.contains("/\(service) ") }) ?? []
            return pids.count == 1
        }
        for pid in pids { Glibc.kill(pid, signal) }
    }

    /// PCR_Extend is answered before paratpm-pcr has made it. It stops, does not hear of it, and dies.
    @Test func anAnsweredExtendHappensOnceWhateverBecomesOfPCR() throws {
        let broker = try Broker()
        let emulator = try Emulator(broker)
        defer { withExtendedLifetime((broker, emulator)) {} }
        let guest = Persistent(try emulator.connect())
        var event = [UInt8](repeating: 7, count: 32)
        var expected = [UInt8](repeating: 0, count: 32)
        func extend() throws {
            let extended = try guest.run(.pcrExtend, [TPMHandle(10)], passwords: [[]]) { $0.list([TaggedDigest(.sha256, event)]) }
            #expect(extended.code == .success)
            expected = digest(.sha256, expected, event)
            event[0] += 1
        }
        for _ in 0..<40 { try extend() }
        #expect(try pcr10(guest) == expected)
        for _ in 0..<2 {
            // Its answer is awaited: the paratpm-pcr that is there now has the proxy's channel.
            #expect(try guest.run(.pcrReset, [TPMHandle(16)], passwords: [[]]).code == .success)
            try kill(broker, "paratpm-pcr", by: SIGSTOP)
            for _ in 0..<3 { try extend() }
            try kill(broker, "paratpm-pcr")
            // Behind those that were lost, not before them
            try extend()
            #expect(try pcr10(guest) == expected)
            try extend()
            // One that paratpm-pcr has made before it dies is not made again.
            #expect(try pcr10(guest) == expected)
            try kill(broker, "paratpm-pcr")
            #expect(try pcr10(guest) == expected)
            try extend()
        }
        #expect(try pcr10(guest) == expected)
    }

    /// A guest that is reset begins with what its new boot measures, not with what the old one measured last.
    @Test func aPostedExtendDoesNotOutliveTheBoot() throws {
        let broker = try Broker()
        let emulator = try Emulator(broker)
        defer { withExtendedLifetime((broker, emulator)) {} }
        let guest = Persistent(try emulator.connect())
        let extended = try guest.connection.run(.pcrExtend, [TPMHandle(10)], passwords: [[]]) {
            $0.list([TaggedDigest(.sha256, [UInt8](repeating: 7, count: 32))])
        }
        #expect(extended.code == .success)
        // CMD_INIT
        #expect(try TPMConnection(emulator.controlSocket).exchange([0, 0, 0, 2, 0, 0, 0, 0], answer: 4) == [0, 0, 0, 0])
        #expect(try guest.run(.startup) { $0.u16(0) }.code == .success)
        #expect(try pcr10(guest) == [UInt8](repeating: 0, count: 32))
    }

    /// Dies between any two commands of a session, whose nonce somebody agreed to, and of whose TPM_RC_RETRY a guest hears nothing.
    @Test func aPolicySessionOutlivesThePolicyChecker() throws {
        let broker = try Broker()
        let emulator = try Emulator(broker)
        defer { withExtendedLifetime((broker, emulator)) {} }
        let tpm = try emulator.connect()
        var pcrs = WireWriter()
        pcrs.list([PCRSelection(.sha256, pcrs: [10])])
        let zero = [UInt8](repeating: 0, count: 32)
        let afterPCR = digest(.sha256, zero, TPMCommandCode.policyPCR.wire, pcrs.bytes, digest(.sha256, zero))
        let afterCode = digest(.sha256, afterPCR, TPMCommandCode.policyCommandCode.wire, TPMCommandCode.unseal.wire)
        let policy = digest(.sha256, digest(.sha256, afterCode, TPMCommandCode.policySecret.wire, TPMHandle.owner.wire))

        let parent = try tpm.primary(Template.eccStorage).handle
        let template = Template.sealed(policy: policy, attributes: [.fixedTPM, .fixedParent, .noDA])
        try kill(broker)
        let created = try Created(try tpm.run(.create, [parent], passwords: [[]], creation(template, data: [1, 2, 3])))
        let object = Entity(try #require(try tpm.load(created, under: parent).handle), name: created.publicArea.name)
        try kill(broker)
        let session = try ClientSession(tpm, type: 1)
        for round in 0..<2 {
            // A service that dies again and again comes back after pauses.
            func killChecker() throws { if round == 0 { try kill(broker) } }
            try killChecker()
            #expect(try tpm.run(.policyPCR, [session.handle]) { $0.sized16([UInt8]()); $0.raw(pcrs.bytes) }.code == .success)
            try killChecker()
            #expect(try tpm.run(.policyCommandCode, [session.handle]) { $0.value(TPMCommandCode.unseal) }.code == .success)
            try killChecker()
            let agreed = try tpm.run(.policySecret, [.owner, session.handle], passwords: [[]]) {
                $0.sized16(session.nonceTPM)
                $0.raw([0, 0, 0, 0, 0, 0, 0, 60])
            }
            #expect(agreed.code == .success)
            #expect(try tpm.run(.policyGetDigest, [session.handle]).parameters == [0, 32] + policy)
            try killChecker()
            // The session goes on, with another nonce and the empty policy.
            let unsealed = try ClientSession.run(tpm, .unseal, [object], [.init(session)], authorized: 1)
            #expect(unsealed.code == .success && unsealed.parameters == [0, 3, 1, 2, 3])
        }
    }

    /// A service that served for a while and dies in the middle of the guest's work. On a machine so busy that it is not back in half a second
    /// a guest may be told to repeat once more for each 0.6 s, the wait of a PCR_Extend.
    @Test(arguments: ["paratpm-pcr", "paratpm-policy", "paratpm-device"])
    func oneDeathIsAtMostOneRetry(_ service: String) throws {
        let broker = try Broker()
        let emulator = try Emulator(broker)
        defer { withExtendedLifetime((broker, emulator)) {} }
        let guest = Persistent(try emulator.connect())
        try #require(guest.run(.getRandom) { $0.u16(8) }.code == .success)
        var (kills, before, next) = (0, guest.retries, Date().addingTimeInterval(1))
        let outage = Outage()
        let socket = "\(broker.directory.path)/run/\(service.dropFirst("paratpm-".count)).sock"
        try work(guest, rounds: 3) {
            guard Date() > next, let seconds = outage.seconds else { return false }
            #expect(guest.retries - before <= (seconds < 0.5 ? 1 : 2 + Int(seconds / 0.6)), "death \(kills) of \(service), for \(seconds) s")
            guard kills < 4 else { return true }
            (before, next) = (guest.retries, Date().addingTimeInterval(1.5))
            kills += 1
            let delay = UInt32.random(in: 0...50_000)
            let victims = try? broker.processes { $0.contains("/\(service) ") }
            #expect(victims?.count == 1)
            outage.begin()
            Thread.detachNewThread {
                usleep(delay)
                for pid in victims ?? [] { Glibc.kill(pid, SIGKILL) }
                let death = Date()
                usleep(1_000)
                while (try? Channel.connect(socket)) == nil { usleep(5_000) }
                outage.end(Date().timeIntervalSince(death))
            }
            return false
        }
        #expect(kills == 4)
    }

    @Test(arguments: [["paratpm-pcr"], ["paratpm-policy"], ["paratpm-device"], ["paratpm-pcr", "paratpm-policy", "paratpm-device"]])
    func theGuestGoesOn(_ services: [String]) throws {
        let broker = try Broker()
        let emulator = try Emulator(broker)
        defer { withExtendedLifetime((broker, emulator)) {} }
        let guest = Persistent(try emulator.connect())
        // Once the guest's door is there.
        try #require(guest.run(.getRandom) { $0.u16(8) }.code == .success)
        let killer = Killer(broker, services, every: 300_000...900_000)
        let end = Date().addingTimeInterval(getenv("PARATPM_LONG") == nil ? 4 : 120)
        defer { killer.stop() }
        try work(guest, rounds: 3) { Date() > end }
        killer.stop()
        #expect(killer.kills > 0)
    }
}
