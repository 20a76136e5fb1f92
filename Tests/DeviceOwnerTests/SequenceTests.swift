// HMAC sequences that go on in the chip, with their state at the caller.
import SystemMap
import TPMCrypto
import TPMWire
import Testing

@testable import DeviceOwner

@Suite(.serialized) struct SequenceTests {
    let bench: DeviceBench
    let device: Device
    init() throws {
        bench = try DeviceBench()
        device = try bench.device()
    }

    private func step(_ twin: Twin, _ state: [UInt8], _ data: [UInt8], isLast: Bool = false) throws -> [UInt8] {
        try device.hmacStep(.init(handle: 0, hash: .sha256, state: state, data: data, isLast: isLast), with: twin)
    }

    @Test func aSequenceGoesOnFromAnyOfItsStates() throws {
        let key = randomBytes(32)
        let twin = try device.twin(.givenHMAC, data: key, for: bench.guest)
        let data = randomBytes(DeviceCalls.HMAC.dataMax)
        let first = try step(twin, [], data)
        #expect(first.count <= DeviceCalls.HMACStep.stateMax)
        let second = try step(twin, first, data)
        // Other objects take the slots between two steps.
        for _ in 0..<4 { _ = try device.sign(someDigest, ecdsa, with: try device.twin(.p256Signer, for: bench.guest)) }
        #expect(try step(twin, second, [1], isLast: true) == hmac(.sha256, key: key, data, data, [1]))
        #expect(try step(twin, first, [2], isLast: true) == hmac(.sha256, key: key, data, [2]))
        #expect(try step(twin, [], [3], isLast: true) == hmac(.sha256, key: key, [3]))
    }

    @Test func aStateIsGoodForItsGuestOnly() throws {
        let twin = try device.twin(.madeHMAC, for: bench.guest)
        let state = try step(twin, [], [1])
        let other = try #require(GuestID([UInt8](repeating: 0x09, count: GuestID.size)))
        try device.ensureGuest(other)
        let stranger = try device.twin(.madeHMAC, for: other)
        #expect(throws: (any Error).self) { try step(stranger, state, [2]) }
        var changed = state
        changed[changed.count - 1] ^= 1
        #expect(throws: (any Error).self) { try step(twin, changed, [2]) }
        #expect(throws: (any Error).self) { try step(twin, Array(state.prefix(8)), [2]) }
        #expect(try step(twin, state, [2], isLast: true).count == 32)
    }
}
