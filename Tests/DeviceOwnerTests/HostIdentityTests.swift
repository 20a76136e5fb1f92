// The host's keys in a real chip: evidence that a verifier accepts, quotes, certificates.
import Attestation
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

private let time: Int64 = 1_795_392_000

@Suite(.serialized) struct HostIdentityTests {
    let bench: DeviceBench
    init() throws { bench = try DeviceBench() }

    private func identity(_ device: Device) throws -> HostEvidence {
        try device.perform { () throws(ChipError) in try device.identity.make(auth: .empty) }
        return try HostEvidence(try #require(device.identity.evidence))
    }

    private func quote(_ device: Device, _ data: [UInt8], _ selection: [PCRSelection]) throws -> HostCalls.Quote.Reply {
        try device.perform { () throws(ChipError) in try device.identity.quote(.init(qualifyingData: data, selection: selection)) }
    }

    @Test func theEvidenceHoldsAndLastsAndLeavesNothingInTheChip() throws {
        var device: Device? = try Device(bench.configuration)
        let evidence = try identity(device!)
        _ = try VerifiedHost(evidence, trust: .pinned(evidence.endorsementKeyName), time: time)
        #expect(throws: BrokenLink.self) { try VerifiedHost(evidence, trust: .roots([]), time: time) }
        device = nil
        device = try Device(bench.configuration)
        #expect(try identity(device!).bytes == evidence.bytes, "made once")
        device = nil
        let persistent = try bench.direct { try $0.handles(from: TPMHandle(.persistent, 0)) }
        #expect(persistent == [HostRoot.standardHandle])
        let nv = try bench.direct { try $0.handles(from: TPMHandle(.nvIndex, 0)) }
        #expect(nv.isEmpty)
    }

    /// A chip whose maker put a certificate into it, with some bytes behind it.
    @Test func theMakersCertificateIsInTheEvidence() throws {
        let maker = ECCKeyPair.generate(.p256)
        let makersKey = PublicArea(
            nameAlgorithm: .sha256, attributes: [.sign], parameters: .ecc(symmetric: .null, scheme: .null, curve: .p256, kdf: .null),
            unique: .ecc(maker.publicPoint))
        func sign(_ unsigned: Unsigned) -> [UInt8] {
            let (r, s) = maker.signECDSA(digest: unsigned.digest)
            return unsigned.signed(.ecc(.ecdsa, .sha256, r: r, s: s))!
        }
        let authority = try #require(CertificateAuthority(makersKey))
        let root = sign(authority.hostCertificate(serial: [1], from: 0))
        try bench.direct { chip in
            let (handle, area) = try chip.createEndorsementKey(.rsa2048, auth: .empty)
            try chip.flush(handle)
            let certificate = sign(try #require(authority.guestCertificate(
                .endorsementKey, of: area, guest: [], name: "chip", serial: [2], from: 0)))
            try chip.define(EndorsementCertificate.rsa2048.index, certificate + [0xFF, 0xFF])
        }
        let evidence = try identity(try Device(bench.configuration))
        _ = try VerifiedHost(evidence, trust: .roots([root]), time: time)
    }

    @Test func aQuoteNamesItsPCRsValuesEvenWhenTheyChange() throws {
        let device = try Device(bench.configuration)
        let evidence = try identity(device)
        let selection = [PCRSelection(.sha1, pcrs: [0]), PCRSelection(.sha256, pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 16, 23])]
        let data = [UInt8](repeating: 5, count: 32)
        let first = try quote(device, data, selection)
        let key = try PublicArea(wire: evidence.attestationKey)
        #expect(try key.verifies(first.signature, digest(.sha256, first.statement)))
        #expect(QuotedPCRs(first.statement)?.digest == digest(.sha256, first.values))
        #expect(first.evidenceID == evidence.id)
        let before = device.count("commands")
        _ = try quote(device, data, selection)
        #expect(device.count("commands") - before == 1, "one command, one signature")
        try device.perform { () throws(ChipError) in try device.chip.extend(16, digest(.sha256, data)) }
        let second = try quote(device, data, selection)
        #expect(second.values != first.values)
        #expect(QuotedPCRs(second.statement)?.digest == digest(.sha256, second.values))
    }

    @Test func onlyThisChipAnswersAChallenge() throws {
        let device = try Device(bench.configuration)
        let (challenge, answer) = try HostChallenge.make(for: try identity(device))
        let given = try device.perform { () throws(ChipError) in
            try device.identity.answer(challenge.blob, challenge.encryptedSecret, auth: .empty)
        }
        #expect(given == answer)
        #expect(throws: CallStatus.self) {
            try device.perform { () throws(ChipError) in
                try device.identity.answer([UInt8](challenge.blob.reversed()), challenge.encryptedSecret, auth: .empty)
            }
        }
    }

    @Test func aDamagedRecordIsLeftAlone() throws {
        _ = try identity(try Device(bench.configuration))
        let path = bench.directory.instance.identityRecord
        var bytes = try #require(try Files.read(path, max: IdentityRecord.largest))
        bytes.removeLast()
        try Files.write(path, bytes, mode: 0o600, replacing: true)
        #expect(throws: Failure.self) { try Device(bench.configuration) }
        #expect(try Files.read(path, max: IdentityRecord.largest) == bytes)
    }

    // MARK: Guests' certificates

    private func running(_ device: Device) throws -> RunningService {
        try RunningService(.device, in: bench.directory) { [bench] in DeviceService(device, bench.directory.instance).service }
    }

    @Test func aGuestsKeysAreCertifiedRenewedAndRevoked() throws {
        let device = try Device(bench.configuration)
        let service = try running(device)
        let guest = try bench.directory.addGuest("web")
        let (proxy, admin) = (try guest.proxy(.device).channel, try bench.directory.connect(.device))
        #expect(try proxy.call(HostCalls.Certificates.self, Nothing()).wanted.isEmpty, "no identity, no certificates")
        _ = try admin.call(HostCalls.Initialize.self, Blob([]))
        let ecc = EndorsementCertificate.eccP256.index
        #expect(try proxy.call(HostCalls.Certificates.self, Nothing()).wanted.map(\.index).contains(ecc))
        let handle = try proxy.call(DeviceCalls.Load.self, try proxy.call(DeviceCalls.Create.self, .init(spec: .p256StorageKey, data: [])))
        let first = try proxy.call(HostCalls.Certify.self, .init(index: ecc, handle: handle)).bytes
        #expect(try proxy.call(HostCalls.Certify.self, .init(index: ecc, handle: handle)).bytes == first)
        #expect(try admin.call(HostCalls.Certificate.self, .init(guest: guest.id.bytes, index: ecc)).bytes == first)
        _ = try admin.call(HostCalls.Recertify.self, .init(guest: guest.id.bytes, chosen: [EndorsementCertificate.highP521.index]))
        #expect(try proxy.call(HostCalls.Certify.self, .init(index: ecc, handle: handle)).bytes == first, "that was for another one")
        #expect(try proxy.call(HostCalls.Certificates.self, Nothing()).wanted.count == 5)
        _ = try admin.call(HostCalls.Recertify.self, .init(guest: guest.id.bytes, chosen: [ecc], renewing: false))
        #expect(throws: IPCError.self) { try proxy.call(HostCalls.Certify.self, .init(index: ecc, handle: handle)) }
        let revoked = try proxy.call(HostCalls.Certificates.self, Nothing())
        #expect(revoked.wanted.count == 4 && revoked.withdrawn.map(\.index) == [ecc] && revoked.withdrawn[0].digest == digest(.sha256, first))
        _ = try admin.call(HostCalls.Recertify.self, .init(guest: guest.id.bytes))
        let renewing = try proxy.call(HostCalls.Certificates.self, Nothing())
        #expect(renewing.wanted.count == 5 && renewing.withdrawn.map(\.index) == [ecc], "until there is a new one")
        let second = try proxy.call(HostCalls.Certify.self, .init(index: ecc, handle: handle)).bytes
        #expect(second != first)
        #expect(try proxy.call(HostCalls.Certificates.self, Nothing()).withdrawn.isEmpty)
        _ = try admin.call(DeviceCalls.ForgetGuest.self, Blob(guest.id.bytes))
        _ = try admin.call(HostCalls.RevocationList.self, Nothing())
        let list = try RevocationList(try #require(try Files.read(bench.directory.instance.revocationList, max: 1 << 20)))
        #expect(list.serials == Set([try Certificate(first).serial, try Certificate(second).serial]))
        #expect(list.isSigned(by: try PublicArea(wire: try HostEvidence(try admin.call(HostCalls.Evidence.self, Nothing()).bytes).certificateKey)))
        withExtendedLifetime(service) {}
    }

    @Test func onlyDecryptionKeysOfTheChipsAreCertified() throws {
        let device = try Device(bench.configuration)
        let service = try running(device)
        let (one, two) = (try bench.directory.addGuest("one"), try bench.directory.addGuest("two"))
        let proxy = try one.proxy(.device).channel
        _ = try bench.directory.connect(.device).call(HostCalls.Initialize.self, Blob([]))
        let ecc = EndorsementCertificate.eccP256.index
        func certify(_ blob: TwinBlob, _ index: TPMHandle = ecc) -> IPCError? {
            do throws(IPCError) {
                _ = try proxy.call(HostCalls.Certify.self, .init(index: index, handle: try proxy.call(DeviceCalls.Load.self, blob)))
                return nil
            } catch { return error }
        }
        let own = try proxy.call(DeviceCalls.Create.self, .init(spec: .p256StorageKey, data: []))
        #expect(certify(own) == nil)
        #expect(certify(try proxy.call(DeviceCalls.Create.self, .init(spec: .p256Agreer, data: []))) == .status(.notPermitted))
        #expect(certify(try proxy.call(DeviceCalls.Create.self, .init(spec: .p256Signer, data: []))) == .status(.notPermitted))
        #expect(certify(own, EndorsementCertificate.rsa2048.index) == .status(.notPermitted))
        #expect(certify(own, TPMHandle(0x01C0_0003)) == .status(.malformed))
        // A key that the chip did not make under this guest's root: another guest's, or a point of the proxy's own.
        let foreign = try two.proxy(.device).channel.call(DeviceCalls.Create.self, .init(spec: .p256StorageKey, data: []))
        #expect(certify(foreign) != nil)
        var forged = own
        forged.unique = .ecc(ECCKeyPair.generate(.p256).publicPoint)
        #expect(certify(forged) != nil)
        // The host's own keys are nobody's twins, and quotes are for the policy checker.
        #expect(throws: IPCError.status(.notPermitted)) {
            try proxy.call(HostCalls.Quote.self, .init(qualifyingData: [1], selection: [PCRSelection(.sha256, pcrs: [0])]))
        }
        withExtendedLifetime(service) {}
    }
}

extension Chip {
    /// Defines an index as a chip's maker does, and fills it.
    fileprivate func define(_ index: TPMHandle, _ contents: [UInt8]) throws(ChipError) {
        let area = NVPublic(
            index: index, nameAlgorithm: .sha256, attributes: [.ownerWrite, .ownerRead, .authRead], authPolicy: [],
            dataSize: UInt16(contents.count))
        _ = try run(ChipCommand(
            code: .nvDefineSpace, entities: [Entity(permanent: .owner)], authorization: .password,
            parameters: WireWriter.bytes { $0.sized16([]); $0.sized16(area) }))
        _ = try run(ChipCommand(
            code: .nvWrite, entities: [Entity(permanent: .owner), Entity(index, name: [])], authorization: .password,
            parameters: WireWriter.bytes { $0.sized16(contents); $0.u16(0) }))
    }

    fileprivate func extend(_ pcr: UInt32, _ value: [UInt8]) throws(ChipError) {
        _ = try run(ChipCommand(
            code: .pcrExtend, entities: [Entity(permanent: TPMHandle(pcr))], authorization: .password,
            parameters: WireWriter.bytes { $0.list([TaggedDigest(.sha256, value)]) }))
    }
}
