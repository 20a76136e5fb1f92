// Tokens, and the messages that carry them.
import CryptoBase
import EnhancedAuthorization
import SystemMap
import TPMWire
import Testing
import Wire

private let key = HMACKey(PolicyToken.hash, [UInt8](repeating: 0x11, count: 32))
private let guest = GuestID([UInt8](repeating: 0x22, count: 32))!

/// A session that has been through everything.
private func state() throws -> PolicyState {
    var state = PolicyState(hash: .sha256, isTrial: false, startTime: 1)
    let reading = PCRReading(generation: 0x0102, digests: [[UInt8](repeating: 0, count: 32)])
    try state.apply(.pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [0])]), pcrs: reading)
    try state.apply(.commandCode(.unseal))
    try state.apply(.authValue)
    try state.apply(secret(cpHash: [UInt8](repeating: 9, count: 32), expiration: 60))
    try state.apply(.locality(LocalityAttributes(rawValue: 3)))
    try state.apply(.physicalPresence)
    try state.apply(.nvWritten(true))
    return state
}

@Suite struct PolicyTokenTests {
    @Test func aTokenSaysWhatWasSealed() throws {
        let token = PolicyToken.seal(try state(), key: key, guest: guest)
        #expect(PolicyToken.open(token, key: key, guest: guest) == (try state()))
        #expect(PolicyToken.state(of: token) == (try state()))
        #expect(token.count < PolicyCalls.tokenMax)
    }

    @Test func theEmptyPolicyHasVisibleBytes() {
        let state = PolicyState(hash: .sha1, isTrial: true, startTime: 0x0102_0304)
        let wire: [UInt8] = [5, 0x00, 0x04, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 7] + drawn.wire + [UInt8](repeating: 0, count: 20 + 10)
        #expect(state.wire == wire)
        #expect(PolicyToken.seal(state, key: key, guest: guest).prefix(wire.count) == wire[...])
    }

    @Test func aChangedByteAnywhereIsRefused() throws {
        let token = PolicyToken.seal(try state(), key: key, guest: guest)
        for i in token.indices {
            for bit in [UInt8(0x01), 0x80] {
                var changed = token
                changed[i] ^= bit
                #expect(PolicyToken.open(changed, key: key, guest: guest) == nil, "byte \(i)")
            }
        }
    }

    @Test func anotherLengthIsRefused() throws {
        let token = PolicyToken.seal(try state(), key: key, guest: guest)
        for count in token.indices { #expect(PolicyToken.open(Array(token.prefix(count)), key: key, guest: guest) == nil) }
        #expect(PolicyToken.open(token + [0], key: key, guest: guest) == nil)
        #expect(PolicyToken.open([], key: key, guest: guest) == nil)
    }

    @Test func anotherGuestOrAnotherKeyIsRefused() throws {
        let token = PolicyToken.seal(try state(), key: key, guest: guest)
        let other = try #require(GuestID([UInt8](repeating: 0x23, count: 32)))
        #expect(PolicyToken.open(token, key: key, guest: other) == nil)
        #expect(PolicyToken.open(token, key: HMACKey(PolicyToken.hash, [UInt8](repeating: 0x12, count: 32)), guest: guest) == nil)
    }
}

@Suite struct PolicyDecodingTests {
    /// A message cut short anywhere is refused, and so is one with a byte too many.
    private func isExact<T: WireCodable>(_: T.Type, _ wire: [UInt8]) -> Bool {
        for count in 0..<wire.count where (try? T(wire: Array(wire.prefix(count)))) != nil { return false }
        return (try? T(wire: wire))?.wire == wire && (try? T(wire: wire + [0])) == nil
    }

    @Test func stateIsDecodedWhole() throws {
        #expect(isExact(PolicyState.self, try state().wire))
        #expect(isExact(PolicyState.self, PolicyState(hash: .sha512, isTrial: true, startTime: 0).wire))
    }

    @Test func stepsAreDecodedWhole() {
        let steps: [PolicyStep] = [
            .restart, .pcr(expected: [1, 2], selection: [PCRSelection(.sha1, pcrs: [1])]), .authValue, .password,
            .commandCode(.sign), .or([[1], [2, 3]]),
            secret([1], policyRef: [2], cpHash: [3], nonce: [4], expiration: -5),
        ] + moreSteps
        for step in steps {
            #expect(isExact(PolicyStep.self, step.wire))
            #expect(isExact(PolicyCalls.Step.Request.self, PolicyCalls.Step.Request(token: [1, 2, 3], step: step, at: PolicyMoment(rolls: 1, epoch: 2)).wire))
        }
        #expect((try? PolicyStep(wire: [19])) == nil)
    }

    @Test func requestsAndRepliesAreDecodedWhole() {
        #expect(isExact(
            PolicyCalls.Start.Request.self,
            PolicyCalls.Start.Request(hash: .sha384, trial: true, epoch: 4, nonceSize: 20).wire))
        #expect(isExact(PolicyCalls.Step.Reply.self, PolicyCalls.Step.Reply(token: [1]).wire))
        let ticket = Ticket(tag: StructureTag.authSecret, hierarchy: .owner, digest: [1, 2])
        #expect(isExact(
            PolicyCalls.Step.Reply.self, PolicyCalls.Step.Reply(token: [1], timeout: [0, 0, 0, 0, 0, 0, 0, 1], ticket: ticket).wire))
    }
}
