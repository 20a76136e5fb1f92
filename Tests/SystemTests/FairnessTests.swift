// Two guests, each with a proxy of its own, at one chip; and the command that its platform cancels.
import Foundation
import TPMCrypto
import TPMWire
import Testing
import Wire

@Suite(.serialized) struct FairnessTests {
    private func reload(_ broker: Broker, _ lines: String) throws {
        try FileManager.default.createDirectory(atPath: broker.directory.path + "/policy.d", withIntermediateDirectories: true)
        let text = "[profile.default]\n" + lines
        try text.write(toFile: broker.directory.path + "/policy.d/host.toml", atomically: true, encoding: .utf8)
        try #require(try run(Programs.path("paratpmctl"), ["policy", "reload", "--dir", broker.directory.path]).status == 0)
    }

    /// One guest has RSA keys made without end; the other signs. What counts is who is served how often, not how fast.
    @Test func aGuestThatHammersCreateDoesNotStarveAnother() throws {
        let broker = try Broker()
        let (busy, modest) = (try Emulator(broker), try Emulator(broker))
        defer { withExtendedLifetime((broker, busy, modest)) {} }
        let hammer = try Hammer(try busy.connect())
        let tpm = try modest.connect()
        let key = try tpm.primary(Template.eccSigning(Scheme(.ecdsa, .sha256))).handle
        func sign() throws -> UInt32 {
            try tpm.run(.sign, [key], passwords: [[]]) {
                $0.sized16(digest(.sha256, [1]))
                Scheme.null.encode(to: &$0)
                $0.value(Ticket.null(StructureTag.hashCheck))
            }.code.rawValue
        }
        hammer.start()
        try eventually("a key is made") { hammer.keys > 0 }
        let before = hammer.keys
        let signatures = 60
        for _ in 0..<signatures { #expect(try sign() == 0) }
        let between = hammer.keys - before
        hammer.stop()
        #expect(hammer.failures == 0)
        // In turn, there would be a key for each signature.
        #expect(between < signatures / 2, "\(between) keys between \(signatures) signatures")
    }

    @Test func aCommandThatWaitsForTheChipIsCancelledAndNoOther() throws {
        let broker = try Broker()
        let guest = try Emulator(broker)
        defer { withExtendedLifetime((broker, guest)) {} }
        let (tpm, control) = (try guest.connect(), try TPMConnection(guest.controlSocket))
        func cancel() throws { #expect(try control.exchange([0, 0, 0, 9], answer: 4) == [0, 0, 0, 0]) }
        func template(_ number: UInt8) -> (inout WireWriter) -> Void { creation(Template.eccStorage, data: [number]) }
        try reload(broker, "operations-per-second = 1\n")
        // Nothing is executed: nothing is cancelled.
        try cancel()
        #expect(try tpm.run(.createPrimary, [.owner], passwords: [[]], template(1)).code == .success)
        var cancelled = 0
        for number: UInt8 in 2...4 {
            var writer = WireWriter()
            template(number)(&writer)
            let command = CommandMessage(
                .createPrimary, handles: [.owner], sessions: [AuthCommand(handle: .password, attributes: [.continueSession])],
                parameters: writer.bytes)
            try tpm.send(command.bytes)
            usleep(150_000)
            try cancel()
            let code = try tpm.response()[6..<10].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            #expect([0, 0x909].contains(code), "0x\(String(code, radix: 16))")
            if code == 0x909 { cancelled += 1 }
        }
        #expect(cancelled > 0)
        try reload(broker, "")
        #expect(try tpm.run(.createPrimary, [.owner], passwords: [[]], template(9)).code == .success)
    }
}

/// Has RSA keys made in a thread of its own.
private final class Hammer: @unchecked Sendable {
    private let tpm: TPMConnection
    private let parent: TPMHandle
    // SAFETY: touched with the lock held.
    private let lock = NSLock()
    private var made = 0
    private var failed = 0
    private var goesOn = true
    private let ended = DispatchSemaphore(value: 0)

    init(_ tpm: TPMConnection) throws {
        self.tpm = tpm
        parent = try tpm.primary(Template.eccStorage).handle
    }

    var keys: Int { lock.withLock { made } }
    var failures: Int { lock.withLock { failed } }

    func start() {
        Thread.detachNewThread { [self] in
            let template = PublicArea(
                nameAlgorithm: .sha256, attributes: [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .decrypt],
                parameters: .rsa(symmetric: .null, scheme: .null, keyBits: 2048, exponent: 0), unique: .rsa([]))
            while lock.withLock({ goesOn }) {
                let code = try? tpm.run(.create, [parent], passwords: [[]], creation(template)).code
                lock.withLock { if code == .success { made += 1 } else { failed += 1 } }
            }
            ended.signal()
        }
    }

    func stop() {
        lock.withLock { goesOn = false }
        ended.wait()
    }
}
