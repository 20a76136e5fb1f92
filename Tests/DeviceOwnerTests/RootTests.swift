// The host root and the guests' roots: found again, never overwritten, refused when they are not ours.
import ChipClient
import Glibc
import GuestIdentity
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing

@testable import DeviceOwner

@Suite(.serialized) struct RootTests {
    let bench: DeviceBench
    init() throws { bench = try DeviceBench() }

    private func device() throws -> Device { try Device(bench.configuration) }

    @Test func aGuestsSecretIsTheSameNextTime() throws {
        let first = try bench.device().guestSecret(bench.guest)
        #expect(first.count == 32)
        #expect(try bench.device().guestSecret(bench.guest) == first)
        let device = try bench.device()
        try device.ensureGuest(bench.otherGuest)
        #expect(try device.guestSecret(bench.otherGuest) != first)
    }

    @Test func aForgottenGuestIsGone() throws {
        let device = try bench.device()
        let first = try device.guestSecret(bench.guest)
        let twin = try device.twin(.sealed, data: [1], for: bench.guest)
        #expect(try device.unseal(twin) == [1])
        try device.forgetGuest(bench.guest)
        #expect(throws: CallStatus.self) { try device.unseal(twin) }
        #expect(throws: CallStatus.self) { try device.guestSecret(bench.guest) }
        try device.ensureGuest(bench.guest)
        #expect(try device.guestSecret(bench.guest) != first)
        #expect(throws: CallStatus.self) { try device.unseal(twin) }
    }

    @Test func anotherChipIsRefused() throws {
        _ = try bench.device()
        let other = try SimulatedChip(in: bench.directory.path, name: "other")
        var configuration = bench.configuration
        configuration.chip = ChipAddress("stream:\(other.socket)")
        #expect(throws: Failure.self) { try Device(configuration) }
    }

    @Test func anotherChipUnderARunningDeviceIsRefused() throws {
        let device = try bench.device()
        let twin = try device.twin(.sealed, data: [1], for: bench.guest)
        bench.chip.kill()
        unlink(bench.directory.path + "/chip/tpm2-00.permall")
        try bench.chip.start()
        #expect(throws: CallStatus(rawValue: TPMRC.failure.rawValue)) { try device.unseal(twin) }
    }

    @Test func aForeignKeyAtTheHandleIsNotOverwritten() throws {
        let foreign = try bench.direct { chip in
            let (handle, area) = try chip.createPrimary(RootTemplate.guest(bench.guest), in: .owner, auth: .empty)
            try chip.makePersistent(Entity(handle, name: area.name), at: HostRoot.standardHandle, ownerAuth: .empty)
            return area
        }
        #expect(throws: Failure.self) { try device() }
        #expect(try bench.direct { chip in try chip.readPublic(HostRoot.standardHandle) } == foreign)
        var configuration = bench.configuration
        configuration.hostHandle = TPMHandle(0x8101_0A51)
        _ = try Device(configuration)
    }

    @Test func anEvictedHostRootIsMadeAgain() throws {
        let first = try bench.device().guestSecret(bench.guest)
        try bench.direct { chip in
            let area = try #require(try chip.readPublic(HostRoot.standardHandle))
            let root = Entity(HostRoot.standardHandle, name: area.name)
            try chip.makePersistent(root, at: HostRoot.standardHandle, ownerAuth: .empty)
            #expect(try chip.readPublic(HostRoot.standardHandle) == nil)
        }
        #expect(try device().guestSecret(bench.guest) == first)
    }

    @Test func aLostHostRecordIsWrittenAgain() throws {
        let first = try bench.device().guestSecret(bench.guest)
        unlink(bench.directory.instance.hostRecord)
        #expect(try device().guestSecret(bench.guest) == first)
        #expect(try Files.read(bench.directory.instance.hostRecord, max: 100) != nil)
    }

    @Test func aDamagedHostRecordIsRefusedAndKept() throws {
        _ = try bench.device()
        let path = bench.directory.instance.hostRecord
        try Files.write(path, [1, 2, 3], mode: 0o600, replacing: true)
        #expect(throws: Failure.self) { try device() }
        #expect(try Files.read(path, max: 100) == [1, 2, 3])
    }

    @Test func damagedGuestRecordsAreRefusedAndKept() throws {
        _ = try bench.device()
        let path = bench.directory.instance.guestRecord(bench.guest)
        let good = try #require(try Files.read(path, max: GuestRecord.largest))
        for length in stride(from: 0, to: good.count, by: 7) {
            let damaged = Array(good.prefix(length))
            try Files.write(path, damaged, mode: 0o600, replacing: true)
            #expect(throws: CallStatus.self) { try device().ensureGuest(bench.guest) }
            #expect(try Files.read(path, max: GuestRecord.largest) == damaged)
        }
        try Files.write(path, good, mode: 0o600, replacing: true)
        try device().ensureGuest(bench.guest)
    }

    @Test func anotherGuestsRecordIsRefused() throws {
        _ = try bench.device()
        let (mine, other) = (bench.directory.instance.guestRecord(bench.guest), bench.directory.instance.guestRecord(bench.otherGuest))
        try Files.write(other, try #require(try Files.read(mine, max: GuestRecord.largest)), mode: 0o600, replacing: true)
        #expect(throws: CallStatus.self) { try device().guestSecret(bench.otherGuest) }
    }

    @Test func theOwnersAuthIsUsedAndNeverSent() throws {
        let auth = Array("owner secret 12345".utf8)
        try bench.direct { chip in
            var parameters: [UInt8] = [0, UInt8(auth.count)]
            parameters += auth
            _ = try chip.run(ChipCommand(
                code: .hierarchyChangeAuth, entities: [Entity(permanent: .owner)], authorization: .password,
                parameters: parameters))
        }
        let before = bench.bus.traffic.count
        #expect(throws: Failure.self) { try device() }
        var configuration = bench.configuration
        configuration.ownerAuth = Secret(auth)
        try Device(configuration).ensureGuest(bench.guest)
        #expect(!bench.bus.traffic.dropFirst(before).contains { $0.contains(auth) })
        // The auth was needed once.
        #expect(try device().guestSecret(bench.guest).count == 32)
    }
}
