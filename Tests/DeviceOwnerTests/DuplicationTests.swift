// Keys that enter and leave the chip do so under wrappers.
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import DeviceOwner

@Suite(.serialized) struct ChipDuplicationTests {
    private static let scalar = [UInt8](repeating: 0x42, count: 32)

    private func spec(duplicable: Bool) -> TwinSpec {
        TwinSpec(
            kind: .ecc(.p256), sign: true, decrypt: false, sensitiveDataOrigin: false, nameAlgorithm: .sha256, isImported: true,
            isDuplicable: duplicable)
    }

    private func importKey(_ device: Device, _ bench: DeviceBench, duplicable: Bool) throws -> TwinBlob {
        let pair = try #require(ECCKeyPair(curve: .p256, privateKey: Self.scalar))
        let sensitive = SensitiveArea(type: .ecc, authValue: [], seedValue: [], sensitive: Self.scalar)
        return try device.importTwin(
            spec(duplicable: duplicable), .ecc(pair.publicPoint), sensitive, for: bench.guest)
    }

    @Test func whatWasImportedSignsAndComesOutAgain() throws {
        let bench = try DeviceBench()
        let device = try bench.device()
        let twin = Twin(try importKey(device, bench, duplicable: true), of: bench.guest)
        #expect(twin.verifies(try device.sign(someDigest, ecdsa, with: twin), someDigest))
        #expect(try device.duplicate(twin).sensitive == Self.scalar)
    }

    @Test func noPrivateKeyCrossesTheBusInTheClear() throws {
        let bench = try DeviceBench()
        let device = try bench.device()
        let twin = Twin(try importKey(device, bench, duplicable: true), of: bench.guest)
        _ = try device.duplicate(twin)
        // Both commands were there, and neither message shows the scalar.
        for code in [TPMCommandCode.import, .duplicate] {
            #expect(bench.bus.traffic.contains { Array($0.dropFirst(6).prefix(4)) == code.wire })
        }
        #expect(!bench.bus.traffic.contains { $0.contains(Array(Self.scalar.prefix(12))) })
    }

    @Test func aTwinThatMayNotLeaveStays() throws {
        let bench = try DeviceBench()
        let device = try bench.device()
        let imported = Twin(try importKey(device, bench, duplicable: false), of: bench.guest)
        #expect(throws: CallStatus.self) { try device.duplicate(imported) }
        let made = try device.twin(.p256Signer, for: bench.guest)
        #expect(throws: CallStatus.self) { try device.duplicate(made) }
        #expect(imported.verifies(try device.sign(someDigest, ecdsa, with: imported), someDigest))
    }

    @Test func whatTheChipMakesMayLeaveIfItsSpecSaysSo() throws {
        let bench = try DeviceBench()
        let device = try bench.device()
        for (kind, origin, data) in [(TwinSpec.Kind.ecc(.p256), true, []), (.hmac, true, []), (.sealed, false, [UInt8](1...9))] {
            let spec = TwinSpec(
                kind: kind, sign: true, decrypt: false, sensitiveDataOrigin: origin, nameAlgorithm: .sha256, isDuplicable: true)
            let twin = try device.twin(spec, data: data, for: bench.guest)
            let area = try device.duplicate(twin)
            if case .ecc = kind {
                #expect(ECCKeyPair(curve: .p256, privateKey: area.sensitive)?.publicPoint == twin.point)
            } else {
                #expect(twin.object.area.unique == .digest(digest(.sha256, area.seedValue, area.sensitive)))
            }
            if !data.isEmpty { #expect(area.sensitive == data) }
        }
    }

    @Test func seedsAreRecoveredForTheUseTheyWereMadeFor() throws {
        let bench = try DeviceBench()
        let device = try bench.device()
        for spec in [TwinSpec.p256Agreer, .rsaDecrypter] {
            let twin = try device.twin(spec, for: bench.guest)
            for use in SeedUse.allCases {
                let (seed, secret) = try twin.object.area.shareSeed(for: use)
                #expect(try device.recoverSeed(use, .sha256, secret, with: twin) == seed)
                let other: SeedUse = use == .session ? .duplicate : .session
                #expect((try? device.recoverSeed(other, .sha256, secret, with: twin)) != seed)
            }
        }
    }
}
