// What the platform decides: PCR banks and their authorization, hierarchies, seeds, clock, lockout (Part 3, 22 and 24 to 30).
import SystemMap
import Testing
import TPMCrypto
import TPMWire
import Wire

@testable import VirtualTPM

extension Guest {
    fileprivate func allocate(_ selections: [PCRSelection]) throws -> ResponseMessage {
        try run(.pcrAllocate, [.platform]) { $0.list(selections) }
    }
    fileprivate func extend(_ pcr: UInt32, password: [UInt8] = []) throws -> TPMRC {
        try run(.pcrExtend, [TPMHandle(pcr)], passwords: [password]) {
            $0.list([HashAlgorithm.sha1, .sha256].map { TaggedDigest($0, [UInt8](repeating: 1, count: $0.digestSize)) })
        }.code
    }
    /// The selection and the digests that PCR_Read answers.
    fileprivate func read(_ hash: HashAlgorithm, _ pcr: Int) throws -> (present: Bool, digest: [UInt8]?) {
        var reader = try succeed(.pcrRead) { $0.list([PCRSelection(hash, pcrs: [pcr])]) }
        _ = try reader.u32()
        let selection = try reader.list(PCRSelection.self, max: 4)
        let count = try reader.u32()
        return (selection[0].pcrs.contains(pcr), count == 0 ? nil : try reader.sized16())
    }
    fileprivate func banks() throws -> [PCRSelection] {
        var reader = try succeed(.getCapability) { $0.u32(5); $0.u32(0); $0.u32(8) }
        _ = try reader.bytes(5)
        return try reader.list(max: 8)
    }
    fileprivate func clockInfo() throws -> ClockInfo {
        var reader = try succeed(.readClock)
        _ = try reader.u64()
        return try reader.value()
    }
    fileprivate func control(_ enable: TPMHandle, _ state: UInt8, by hierarchy: TPMHandle) throws -> TPMRC {
        try run(.hierarchyControl, [hierarchy]) { $0.value(enable); $0.u8(state) }.code
    }
    fileprivate func primary(_ hierarchy: TPMHandle) throws -> (handle: TPMHandle, name: [UInt8]) {
        let response = try create(.createPrimary, hierarchy, eccStorageTemplate)
        let handle = try #require(response.handle)
        return (handle, try name(handle))
    }
    fileprivate func name(_ handle: TPMHandle) throws -> [UInt8] {
        var reader = try succeed(.readPublic, [handle])
        _ = try reader.sized16()
        return try reader.sized16()
    }
    private func create(_ code: TPMCommandCode, _ parent: TPMHandle, _ template: PublicArea) throws -> ResponseMessage {
        try run(code, [parent]) {
            $0.sized16(SensitiveCreate(userAuth: [], data: []))
            $0.sized16(template)
            $0.sized16([UInt8]())
            $0.list([PCRSelection]())
        }
    }
    fileprivate func set(tries: UInt32, recovery: UInt32, lockout: UInt32) throws -> TPMRC {
        try run(.dictionaryAttackParameters, [.lockout]) { $0.u32(tries); $0.u32(recovery); $0.u32(lockout) }.code
    }
    fileprivate func property(_ property: UInt32) throws -> UInt32 {
        var reader = try succeed(.getCapability) { $0.u32(6); $0.u32(property); $0.u32(1) }
        _ = try reader.bytes(13)
        return try reader.u32()
    }
}

private let eccStorageTemplate = PublicArea(
    nameAlgorithm: .sha256,
    attributes: [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .restricted, .decrypt],
    parameters: .ecc(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, curve: .p256, kdf: .null),
    unique: .ecc(ECCPoint(x: [], y: [])))

@Suite struct State3PlatformTests {
    // MARK: PCR

    @Test func banksChangeAtTheNextReset() throws {
        let guest = try Guest()
        let response = try guest.allocate([PCRSelection(.sha1, pcrs: [])])
        #expect(response.code == .success)
        var reader = WireReader(response.parameters)
        #expect(try reader.flag() && reader.u32() == 24 && reader.u32() == (32 + 48 + 64) * 24 && reader.u32() == (20 + 32 + 48 + 64) * 24)
        #expect(try guest.read(.sha1, 16).present)
        #expect(try guest.run(.shutdown) { $0.u16(1) }.code == TPMRC.type.parameter(1))
        #expect(try guest.run(.shutdown) { $0.u16(0) }.code == .success)
        try guest.revive()
        try guest.startup()
        #expect(try guest.extend(16) == .success)
        #expect(try guest.read(.sha1, 16) == (false, nil))
        #expect(try guest.read(.sha256, 16).digest == digest(.sha256, [UInt8](repeating: 0, count: 32), [UInt8](repeating: 1, count: 32)))
        #expect(try guest.banks().map(\.pcrs.count) == [0, 24, 24, 24])
        let all = HashAlgorithm.allCases.map { PCRSelection($0, pcrs: [0]) }
        #expect(try guest.allocate(all).code == TPMRC.pcr)
    }

    @Test func someRegistersHaveAnAuthorization() throws {
        let guest = try Guest()
        _ = try guest.pcrs.pcrs.setLocality(2)
        #expect(try guest.run(.pcrSetAuthValue, [TPMHandle(19)]) { $0.sized16([5]) }.code == TPMRC.value)
        #expect(try guest.run(.pcrSetAuthValue, [TPMHandle(20)]) { $0.sized16([5, 0]) }.code == .success)
        #expect(try guest.extend(21) == TPMRC.badAuth.session(1))
        #expect(try guest.extend(21, password: [5]) == .success)
        func setPolicy(_ digest: [UInt8], _ hash: HashAlgorithm?, _ pcr: UInt32) throws -> TPMRC {
            try guest.run(.pcrSetAuthPolicy, [.platform]) {
                $0.sized16(digest)
                $0.hashOrNull(hash)
                $0.u32(pcr)
            }.code
        }
        let policy = [UInt8](repeating: 1, count: 32)
        #expect(try setPolicy(policy, .sha1, 20) == TPMRC.size.parameter(1))
        #expect(try setPolicy(policy, .sha256, 19) == TPMRC.value.parameter(3))
        #expect(try setPolicy(policy, .sha256, 24) == TPMRC.value.parameter(3))
        #expect(try setPolicy(policy, .sha256, 22) == .success)
        #expect(try guest.extend(20, password: [5]) == TPMRC.authType)
        _ = try guest.succeed(.changePPS, [.platform])
        #expect(try guest.extend(20, password: [5]) == .success)
        _ = try guest.succeed(.clear, [.lockout])
        #expect(try guest.extend(20) == .success)
    }

    @Test func aDynamicLaunchRaisesRestartCount() throws {
        let guest = try Guest()
        func launch() {
            guest.pcrs.pcrs.hashStart()
            guest.pcrs.pcrs.hashData([1])
            guest.pcrs.pcrs.hashEnd()
        }
        launch()
        #expect(try guest.clockInfo().restartCount == 1)
        _ = try guest.succeed(.shutdown) { $0.u16(1) }
        #expect(try guest.clockInfo().restartCount == 1)
        guest.powerOn()
        launch()
        try guest.startup()
        #expect(try guest.clockInfo().restartCount == 2)
        guest.powerOn()
        try guest.startup()
        #expect(try guest.clockInfo().restartCount == 0)
    }

    @Test func anUndoneShutdownResetsTheUpdateCounter() throws {
        let guest = try Guest()
        for _ in 0..<9 { #expect(try guest.extend(1) == .success) }
        let before = try guest.pcrs.values().updateCounter
        _ = try guest.succeed(.shutdown) { $0.u16(1) }
        #expect(try guest.run(.hierarchyChangeAuth, [.platform]) { $0.sized16([1]) }.code == .success)
        guest.powerOn()
        try guest.startup()
        #expect(try guest.pcrs.values().updateCounter <= before)
        #expect(try guest.clockInfo().restartCount == 0)
    }

    // MARK: Hierarchies

    @Test func aHierarchyIsSwitchedOffAndOn() throws {
        let guest = try Guest()
        let owned = try guest.primary(.owner)
        #expect(try guest.control(.null, 0, by: .platform) == TPMRC.value.parameter(1))
        #expect(try guest.control(.owner, 2, by: .platform) == TPMRC.value.parameter(2))
        #expect(try guest.control(.platform, 0, by: .owner) == TPMRC.authType)
        #expect(try guest.control(.endorsement, 0, by: .owner) == TPMRC.authType)
        #expect(try guest.control(.owner, 0, by: .owner) == .success)
        #expect(try guest.run(.readPublic, [owned.handle]).code == TPMRC.referenceH0)
        #expect(try guest.control(.owner, 1, by: .owner) == TPMRC.hierarchy.handle(1))
        #expect(try guest.control(.owner, 1, by: .platform) == .success)
        #expect(try guest.primary(.owner).name == owned.name)
        #expect(try guest.control(.platform, 0, by: .platform) == .success)
        #expect(try guest.control(.platform, 1, by: .platform) == TPMRC.hierarchy.handle(1))
        guest.powerOn()
        try guest.startup()
        #expect(try guest.control(.platformNV, 0, by: .platform) == .success)
    }

    @Test func aNewSeedGivesNewKeys() throws {
        let guest = try Guest()
        for (hierarchy, command) in [(TPMHandle.platform, TPMCommandCode.changePPS), (.endorsement, .changeEPS)] {
            let before = try guest.primary(hierarchy)
            let other = try guest.primary(.owner)
            let primaries = guest.tpm.durable.primaries.count
            _ = try guest.succeed(command, [.platform])
            #expect(try guest.run(.readPublic, [before.handle]).code == TPMRC.referenceH0)
            #expect(guest.tpm.durable.primaries.count == primaries - 1)
            #expect(try guest.primary(hierarchy).name != before.name)
            #expect(try guest.name(other.handle) == other.name)
            guest.powerOn()
            try guest.startup()
        }
    }

    @Test func clearIsForbiddenByBothAndAllowedByThePlatform() throws {
        let guest = try Guest()
        func clearControl(_ disable: UInt8, by handle: TPMHandle) throws -> TPMRC {
            try guest.run(.clearControl, [handle]) { $0.u8(disable) }.code
        }
        #expect(try clearControl(1, by: .lockout) == .success)
        #expect(try guest.run(.clear, [.platform]).code == TPMRC.disabled)
        #expect(try clearControl(0, by: .lockout) == TPMRC.authFail)
        #expect(try clearControl(0, by: .platform) == .success)
        #expect(try guest.run(.clear, [.platform]).code == .success)
    }

    @Test func primaryPolicies() throws {
        let guest = try Guest()
        for handle in [TPMHandle.owner, .endorsement, .platform, .lockout] {
            func set(_ digest: [UInt8], _ hash: HashAlgorithm?) throws -> TPMRC {
                try guest.run(.setPrimaryPolicy, [handle]) { $0.sized16(digest); $0.hashOrNull(hash) }.code
            }
            #expect(try set([1], .sha256) == TPMRC.size.parameter(1))
            #expect(try set([1], nil) == TPMRC.size.parameter(1))
            #expect(try set([UInt8](repeating: 1, count: 20), .sha1) == .success)
            #expect(guest.tpm.authPolicy(of: handle)?.hash == .sha1)
            #expect(try set([], nil) == .success)
            #expect(guest.tpm.authPolicy(of: handle) == nil)
        }
    }

    // MARK: Lockout, clock, the rest

    @Test func lockoutParametersAndReset() throws {
        let guest = try Guest()
        #expect(try guest.set(tries: 1, recovery: 10, lockout: 20) == .success)
        #expect(try [0x20F, 0x210, 0x211].map { try guest.property($0) } == [1, 10, 20])
        guest.tpm.registerAuthFailure(lockoutAuth: false)
        try guest.tpm.commit()
        #expect(try guest.property(0x20E) == 1)
        #expect(try guest.property(0x200) & 1 << 9 != 0)
        #expect(try guest.run(.dictionaryAttackLockReset, [.lockout]).code == .success)
        #expect(try guest.property(0x20E) == 0)
    }

    @Test func recoveryGoesOnAfterAnOrderlyShutdownOnly() throws {
        for (isOrderly, left) in [(true, UInt32(0)), (false, 1)] {
            let guest = try Guest()
            #expect(try guest.set(tries: 3, recovery: 10, lockout: 20) == .success)
            guest.tpm.registerAuthFailure(lockoutAuth: false)
            try guest.tpm.commit()
            guest.clock.milliseconds += 6_000
            if isOrderly { _ = try guest.succeed(.shutdown) { $0.u16(0) } }
            try guest.revive()
            try guest.startup()
            guest.clock.milliseconds += 6_000
            #expect(try guest.run(.hierarchyChangeAuth, [.owner]) { $0.sized16([]) }.code == .success)
            #expect(try guest.property(0x20E) == left)
        }
    }

    @Test func aFailureThatCannotBeStoredCounts() throws {
        let guest = try Guest()
        guest.store.failure = .io(5)
        #expect(try guest.run(.hierarchyChangeAuth, [.lockout], passwords: [[1]]) { $0.sized16([]) }.code == TPMRC.authFail.session(1))
        #expect(try guest.run(.hierarchyChangeAuth, [.lockout]) { $0.sized16([]) }.code == TPMRC.lockout.session(1))
    }

    @Test func theClockIsSetForwardOnly() throws {
        let guest = try Guest()
        let now = try guest.clockInfo().clock
        func set(_ time: UInt64) throws -> TPMRC { try guest.run(.clockSet, [.owner]) { $0.u64(time) }.code }
        #expect(try set(now + 1_000_000) == .success)
        #expect(try guest.clockInfo().clock == now + 1_000_000)
        #expect(try set(now) == TPMRC.value.parameter(1))
        #expect(try set(0xFFFF_0000_0000_0001) == TPMRC.value.parameter(1))
        try guest.revive()
        try guest.startup()
        #expect(try guest.clockInfo().clock >= now + 1_000_000)
        for (rate, code) in [(UInt8(0), TPMRC.success), (3, .success), (0xFD, .success), (4, .value.parameter(1)), (0x80, .value.parameter(1))] {
            #expect(try guest.run(.clockRateAdjust, [.platform]) { $0.u8(rate) }.code == code)
        }
    }

    @Test func managementCommands() throws {
        let guest = try Guest()
        let ppCommands = try guest.run(.ppCommands, [.platform]) {
            $0.list([TPMCommandCode.clear])
            $0.list([TPMCommandCode]())
        }
        #expect(ppCommands.code == TPMRC.pp.session(1))
        #expect(try guest.run(.setAlgorithmSet, [.platform]) { $0.u32(7) }.code == .success)
        #expect(try guest.property(0x20C) == 7)
        func test(_ parameters: [UInt8]) throws -> TPMRC { try guest.run(.testParms) { $0.raw(parameters) }.code }
        #expect(try test(hex("0008 0010")) == .success)
        #expect(try test(hex("0001 0010 0010 0800 00000000")) == .success)
        #expect(try test(hex("0001 0010 0010 0801 00000000")) == TPMRC.value.parameter(1))
        #expect(try test(hex("0023 0010 0010 0003 0010")) == .success)
        #expect(try test(hex("0010 0010")) == TPMRC.type.parameter(1))
    }

    @Test func withoutItsStateATPMStillSaysWhoItIs() throws {
        let guest = try Guest()
        let tpm = VirtualTPM(withoutState: guest.device, pcrs: guest.pcrs, policy: guest.policy, clock: guest.clock, limits: Limits())
        tpm.powerOn()
        func run(_ code: TPMCommandCode, _ parameters: [UInt8]) throws -> ResponseMessage {
            try ResponseMessage(tpm.execute(CommandMessage(code, parameters: parameters).bytes), hasHandle: false)
        }
        #expect(try run(.startup, [0, 0]).code == TPMRC.failure)
        #expect(try run(.getRandom, [0, 1]).code == TPMRC.failure)
        let manufacturer = try run(.getCapability, UInt32(6).wire + UInt32(0x105).wire + UInt32(1).wire)
        #expect(manufacturer.code == .success)
        #expect(Array(manufacturer.parameters.suffix(4)) == Array(Identification.manufacturer.utf8))
        #expect(try run(.getTestResult, []).parameters.suffix(4) == TPMRC.failure.rawValue.wire[...])
    }
}
