// Power cycles (Part 1, 12.2), the clock (Part 1, 36), lockout over time (Part 1, 19.8), Clear and authorizations (Part 3, 24).
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

extension Guest {
    fileprivate func shutdown(state: Bool) throws {
        _ = try succeed(.shutdown) { $0.u16(state ? 1 : 0) }
    }
    fileprivate func tryStartup(_ type: UInt16) throws -> TPMRC { try run(.startup) { $0.u16(type) }.code }
    fileprivate func readClock() throws -> (time: UInt64, info: ClockInfo) {
        var reader = try succeed(.readClock)
        return (try reader.u64(), try reader.value())
    }
    fileprivate func changeAuth(_ handle: TPMHandle, from old: [UInt8], to new: [UInt8]) throws -> TPMRC {
        try run(.hierarchyChangeAuth, [handle], passwords: [old]) { $0.sized16(new) }.code
    }
    /// An index that keeps or loses what `attributes` say, written.
    fileprivate func written(_ number: UInt32, _ attributes: NVAttributes) throws -> TPMHandle {
        let handle = TPMHandle(.nvIndex, number)
        let area = NVPublic(
            index: handle, nameAlgorithm: .sha256, attributes: attributes.union([.ownerWrite, .ownerRead]), authPolicy: [], dataSize: 4)
        _ = try succeed(.nvDefineSpace, [.owner]) {
            $0.sized16([UInt8]())
            $0.sized16(area)
        }
        _ = try succeed(.nvWrite, [.owner, handle]) {
            $0.sized16([1, 2, 3, 4])
            $0.u16(0)
        }
        return handle
    }
    fileprivate func isWritten(_ handle: TPMHandle) throws -> Bool {
        try run(.nvRead, [.owner, handle]) {
            $0.u16(4)
            $0.u16(0)
        }.code == .success
    }
    fileprivate func property(_ property: UInt32) throws -> UInt32 {
        var reader = try succeed(.getCapability) {
            $0.u32(6)
            $0.u32(property)
            $0.u32(1)
        }
        _ = try reader.bytes(13)
        return try reader.u32()
    }
}

@Suite struct StateStartupTests {
    @Test func nothingWorksBeforeStartupAndStartupWorksOnce() throws {
        let guest = try Guest(started: false)
        #expect(try guest.run(.readClock).code == .initialize)
        #expect(try guest.tryStartup(2) == TPMRC.value.parameter(1))
        #expect(try guest.tryStartup(1) == TPMRC.value.parameter(1))
        #expect(try guest.tryStartup(0) == .success)
        #expect(try guest.tryStartup(0) == .initialize)
    }

    @Test func aNewTPMIsLastingFromItsMaking() throws {
        let guest = try Guest(started: false)
        #expect(guest.store.records.count == 3)
        let seed = guest.tpm.durable.hierarchies.owner.seedID
        try guest.revive()
        #expect(guest.tpm.durable.hierarchies.owner.seedID == seed)
    }

    @Test func aResumeTakesBackWhatShutdownKept() throws {
        let guest = try Guest()
        #expect(try guest.changeAuth(.platform, from: [], to: [7]) == .success)
        let stClear = try guest.written(1, .clearStClear)
        let nullProof = guest.tpm.volatile.hierarchies.nullProof
        try guest.shutdown(state: true)
        guest.powerOn()
        #expect(try guest.tryStartup(1) == .success)
        #expect(try guest.changeAuth(.platform, from: [7], to: [8]) == .success)
        #expect(try guest.isWritten(stClear))
        #expect(guest.tpm.volatile.hierarchies.nullProof == nullProof)
        let clock = try guest.readClock().info
        #expect(clock.resetCount == 1 && clock.restartCount == 1 && clock.safe)
    }

    @Test func aRestartKeepsTheNullHierarchyAndForgetsPlatformAuth() throws {
        let guest = try Guest()
        #expect(try guest.changeAuth(.platform, from: [], to: [7]) == .success)
        let (stClear, orderly) = (try guest.written(1, .clearStClear), try guest.written(2, .orderly))
        let nullProof = guest.tpm.volatile.hierarchies.nullProof
        try guest.shutdown(state: true)
        guest.powerOn()
        #expect(try guest.tryStartup(0) == .success)
        #expect(try guest.changeAuth(.platform, from: [], to: [8]) == .success)
        #expect(try !guest.isWritten(stClear))
        #expect(try guest.isWritten(orderly))
        #expect(guest.tpm.volatile.hierarchies.nullProof == nullProof)
        #expect(try guest.readClock().info.restartCount == 1)
    }

    @Test func aResetRenewsTheNullHierarchyAndCounts() throws {
        let guest = try Guest()
        let (stClear, orderly, ordinary) = (try guest.written(1, .clearStClear), try guest.written(2, .orderly), try guest.written(3, []))
        let nullProof = guest.tpm.volatile.hierarchies.nullProof
        try guest.shutdown(state: false)
        guest.powerOn()
        #expect(try guest.tryStartup(1) == TPMRC.value.parameter(1))
        #expect(try guest.tryStartup(0) == .success)
        #expect(try !guest.isWritten(stClear) && !guest.isWritten(orderly) && guest.isWritten(ordinary))
        #expect(guest.tpm.volatile.hierarchies.nullProof != nullProof)
        let clock = try guest.readClock().info
        #expect(clock.resetCount == 2 && clock.restartCount == 0 && clock.safe)
        #expect(try guest.property(0x201) == 0x8000_000F)
    }

    /// Bytes that a former owner of the index wrote do not show through a new first write.
    @Test func dataOfAnIndexThatWasClearedIsGone() throws {
        let guest = try Guest()
        let handle = try guest.written(1, .clearStClear)
        guest.powerOn()
        try guest.startup()
        _ = try guest.succeed(.nvWrite, [.owner, handle]) {
            $0.sized16([9])
            $0.u16(0)
        }
        var reader = try guest.succeed(.nvRead, [.owner, handle]) {
            $0.u16(4)
            $0.u16(0)
        }
        #expect(try reader.sized16() == [9, 0xFF, 0xFF, 0xFF])
    }

    @Test func withoutShutdownTheClockIsNotSafe() throws {
        let guest = try Guest()
        guest.powerOn()
        try guest.startup()
        #expect(try !guest.readClock().info.safe)
        #expect(try guest.property(0x201) == 0x0000_000F)
        guest.clock.milliseconds += ClockState.updateInterval
        _ = try guest.readClock()
        #expect(try guest.readClock().info.safe)
    }

    @Test func whatChangesAfterAShutdownUndoesIt() throws {
        let guest = try Guest()
        try guest.shutdown(state: true)
        _ = try guest.succeed(.pcrRead) { $0.list([PCRSelection]()) }
        _ = try guest.succeed(.pcrExtend, [TPMHandle(16)]) { $0.list([TaggedDigest]()) }
        guest.powerOn()
        #expect(try guest.tryStartup(1) == .success)
        try guest.shutdown(state: true)
        _ = try guest.succeed(.pcrExtend, [TPMHandle(1)]) { $0.list([TaggedDigest(.sha1, [UInt8](repeating: 1, count: 20))]) }
        guest.powerOn()
        #expect(try guest.tryStartup(1) == TPMRC.value.parameter(1))
        #expect(try guest.tryStartup(0) == .success)
        #expect(try guest.readClock().info.resetCount == 2)
    }

    @Test func aNewProcessCannotResume() throws {
        let guest = try Guest()
        try guest.shutdown(state: true)
        try guest.revive()
        #expect(try guest.tryStartup(1) == TPMRC.value.parameter(1))
        #expect(try guest.tryStartup(0) == .success)
        #expect(try guest.readClock().info.resetCount == 2)
    }

    @Test func timeStartsWithThePowerAndClockGoesOn() throws {
        let guest = try Guest()
        guest.clock.milliseconds += 500
        let first = try guest.readClock()
        #expect(first.time == 500 && first.info.clock == 500)
        try guest.shutdown(state: false)
        guest.powerOn()
        guest.clock.milliseconds += 7
        try guest.startup()
        let second = try guest.readClock()
        #expect(second.time == 7 && second.info.clock == 507)
    }

    /// What was told is at most an interval ahead of what is stored, and a crash skips one.
    @Test func theClockNeverGoesBackWhenTheProcessIsKilled() throws {
        let guest = try Guest()
        var told: UInt64 = 0
        for step in [10, ClockState.updateInterval - 11, 100_000, 3, 65_000] {
            guest.clock.milliseconds += step
            let before = guest.store.commits
            told = try guest.readClock().info.clock
            #expect(guest.store.commits <= before + 1)
            try guest.revive()
            try guest.startup()
            let now = try guest.readClock().info
            #expect(now.clock >= told && now.clock <= told + 2 * ClockState.updateInterval)
            #expect(!now.safe)
        }
    }

    @Test func theClockDoesNotGoBackAfterAShutdownEither() throws {
        let guest = try Guest()
        try guest.shutdown(state: false)
        guest.clock.milliseconds += 1000
        let told = try guest.readClock().info.clock
        try guest.revive()
        try guest.startup()
        let now = try guest.readClock().info
        #expect(now.clock == told && now.safe)
    }

    @Test func readingTheClockOftenCommitsSeldom() throws {
        let guest = try Guest()
        let commits = guest.store.commits
        for _ in 0..<1000 {
            guest.clock.milliseconds += 100
            _ = try guest.readClock()
        }
        #expect(guest.store.commits == commits + 1)
    }

    @Test func testsAreDone() throws {
        let guest = try Guest()
        #expect(try guest.run(.selfTest) { $0.u8(1) }.code == .success)
        #expect(try guest.run(.selfTest) { $0.u8(2) }.code == TPMRC.value.parameter(1))
        var toDo = try guest.succeed(.incrementalSelfTest) { $0.list([TPMAlgorithm.sha256, .aes]) }
        #expect(try toDo.u32() == 0)
        #expect(try guest.run(.incrementalSelfTest) { $0.list([TPMAlgorithm.sm4]) }.code == TPMRC.value.parameter(1))
        #expect(try guest.run(.getTestResult).parameters == hex("0000 00000000"))
    }
}

@Suite struct StateLockoutTests {
    private func lockedOut() throws -> Guest {
        let guest = try Guest()
        for _ in 0..<3 { guest.tpm.registerAuthFailure(lockoutAuth: false) }
        guest.tpm.registerAuthFailure(lockoutAuth: true)
        try guest.tpm.commit()
        return guest
    }

    @Test func failedTriesRecoverOneByOne() throws {
        let guest = try lockedOut()
        #expect(try guest.property(0x200) & 1 << 9 != 0)
        guest.clock.milliseconds += 999_999
        guest.tpm.updateRecovery()
        #expect(guest.tpm.durable.lockout.failedTries == 3 && !guest.tpm.durable.lockout.lockoutAuthEnabled)
        guest.clock.milliseconds += 1
        guest.tpm.updateRecovery()
        #expect(guest.tpm.durable.lockout.failedTries == 2 && guest.tpm.durable.lockout.lockoutAuthEnabled)
        guest.clock.milliseconds += 1_500_000
        guest.tpm.updateRecovery()
        #expect(guest.tpm.durable.lockout.failedTries == 1)
        guest.clock.milliseconds += 500_000
        guest.tpm.updateRecovery()
        #expect(guest.tpm.durable.lockout.failedTries == 0)
    }

    @Test func failedTriesSurviveAPowerCycleAndAnotherProcess() throws {
        let guest = try lockedOut()
        try guest.revive()
        try guest.startup()
        guest.clock.milliseconds += 999_000
        guest.tpm.updateRecovery()
        #expect(guest.tpm.durable.lockout.failedTries == 3 && !guest.tpm.durable.lockout.lockoutAuthEnabled)
    }

    @Test func aRecoveryThatCannotBeStoredIsTriedAgain() throws {
        let guest = try lockedOut()
        guest.clock.milliseconds += 1_000_000
        guest.store.failure = .io(5)
        guest.tpm.updateRecovery()
        #expect(guest.tpm.durable.lockout.failedTries == 3)
        guest.store.failure = nil
        guest.tpm.updateRecovery()
        #expect(guest.tpm.durable.lockout.failedTries == 2)
    }
}

@Suite struct StateHierarchyTests {
    @Test func authorizationsChangeWithoutTrailingZerosAndLast() throws {
        let guest = try Guest()
        for handle in [TPMHandle.owner, .endorsement, .lockout] {
            #expect(try guest.changeAuth(handle, from: [], to: [1, 2, 0, 0]) == .success)
            #expect(try guest.changeAuth(handle, from: [1], to: []) != .success)
        }
        try guest.revive()
        try guest.startup()
        #expect(try guest.changeAuth(.owner, from: [1, 2], to: [UInt8](repeating: 1, count: 65)) == TPMRC.size.parameter(1))
        #expect(try guest.changeAuth(.owner, from: [1, 2], to: [UInt8](repeating: 1, count: 64)) == .success)
        #expect(try guest.property(0x200) & 7 == 7)
    }

    @Test func clearLeavesThePlatformAndTheEndorsementSeed() throws {
        let guest = try Guest()
        #expect(try guest.changeAuth(.owner, from: [], to: [1]) == .success)
        #expect(try guest.changeAuth(.platform, from: [], to: [2]) == .success)
        let platformIndex = TPMHandle(.nvIndex, 9)
        _ = try guest.succeed(.nvDefineSpace, [.platform], passwords: [[2]]) {
            $0.sized16([UInt8]())
            $0.sized16(NVPublic(
                index: platformIndex, nameAlgorithm: .sha256, attributes: [.ppWrite, .ppRead, .platformCreate], authPolicy: [], dataSize: 1))
        }
        _ = try guest.succeed(.nvDefineSpace, [.owner], passwords: [[1]]) {
            $0.sized16([UInt8]())
            $0.sized16(NVPublic(
                index: TPMHandle(.nvIndex, 10), nameAlgorithm: .sha256, attributes: [.ownerWrite, .ownerRead], authPolicy: [], dataSize: 1))
        }
        let before = guest.tpm.durable.hierarchies
        let counter = guest.pcrs.pcrs.values.updateCounter
        guest.clock.milliseconds += 5000
        _ = try guest.succeed(.clear, [.platform], passwords: [[2]])

        let after = guest.tpm.durable.hierarchies
        #expect(after.owner.seedID != before.owner.seedID && after.owner.proof != before.owner.proof)
        #expect(after.endorsement.seedID == before.endorsement.seedID && after.endorsement.proof != before.endorsement.proof)
        #expect(after.platform.seedID == before.platform.seedID && after.platform.proof == before.platform.proof)
        #expect(after.owner.authValue.isEmpty)
        #expect(Array(guest.tpm.durable.nv.keys) == [platformIndex])
        #expect(guest.pcrs.pcrs.values.updateCounter == counter + 1)
        let clock = try guest.readClock().info
        #expect(clock == ClockInfo(clock: 0, resetCount: 0, restartCount: 0, safe: true))
        try guest.revive()
        #expect(Array(guest.tpm.durable.nv.keys) == [platformIndex])
        #expect(guest.tpm.durable.hierarchies.owner.seedID == after.owner.seedID)
    }

    @Test func aDisabledClearIsRefused() throws {
        let guest = try Guest()
        guest.tpm.durable.hierarchies.disableClear = true
        #expect(try guest.run(.clear, [.lockout]).code == .disabled)
    }
}
