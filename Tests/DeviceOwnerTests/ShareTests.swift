// Shares of the chip as the device owner gives them, at its socket and on a real swtpm.
import Glibc
import HostPolicy
import IPC
import RunningService
import SystemMap
import TPMWire
import Testing

@testable import DeviceOwner
@testable import GuestIdentity

@Suite(.serialized) struct ShareTests {
    let bench: DeviceBench
    let service: RunningService

    init() throws {
        bench = try DeviceBench()
        let configuration = bench.configuration
        try Files.makeDirectory(configuration.instance.rulesDirectory, mode: 0o755)
        service = try RunningService(.device, in: bench.directory) {
            guard let device = try? Device(configuration), let book = try? PolicyBook(configuration.instance) else {
                preconditionFailure("the device does not start")
            }
            return DeviceService(device, configuration.instance, policy: book).service
        }
    }

    private func reload(_ change: (inout GuestPolicy) -> Void) throws {
        var set = PolicySet.builtIn
        change(&set.standard)
        try Files.write(bench.directory.instance.compiledPolicy, set.wire, mode: 0o644, replacing: true)
        _ = try bench.directory.connect(.device).call(ReloadPolicyCall.self, Nothing())
    }

    private func status(_ body: () throws -> Void) -> CallStatus? {
        do {
            try body()
            return .ok
        } catch IPCError.status(let status) { return status } catch { return nil }
    }

    @Test func keysPastTheMinutesAreRefusedAndOthersAreNot() throws {
        let (one, two) = (try bench.directory.addGuest("one").proxy(.device).channel, try bench.directory.addGuest("two").proxy(.device).channel)
        func makeKey(_ proxy: Channel) -> CallStatus? {
            status { _ = try proxy.call(DeviceCalls.Create.self, .init(spec: .p256Signer, data: [])) }
        }
        #expect((0..<4).allSatisfy { _ in makeKey(one) == .ok }, "no limit is built in")
        try reload { $0.share.keyGenerationsPerMinute = 2 }
        #expect([makeKey(one), makeKey(one), makeKey(one)] == [.ok, .ok, CallStatus(rawValue: TPMRC.retry.rawValue)])
        #expect(makeKey(two) == .ok)
        #expect(try one.call(DeviceCalls.Create.self, .init(spec: .sealed, data: [1])).hardwarePrivate.isEmpty == false, "data are no key")
        try reload { _ in }
        #expect(makeKey(one) == .ok)
    }

    @Test func operationsPastTheRateWait() throws {
        let proxy = try bench.directory.addGuest("one").proxy(.device).channel
        try reload { $0.share.operationsPerSecond = 5 }
        let began = nanoseconds()
        for _ in 0..<10 { _ = try proxy.call(DeviceCalls.Random.self, 8) }
        #expect(nanoseconds() - began >= 900_000_000)
    }

    @Test func proxiesOfOneGuestAreBounded() throws {
        let guest = try bench.directory.addGuest("one")
        var open = try (0..<ChipShares.proxiesMax).map { _ in try guest.proxy(.device).channel }
        #expect(status { _ = try guest.proxy(.device) } == .quota)
        _ = try bench.directory.addGuest("two").proxy(.device)
        open.removeLast()
        // The service hears of it in its next round.
        _ = try bench.directory.connect(.device).call(StatusCall.self, Nothing())
        #expect(status { _ = try guest.proxy(.device) } == .ok)
    }

    /// A greedy guest has RSA keys made, one after another; another guest's calls come one after another, too.
    @Test func aGreedyGuestDoesNotStarveAnother() throws {
        let greedy = Greedy(try bench.directory.addGuest("greedy").proxy(.device).channel)
        let modest = try bench.directory.addGuest("modest").proxy(.device).channel
        let handle = try modest.call(DeviceCalls.Load.self, try modest.call(DeviceCalls.Create.self, .init(spec: .p256Signer, data: [])))
        greedy.start()
        while greedy.keys == 0 { usleep(1000) }
        let before = greedy.keys
        let calls = 100
        for _ in 0..<calls { _ = try modest.call(DeviceCalls.Sign.self, .init(handle: handle, digest: someDigest, scheme: ecdsa)) }
        let between = greedy.keys - before
        greedy.stop()
        // Were they served in turn, there would be as many keys as signatures.
        #expect(between < calls / 2, "\(between) keys between \(calls) signatures")
    }
}

/// Asks for RSA keys in a thread of its own, without end.
private final class Greedy: @unchecked Sendable {
    private let channel: Channel
    // SAFETY: both are touched with the lock held.
    private var lock = pthread_mutex_t()
    private var made = 0
    private var goesOn = true
    private var thread = pthread_t()

    init(_ channel: Channel) {
        self.channel = channel
        pthread_mutex_init(&lock, nil)
    }

    var keys: Int { locked { made } }

    private func locked<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        return body()
    }

    func start() {
        pthread_create(&thread, nil, { argument in
            Unmanaged<Greedy>.fromOpaque(argument!).takeRetainedValue().run()
            return nil
        }, Unmanaged.passRetained(self).toOpaque())
    }

    func stop() {
        locked { goesOn = false }
        pthread_join(thread, nil)
    }

    private func run() {
        while locked({ goesOn }) {
            guard (try? channel.call(DeviceCalls.Create.self, .init(spec: .rsaDecrypter, data: []))) != nil else { return }
            locked { made += 1 }
        }
    }
}
