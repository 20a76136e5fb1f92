// The device owner at its socket: introductions, rights and tables of handles.
import Glibc
import GuestIdentity
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing

@testable import DeviceOwner

@Suite(.serialized) struct ServiceTests {
    let bench: DeviceBench
    let service: RunningService
    init() throws {
        bench = try DeviceBench()
        let configuration = bench.configuration
        service = try RunningService(.device, in: bench.directory) {
            guard let device = try? Device(configuration) else { preconditionFailure("the device does not start") }
            return DeviceService(device, configuration.instance).service
        }
    }

    private func status(_ body: () throws -> Void) -> CallStatus? {
        do {
            try body()
            return .ok
        } catch IPCError.status(let status) { return status } catch { return nil }
    }

    @Test func aProxyMakesAndUsesTwins() throws {
        let proxy = try bench.directory.addGuest("one").proxy(.device).channel
        let blob = try proxy.call(DeviceCalls.Create.self, .init(spec: .p256Signer, data: []))
        let handle = try proxy.call(DeviceCalls.Load.self, blob)
        let signature = try proxy.call(DeviceCalls.Sign.self, .init(handle: handle, digest: someDigest, scheme: ecdsa))
        #expect(Twin(blob, of: bench.guest).verifies(signature, someDigest))
        _ = try proxy.call(DeviceCalls.Release.self, handle)
        #expect(status { _ = try proxy.call(DeviceCalls.Unseal.self, handle) } == .unknownHandle)
        #expect(status { _ = try proxy.call(DeviceCalls.Release.self, handle) } == .unknownHandle)
        #expect(try proxy.call(DeviceCalls.GuestSecret.self, Nothing()).bytes.count == 32)
        #expect(try proxy.call(DeviceCalls.Random.self, 20).bytes.count == 20)
        #expect(status { _ = try proxy.call(DeviceCalls.Random.self, 257) } == .malformed)
    }

    @Test func credentialsAreNotTheProxysToOpen() throws {
        let proxy = try bench.directory.addGuest("one").proxy(.device).channel
        let handle = try proxy.call(DeviceCalls.Load.self, try proxy.call(DeviceCalls.Create.self, .init(spec: .rsaDecrypter, data: [])))
        let request = DeviceCalls.DecryptRSA.Request(
            handle: handle, cipherText: [1], scheme: Scheme(.oaep, .sha256), label: Array("IDENTITY".utf8) + [0])
        #expect(status { _ = try proxy.call(DeviceCalls.DecryptRSA.self, request) } == .notPermitted)
    }

    @Test func handlesAreGoodOnTheirConnectionOnly() throws {
        let guest = try bench.directory.addGuest("one")
        let (first, second) = (try guest.proxy(.device).channel, try guest.proxy(.device).channel)
        let blob = try first.call(DeviceCalls.Create.self, .init(spec: .sealed, data: [1, 2]))
        let handle = try first.call(DeviceCalls.Load.self, blob)
        #expect(status { _ = try second.call(DeviceCalls.Unseal.self, handle) } == .unknownHandle)
        #expect(try first.call(DeviceCalls.Unseal.self, handle).bytes == [1, 2])
    }

    @Test func aTableIsBounded() throws {
        let proxy = try bench.directory.addGuest("one").proxy(.device).channel
        let blob = try proxy.call(DeviceCalls.Create.self, .init(spec: .sealed, data: [1, 2]))
        for _ in 0..<DeviceCalls.Load.tableMax { _ = try proxy.call(DeviceCalls.Load.self, blob) }
        #expect(status { _ = try proxy.call(DeviceCalls.Load.self, blob) } == .quota)
    }

    @Test func twoGuestsHaveNothingInCommon() throws {
        let one = try bench.directory.addGuest("one").proxy(.device).channel
        let two = try bench.directory.addGuest("two").proxy(.device).channel
        let blob = try one.call(DeviceCalls.Create.self, .init(spec: .sealed, data: [1, 2]))
        let handle = try two.call(DeviceCalls.Load.self, blob)
        #expect(status { _ = try two.call(DeviceCalls.Unseal.self, handle) }?.rawValue == TPMRC.integrity.rawValue)
        let secrets = try [one, two].map { try $0.call(DeviceCalls.GuestSecret.self, Nothing()).bytes }
        #expect(secrets[0] != secrets[1])
    }

    @Test func strangersAndDoorsMayNotUseTheChip() throws {
        let guest = try bench.directory.addGuest("one")
        let (stranger, door) = (try bench.directory.connect(.device), try guest.door(.device))
        for channel in [stranger, door] {
            #expect(status { _ = try channel.call(DeviceCalls.GuestSecret.self, Nothing()) } == .notPermitted)
            #expect(status { _ = try channel.call(DeviceCalls.Random.self, 8) } == .notPermitted)
        }
        #expect(status { _ = try door.call(StatusCall.self, Nothing()) } == .notPermitted)
        #expect(status { _ = try stranger.exchange(Introduction.OpenProxyChannel.self, Nothing()) } == .notPermitted)
        let proxy = try guest.proxy(.device).channel
        #expect(status { _ = try proxy.exchange(Introduction.OpenProxyChannel.self, Nothing()) } == .notPermitted)
        #expect(status { _ = try proxy.call(DeviceCalls.ForgetGuest.self, Blob(guest.id.bytes)) } == .notPermitted)
    }

    @Test func administratorsSeeTheStateAndForgetGuests() throws {
        let guest = try bench.directory.addGuest("one")
        let proxy = try guest.proxy(.device).channel
        let admin = try bench.directory.connect(.device)
        let lines = try admin.call(StatusCall.self, Nothing()).lines
        #expect(lines.contains { $0.key == "manufacturer" && $0.value == "IBM" })
        #expect(lines.contains { $0.key == "guests" && $0.value == "1" })
        _ = try admin.call(DeviceCalls.ForgetGuest.self, Blob(guest.id.bytes))
        #expect(status { _ = try proxy.call(DeviceCalls.GuestSecret.self, Nothing()) }?.isTPM == true)
        #expect(status { _ = try admin.call(DeviceCalls.ForgetGuest.self, Blob([1])) } == .malformed)
    }

    // MARK: Introductions

    @Test func onlyTheRightKeyOpensTheDoor() throws {
        let guest = try bench.directory.addGuest("one")
        for (name, key) in [(guest.name, IdentityKey.generate()), (GuestName("nobody")!, guest.key)] {
            let channel = try bench.directory.connect(.device)
            #expect(throws: IPCError.status(.identityRefused)) { try introduce(channel, as: name, key: key, to: .device) }
            #expect(status { _ = try channel.exchange(Introduction.OpenProxyChannel.self, Nothing()) } == .notPermitted)
        }
    }

    @Test func aProofIsForOneServiceAndOneChallenge() throws {
        let guest = try bench.directory.addGuest("one")
        let channel = try bench.directory.connect(.device)
        #expect(throws: IPCError.status(.identityRefused)) {
            try introduce(channel, as: guest.name, key: guest.key, to: .pcr)
        }
        let challenge = try channel.call(Introduction.Hello.self, .init(name: "one")).bytes
        let proof = Blob(guest.key.sign(Introduction.message(service: .device, challenge: challenge, guest: guest.id)))
        #expect(status { _ = try channel.call(Introduction.Prove.self, Blob([])) } == .identityRefused)
        #expect(status { _ = try channel.call(Introduction.Prove.self, proof) } == .identityRefused)
        try introduce(channel, as: guest.name, key: guest.key, to: .device)
    }

    @Test func aGuestOfAnotherUserIsRefused() throws {
        let name = GuestName("theirs")!
        let instance = bench.directory.instance
        try GuestEnrolment.enrol(name: name, instance: instance)
        var registration = try #require(try GuestEnrolment.load(name, instance))
        registration.uid = geteuid() + 1
        try Files.write(instance.registration(name), registration.wire, mode: 0o644, replacing: true)
        let key = try GuestEnrolment.loadIdentity(in: instance.guestDirectory(name))
        let channel = try bench.directory.connect(.device)
        #expect(throws: IPCError.status(.identityRefused)) { try introduce(channel, as: name, key: key, to: .device) }
    }
}
