// Bound guests: the chip itself refuses their root on a host that booted otherwise.
import ChipClient
import GuestIdentity
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import DeviceOwner

@Suite(.serialized) struct GuestBindingTests {
    let bench: DeviceBench
    private let updateKey = ECCKeyPair.generate(.p256)
    private let selection = [PCRSelection(.sha256, pcrs: [0, 7])]
    init() throws { bench = try DeviceBench() }

    private func approval(_ values: [UInt8], for guest: GuestID, by key: ECCKeyPair? = nil) -> HostApproval {
        var approval = HostApproval(selection: selection, values: values, signature: .null)
        let (r, s) = (key ?? updateKey).signECDSA(digest: approval.signedDigest(for: guest))
        approval.signature = .ecc(.ecdsa, .sha256, r: r, s: s)
        return approval
    }
    private var area: PublicArea { RootTemplate.updateKey(updateKey.publicPoint) }

    /// A device that serves, a guest that is bound to the chip's present PCRs, and an administrator.
    private func bound() throws -> (service: RunningService, guest: TestGuest, admin: Channel) {
        let device = try Device(bench.configuration)
        let service = try RunningService(.device, in: bench.directory) { [bench] in DeviceService(device, bench.directory.instance).service }
        let guest = try bench.directory.addGuest("bound")
        let admin = try bench.directory.connect(.device)
        let values = try admin.call(HostCalls.ReadPCRs.self, selection[0]).bytes
        _ = try admin.call(BindingCalls.Bind.self, .init(guest: guest.id.bytes, updateKey: area, approval: approval(values, for: guest.id)))
        return (service, guest, admin)
    }

    /// A boot with something else in PCR 7.
    private func bootOtherwise() throws {
        bench.chip.kill()
        try bench.chip.start()
        try bench.direct { try $0.measure(7, digest(.sha256, [1])) }
    }

    @Test func aBoundGuestsKeysWorkWhileTheHostIsAsApproved() throws {
        let (service, guest, admin) = try bound()
        let proxy = try guest.proxy(.device).channel
        let secret = try proxy.call(DeviceCalls.GuestSecret.self, Nothing()).bytes
        #expect(secret.count == 32)
        let blob = try proxy.call(DeviceCalls.Create.self, .init(spec: .sealed, data: [1, 2, 3]))
        #expect(try proxy.call(DeviceCalls.Unseal.self, try proxy.call(DeviceCalls.Load.self, blob)).bytes == [1, 2, 3])
        #expect(try admin.call(BindingCalls.Binding.self, Blob(guest.id.bytes)).selection == selection)
        service.stop()
        let again = try Device(bench.configuration)
        #expect(try again.guestSecret(guest.id) == secret)
    }

    @Test func onAHostThatBootedOtherwiseTheyAreRefusedUntilThatIsApproved() throws {
        let (service, guest, _) = try bound()
        let secret = try guest.proxy(.device).channel.call(DeviceCalls.GuestSecret.self, Nothing()).bytes
        service.stop()
        try bootOtherwise()
        let device = try Device(bench.configuration)
        let refused = CallStatus(rawValue: TPMRC.failure.rawValue)
        #expect(throws: refused) { try device.guestSecret(guest.id) }

        let values = try device.perform { () throws(ChipError) in try device.chip.readPCRs(selection) }
        let binding = try #require(try device.perform { () throws(ChipError) in try device.roots.bindings.binding(of: guest.id) })
        // Somebody who writes the file without the key: the chip does not take the signature.
        let stranger = approval(values, for: guest.id, by: ECCKeyPair.generate(.p256))
        try device.perform { () throws(ChipError) in try device.roots.bindings.approve(stranger, binding, guest.id) }
        #expect(throws: CallStatus(rawValue: TPMRC.signature.rawValue)) { try device.guestSecret(guest.id) }

        try device.perform { () throws(ChipError) in try device.roots.bindings.approve(approval(values, for: guest.id), binding, guest.id) }
        #expect(try device.guestSecret(guest.id) == secret)
    }

    /// Without the approvals' honesty: the chip's own comparison, not ours.
    @Test func theChipHoldsThePCRsAgainstTheApprovedPolicy() throws {
        let (service, guest, _) = try bound()
        service.stop()
        try bootOtherwise()
        let device = try Device(bench.configuration)
        let binding = try #require(try device.perform { () throws(ChipError) in try device.roots.bindings.binding(of: guest.id) })
        let approved = try #require(binding.approvals.first)
        try device.perform { () throws(ChipError) in
            let chip = device.chip
            let key = try chip.loadExternal(area)
            let ticket = try chip.verify(approved.signature, of: approved.signedDigest(for: guest.id), with: Entity(key, name: area.name))
            try chip.flush(key)
            let (session, _) = try chip.startSession(.policy, nonceCaller: randomBytes(16), encryptedSalt: [])
            try chip.policyPCR(selection, in: session)
            #expect(throws: ChipError.rc(TPMRC.value.parameter(1))) {
                try chip.policyAuthorize(approved.policy, reference: guest.id.bytes, keyName: area.name, ticket, in: session)
            }
            try chip.flush(session)
        }
    }

    @Test func anApprovalIsForOneGuestAndByItsKey() throws {
        let (service, guest, admin) = try bound()
        let values = try admin.call(HostCalls.ReadPCRs.self, selection[0]).bytes
        let other = try bench.directory.addGuest("other")
        func approve(_ approval: HostApproval, _ guest: GuestID) -> IPCError? {
            do throws(IPCError) {
                _ = try admin.call(BindingCalls.Approve.self, .init(guest: guest.bytes, approval: approval))
                return nil
            } catch { return error }
        }
        #expect(approve(approval(values, for: guest.id), guest.id) == nil)
        #expect(approve(approval(values, for: other.id), guest.id) == .status(.notPermitted))
        #expect(approve(approval(values, for: guest.id, by: ECCKeyPair.generate(.p256)), guest.id) == .status(.notPermitted))
        #expect(approve(approval([UInt8](values.dropLast()), for: guest.id), guest.id) == .status(.notPermitted))
        #expect(approve(approval(values, for: other.id), other.id) == .status(.unavailable))
        #expect(throws: IPCError.self, "it has keys already") {
            try admin.call(BindingCalls.Bind.self, .init(guest: guest.id.bytes, updateKey: area, approval: approval(values, for: guest.id)))
        }
        #expect(throws: IPCError.status(.notPermitted)) {
            try guest.proxy(.device).channel.call(BindingCalls.Approve.self, .init(guest: guest.id.bytes, approval: approval(values, for: guest.id)))
        }
        withExtendedLifetime(service) {}
    }
}

extension Chip {
    fileprivate func measure(_ pcr: UInt32, _ value: [UInt8]) throws(ChipError) {
        _ = try run(ChipCommand(
            code: .pcrExtend, entities: [Entity(permanent: TPMHandle(pcr))], authorization: .password,
            parameters: WireWriter.bytes { $0.list([TaggedDigest(.sha256, value)]) }))
    }
}
