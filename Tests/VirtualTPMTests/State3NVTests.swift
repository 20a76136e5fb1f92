// NV indices that are not ordinary, their locks and authorizations (Part 3, 31).
import Testing
import TPMCrypto
import TPMWire
import Wire

@testable import VirtualTPM

private let index = TPMHandle(.nvIndex, 0x50_0003)

private func attributes(_ type: NVAttributes.IndexType, _ more: NVAttributes = []) -> NVAttributes {
    var attributes: NVAttributes = [.ownerWrite, .ownerRead, .authRead, .noDA]
    attributes.formUnion(more)
    attributes.indexType = type
    return attributes
}

/// PolicyCommandCode alone, as a policy of SHA-256.
private func policy(_ code: TPMCommandCode) -> [UInt8] {
    digest(.sha256, [UInt8](repeating: 0, count: 32), TPMCommandCode.policyCommandCode.wire, code.wire)
}

extension Guest {
    fileprivate func define(
        _ attributes: NVAttributes, size: UInt16 = 8, auth: [UInt8] = [], policy: [UInt8] = [], by authHandle: TPMHandle = .owner
    ) throws {
        let area = NVPublic(index: index, nameAlgorithm: .sha256, attributes: attributes, authPolicy: policy, dataSize: size)
        _ = try succeed(.nvDefineSpace, [authHandle]) {
            $0.sized16(auth)
            $0.sized16(area)
        }
    }
    fileprivate func undefine() throws { _ = try succeed(.nvUndefineSpace, [.owner, index]) }
    fileprivate func write(_ data: [UInt8]) throws -> TPMRC {
        try run(.nvWrite, [.owner, index]) {
            $0.sized16(data)
            $0.u16(0)
        }.code
    }
    fileprivate func contents(_ size: UInt16 = 8) throws -> [UInt8] {
        var reader = try succeed(.nvRead, [.owner, index]) {
            $0.u16(size)
            $0.u16(0)
        }
        return try reader.sized16()
    }
    /// Reads with the index's own authorization.
    fileprivate func tryPIN(_ pin: [UInt8]) throws -> TPMRC {
        try run(.nvRead, [index, index], passwords: [pin]) {
            $0.u16(8)
            $0.u16(0)
        }.code
    }
    fileprivate func count() throws -> UInt64 { try contents().reduce(0) { $0 << 8 | UInt64($1) } }
    fileprivate func increment() throws -> TPMRC { try run(.nvIncrement, [.owner, index]).code }

    /// A policy session on which PolicyCommandCode was called.
    fileprivate func policySession(_ code: TPMCommandCode) throws -> TPMHandle {
        let response = try run(.startAuthSession, [.null, .null]) {
            $0.sized16([UInt8](repeating: 1, count: 16))
            $0.sized16([UInt8]())
            $0.u8(1)
            $0.value(TPMAlgorithm.null)
            $0.value(HashAlgorithm.sha256)
        }
        let session = try #require(response.handle)
        _ = try succeed(.policyCommandCode, [session]) { $0.value(code) }
        return session
    }
}

@Suite struct State3NVTests {
    @Test func aCounterNeverGoesBackAlsoAcrossDeletion() throws {
        let guest = try Guest()
        try guest.define(attributes(.counter))
        #expect(try guest.run(.nvWrite, [.owner, index]) { $0.sized16([UInt8](repeating: 0, count: 8)); $0.u16(0) }.code == .attributes)
        for expected in 1...3 {
            #expect(try guest.increment() == .success)
            #expect(try guest.count() == UInt64(expected))
        }
        try guest.undefine()
        try guest.define(attributes(.counter))
        #expect(try guest.increment() == .success)
        #expect(try guest.count() == 4)
        _ = try guest.succeed(.clear, [.lockout])
        try guest.revive()
        try guest.startup()
        try guest.define(attributes(.counter))
        #expect(try guest.increment() == .success)
        #expect(try guest.count() == 5)
        try guest.undefine()
        try guest.define(attributes(.bits))
        #expect(try guest.increment() == TPMRC.attributes.handle(2))
    }

    @Test func bitsAreSetAndDigestsExtended() throws {
        let guest = try Guest()
        try guest.define(attributes(.bits))
        for bits in [UInt64(0), 0x8000_0000_0000_0001, 6] {
            #expect(try guest.run(.nvSetBits, [.owner, index]) { $0.u64(bits) }.code == .success)
        }
        #expect(try guest.count() == 0x8000_0000_0000_0007)
        try guest.undefine()
        try guest.define(attributes(.extend), size: 32)
        var expected = [UInt8](repeating: 0, count: 32)
        for data in [[1, 2, 3], []] as [[UInt8]] {
            #expect(try guest.run(.nvExtend, [.owner, index]) { $0.sized16(data) }.code == .success)
            expected = digest(.sha256, expected, data)
            #expect(try guest.contents(32) == expected)
        }
        #expect(try guest.run(.nvSetBits, [.owner, index]) { $0.u64(1) }.code == TPMRC.attributes.handle(2))
        #expect(try guest.run(.nvExtend, [.owner, index]) { $0.sized16([UInt8](repeating: 0, count: 1025)) }.code == TPMRC.size.parameter(1))
    }

    @Test func locksLastAsLongAsTheyShould() throws {
        let guest = try Guest()
        try guest.define(attributes(.ordinary))
        #expect(try guest.run(.nvWriteLock, [.owner, index]).code == TPMRC.attributes.handle(2))
        #expect(try guest.run(.nvReadLock, [.owner, index]).code == TPMRC.attributes.handle(2))
        try guest.undefine()
        try guest.define(attributes(.ordinary, [.writeStClear, .readStClear, .globalLock]))
        #expect(try guest.write([1]) == .success)
        for _ in 0..<2 {
            #expect(try guest.run(.nvWriteLock, [.owner, index]).code == .success)
            #expect(try guest.run(.nvReadLock, [.owner, index]).code == .success)
        }
        #expect(try guest.write([1]) == .nvLocked)
        #expect(try guest.tryPIN([]) == .nvLocked)
        guest.powerOn()
        try guest.startup()
        #expect(try guest.write([1]) == .success)
        #expect(try guest.tryPIN([]) == .success)
        _ = try guest.succeed(.nvGlobalWriteLock, [.owner])
        #expect(try guest.write([1]) == .nvLocked)
        try guest.undefine()
        try guest.define(attributes(.ordinary, [.writeDefine]))
        #expect(try guest.run(.nvWriteLock, [.owner, index]).code == .success)
        guest.powerOn()
        try guest.startup()
        #expect(try guest.write([1]) == .success)
        #expect(try guest.run(.nvWriteLock, [.owner, index]).code == .success)
        guest.powerOn()
        try guest.startup()
        #expect(try guest.write([1]) == .nvLocked)
    }

    @Test func aFailPINCountsFailuresInARow() throws {
        let guest = try Guest()
        try guest.define(attributes(.pinFail), auth: [7])
        #expect(try guest.tryPIN([7]) == TPMRC.authUnavailable)
        #expect(try guest.write([0, 0, 0, 0, 0, 0, 0, 2]) == .success)
        #expect(try guest.tryPIN([7]) == .success)
        #expect(try guest.tryPIN([8]) == TPMRC.badAuth.session(1))
        #expect(try guest.count() == 1 << 32 | 2)
        #expect(try guest.tryPIN([7]) == .success)
        #expect(try guest.count() == 2)
        for _ in 0..<2 { #expect(try guest.tryPIN([8]) == TPMRC.badAuth.session(1)) }
        try guest.revive()
        try guest.startup()
        #expect(try guest.tryPIN([7]) == TPMRC.authUnavailable)
        #expect(try guest.write([0, 0, 0, 0, 0, 0, 0, 2]) == .success)
        #expect(try guest.tryPIN([7]) == .success)
    }

    @Test func aPassPINCountsSuccesses() throws {
        let guest = try Guest()
        try guest.define(attributes(.pinPass), auth: [7])
        #expect(try guest.write([0, 0, 0, 0, 0, 0, 0, 2]) == .success)
        #expect(try guest.tryPIN([8]) == TPMRC.badAuth.session(1))
        #expect(try guest.count() == 2)
        for _ in 0..<2 { #expect(try guest.tryPIN([7]) == .success) }
        #expect(try guest.tryPIN([7]) == TPMRC.authUnavailable)
        let bound = try guest.run(.startAuthSession, [.null, index]) {
            $0.sized16([UInt8](repeating: 1, count: 16))
            $0.sized16([UInt8]())
            $0.u8(0)
            $0.value(TPMAlgorithm.null)
            $0.value(HashAlgorithm.sha256)
        }
        #expect(bound.code == TPMRC.handle.handle(2))
    }

    @Test func aPINThatCannotBeStoredIsNotFree() throws {
        let guest = try Guest()
        try guest.define(attributes(.pinFail), auth: [7])
        #expect(try guest.write([0, 0, 0, 0, 0, 0, 0, 2]) == .success)
        guest.store.failure = .io(5)
        for _ in 0..<2 { #expect(try guest.tryPIN([8]) == TPMRC.nvUnavailable) }
        #expect(try guest.tryPIN([7]) == TPMRC.authUnavailable)
    }

    @Test func anAuthorizationIsChangedByItsPolicy() throws {
        let guest = try Guest()
        try guest.define(attributes(.ordinary, [.policyRead]), auth: [1], policy: policy(.nvChangeAuth))
        #expect(try guest.run(.nvWrite, [.owner, index]) { $0.sized16([UInt8](repeating: 3, count: 8)); $0.u16(0) }.code == .success)
        #expect(try guest.run(.nvChangeAuth, [index], passwords: [[1]]) { $0.sized16([2]) }.code == TPMRC.authType)
        let session = try guest.policySession(.nvChangeAuth)
        let auth = AuthCommand(handle: session, attributes: [.continueSession])
        let tooLong = try guest.run(.nvChangeAuth, [index], sessions: [auth]) { $0.sized16([UInt8](repeating: 1, count: 33)) }
        #expect(tooLong.code == TPMRC.size.parameter(1))
        #expect(try guest.run(.nvChangeAuth, [index], sessions: [auth]) { $0.sized16([2, 0]) }.code == .success)
        #expect(try guest.tryPIN([1]) == TPMRC.badAuth.session(1))
        #expect(try guest.tryPIN([2]) == .success)
    }

    @Test func aPolicyDeletesWhatNothingElseDeletes() throws {
        let guest = try Guest()
        try guest.define(
            attributes(.ordinary, [.platformCreate, .policyDelete, .ppWrite, .ppRead]), policy: policy(.nvUndefineSpaceSpecial), by: .platform)
        #expect(try guest.run(.nvUndefineSpace, [.platform, index]).code == TPMRC.attributes.handle(2))
        let session = try guest.policySession(.nvUndefineSpaceSpecial)
        let sessions = [AuthCommand(handle: session, attributes: []), AuthCommand(handle: .password, attributes: [])]
        #expect(try guest.run(.nvUndefineSpaceSpecial, [index, .platform], sessions: sessions).code == .success)
        #expect(try guest.run(.nvReadPublic, [index]).code == TPMRC.handle.handle(1))
    }

    /// An orderly index of a stock TPM is not stored at once, so its Shutdown does not stand after a write; nor does ours.
    @Test func writingAnOrderlyIndexEndsAShutdown() throws {
        for (orderly, code) in [(false, TPMRC.success), (true, TPMRC.value.parameter(1))] {
            let guest = try Guest()
            try guest.define(attributes(.ordinary, orderly ? [.orderly] : []))
            _ = try guest.succeed(.shutdown) { $0.u16(1) }
            #expect(try guest.write([1]) == .success)
            guest.powerOn()
            #expect(try guest.run(.startup) { $0.u16(1) }.code == code)
        }
    }
}
