// A chip that goes away, lies, stalls or is not ours; and a bus that somebody taps.
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Testing

@testable import DeviceOwner

private let failure = CallStatus(rawValue: TPMRC.failure.rawValue)
private let retry = CallStatus(rawValue: TPMRC.retry.rawValue)

@Suite(.serialized) struct ChipTests {
    let bench: DeviceBench
    init() throws { bench = try DeviceBench() }

    @Test func aRestartedChipServesAgain() throws {
        let device = try bench.device()
        let twin = try device.twin(.p256Signer, for: bench.guest)
        let secret = try device.guestSecret(bench.guest)
        _ = try device.sign(someDigest, ecdsa, with: twin)
        bench.chip.kill()
        #expect(throws: failure) { try device.sign(someDigest, ecdsa, with: twin) }
        try bench.chip.start()
        let signature = try eventually { try device.sign(someDigest, ecdsa, with: twin) }
        #expect(twin.verifies(signature, someDigest))
        #expect(try device.guestSecret(bench.guest) == secret)
    }

    @Test func aRestartBetweenTwoCallsGoesUnnoticed() throws {
        let device = try bench.device()
        let twin = try device.twin(.sealed, data: [7], for: bench.guest)
        _ = try device.unseal(twin)
        bench.chip.kill()
        try bench.chip.start()
        #expect(try device.unseal(twin) == [7])
    }

    @Test(arguments: [Bus.Fault.silence, .noise, .half, .oversized, .trailing, .flipped, .cut, .code(0x101, times: .max)])
    func aLyingChipIsAFailureAndNeverAHang(_ fault: Bus.Fault) throws {
        let device = try bench.device()
        let twin = try device.twin(.sealed, data: [7], for: bench.guest)
        bench.bus.fault = fault
        let began = milliseconds()
        for _ in 0..<5 {
            let error = #expect(throws: CallStatus.self) { try device.unseal(twin) }
            #expect(error == failure || error == retry)
        }
        #expect(milliseconds() - began < 5000)
        bench.bus.fault = .none
        #expect(try eventually { try device.unseal(twin) } == [7])
    }

    @Test(arguments: [Bus.Fault.silence, .noise, .half, .oversized, .trailing, .cut, .code(0x101, times: .max)])
    func aLyingChipAtTheStartIsAnError(_ fault: Bus.Fault) throws {
        bench.bus.fault = fault
        #expect(throws: Failure.self) { try Device(bench.configuration) }
    }

    @Test func repetitionsAreAskedForAndBounded() throws {
        let device = try bench.device()
        let twin = try device.twin(.sealed, data: [7], for: bench.guest)
        for code in [TPMRC.retry, .yielded, .testing] {
            bench.bus.fault = .code(code.rawValue, times: 3)
            #expect(try device.unseal(twin) == [7])
        }
        bench.bus.fault = .code(TPMRC.retry.rawValue, times: .max)
        #expect(throws: retry) { try device.unseal(twin) }
    }

    @Test func aLostSessionOrObjectIsMadeAgain() throws {
        let device = try bench.device()
        let twin = try device.twin(.sealed, data: [7], for: bench.guest)
        _ = try device.unseal(twin)
        for code in [TPMRC.referenceS0, TPMRC.handle.session(1), .referenceH0, .objectMemory, .authFail.session(1)] {
            bench.bus.fault = .code(code.rawValue, times: 1)
            #expect(try device.unseal(twin) == [7])
        }
        bench.bus.fault = .code(TPMRC.authFail.session(1).rawValue, times: .max)
        #expect(throws: failure) { try device.unseal(twin) }
    }

    @Test func whatADeadProcessLeftIsClearedAway() throws {
        let blob = try bench.device().create(.p256Signer, data: [], for: bench.guest)
        for _ in 0..<5 {
            // Each of these leaves a session and objects in the chip, as a killed process does.
            let next = try Device(bench.configuration)
            let twin = Twin(blob, of: bench.guest)
            #expect(twin.verifies(try next.sign(someDigest, ecdsa, with: twin), someDigest))
            _ = try next.random(16)
        }
    }

    @Test func aTappedBusCarriesNoSecrets() throws {
        let device = try bench.device()
        let data = randomBytes(64)
        let sealed = try device.twin(.sealed, data: data, for: bench.guest)
        #expect(try device.unseal(sealed) == data)
        let secret = try device.guestSecret(bench.guest)
        let rsa = try device.twin(.rsaDecrypter, for: bench.guest)
        let cipher = try RSAPublicKey(modulus: rsa.modulus, exponent: 0).encrypt(data, scheme: Scheme(.oaep, .sha256), label: [])
        #expect(try device.decryptRSA(cipher, Scheme(.oaep, .sha256), label: [], with: rsa) == data)
        let agreer = try device.twin(.p256Agreer, for: bench.guest)
        let shared = try device.agree(ECCKeyPair.generate(.p256).publicPoint, with: agreer)
        let random = try device.random(32)
        let mac = try device.twin(.givenHMAC, data: data, for: bench.guest)
        let message = randomBytes(100)
        let result = try device.hmac(.sha256, message, with: mac)
        let traffic = bench.bus.traffic
        #expect(traffic.count > 20)
        for clear in [data, secret, shared.x, random, message, result] {
            #expect(!traffic.contains { $0.contains(Array(clear.prefix(12))) })
        }
    }

    @Test func anyTCTIReachesTheChip() throws {
        var configuration = bench.configuration
        configuration.chip = ChipAddress("swtpm:path=\(bench.chip.socket)")
        let device = try Device(configuration)
        try device.ensureGuest(bench.guest)
        let twin = try device.twin(.sealed, data: [7], for: bench.guest)
        #expect(try device.unseal(twin) == [7])
        bench.chip.kill()
        #expect(throws: failure) { try device.unseal(twin) }
        try bench.chip.start()
        #expect(try eventually { try device.unseal(twin) } == [7])
        configuration.chip = ChipAddress("nonsense:")
        #expect(throws: Failure.self) { try Device(configuration) }
    }

    @Test func theChipKeepsNothingButTheHostRoot() throws {
        func state() throws -> (persistent: [TPMHandle], nv: [TPMHandle], lockout: [UInt32]) {
            try bench.direct { chip in
                (try chip.handles(from: TPMHandle(.persistent, 0)), try chip.handles(from: TPMHandle(.nvIndex, 0)),
                 try chip.properties(from: 0x20E, count: 1))
            }
        }
        let before = try state()
        do {
            let device = try bench.device()
            let twin = try device.twin(.p256Signer, for: bench.guest)
            _ = try device.sign(someDigest, ecdsa, with: twin)
            #expect(throws: CallStatus.self) { try device.unseal(twin) }
        }
        let after = try state()
        #expect(after.persistent == before.persistent + [HostRoot.standardHandle])
        #expect(after.nv == before.nv)
        #expect(after.lockout == before.lockout && after.lockout == [0])
    }
}
