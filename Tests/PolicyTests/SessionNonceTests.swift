// Where policy sessions' nonces come from, and what that is good for.
import EnhancedAuthorization
import SystemMap
import TPMWire
import Testing
import Wire

@Suite struct SessionNonceTests {
    @Test func aNonceHasTheSizeThatWasAskedFor() {
        for hash in HashAlgorithm.allCases {
            #expect(SessionNonces(size: 15, hash: hash) == nil)
            #expect(SessionNonces(size: UInt8(hash.digestSize + 1), hash: hash) == nil)
            for size in [16, UInt8(hash.digestSize)] { #expect(SessionNonces(size: size, hash: hash)?[3].count == Int(size)) }
        }
    }

    @Test func eachRollGivesAnother() throws {
        let nonces = try #require(SessionNonces(size: 16, hash: .sha256))
        let values = (0..<1000).map { nonces[$0] } + [nonces[.max]]
        #expect(Set(values).count == values.count)
        #expect(try SessionNonces(wire: nonces.wire) == nonces)
    }

    @Test func noTwoSessionsHaveTheSame() throws {
        let first = try (0..<100).map { _ in try #require(SessionNonces(size: 16, hash: .sha256))[0] }
        #expect(Set(first).count == 100)
    }

    @Test func anAuthorizationThatNamesTheNonceHoldsInItsSessionUntilThatRolls() throws {
        let step = secret(nonce: nonce)
        var own = PolicyState(hash: .sha256, isTrial: false, startTime: moment())
        var other = PolicyState(
            hash: .sha256, isTrial: false, startTime: moment(), nonces: try #require(SessionNonces(size: 16, hash: .sha256)))
        #expect(throws: TPMRC.nonce.parameter(1)) { try other.apply(step, at: moment(), rolls: 0, mint: mint()) }
        #expect(throws: TPMRC.nonce.parameter(1)) { try own.apply(step, at: moment(), rolls: 1, mint: mint()) }
        try own.apply(step, at: moment(), rolls: 0, mint: mint())
        try own.apply(.restart, at: moment(), rolls: 0, mint: mint())
        try own.apply(step, at: moment(), rolls: 0, mint: mint())
    }

    @Test func timeBeginsWhereTheHostsClockSays() {
        #expect(GuestTime(epoch: 5, now: 12) == GuestTime(milliseconds: 7, epoch: 5))
        #expect(GuestTime(epoch: 12, now: 12)?.milliseconds == 0)
        #expect(GuestTime(epoch: 13, now: 12) == nil)
    }
}
