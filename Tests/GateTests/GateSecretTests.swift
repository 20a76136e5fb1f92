// The gate secret: made once, sealed in the chip, and known to the policy checker alone.
import GuestIdentity
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import PolicyChecker


private let start = PolicyCalls.Start.Request(hash: .sha256, trial: false, epoch: now, nonceSize: 16)

@Suite(.serialized) struct GateSecretTests {
    @Test func aRestartRecoversTheSecretFromTheChip() throws {
        let bench = try GateBench()
        let guest = try bench.directory.addGuest("one")
        let token = try guest.proxy(.policy).channel.call(PolicyCalls.Start.self, start).bytes
        try bench.startPolicy()
        _ = try guest.proxy(.policy).channel.call(PolicyCalls.Step.self, .init(token: token, step: .authValue, at: .init(rolls: 0, epoch: now)))
    }

    @Test func theSecretIsTheSameAtEachStartAndInNoFile() throws {
        let bench = try GateBench()
        let first = try HostGate.acquire(bench.directory.instance).opened()
        let second = try HostGate.acquire(bench.directory.instance).opened()
        #expect(first.keys.token.mac([]) == second.keys.token.mac([]))
        let record = try #require(try Files.read(bench.directory.instance.gateRecord, max: 4096))
        #expect((try? GateRecord(wire: record)) != nil)
    }

    @Test func aChipThatLostItsSessionsGetsANewOne() throws {
        let bench = try GateBench()
        let gate = try HostGate.acquire(bench.directory.instance).opened()
        let record = try GateRecord(wire: try #require(try Files.read(bench.directory.instance.gateRecord, max: 4096)))
        let command = GateCommand(
            code: .unseal, target: .gateSecret(record.area, record.wrapped), name: record.area.name, attributes: .encrypt)
        let before = try gate.chip.run(command).parameters
        bench.chip.kill()
        try bench.chip.start()
        #expect(try gate.chip.run(command).parameters == before)
        try bench.startDevice()
        #expect(try gate.chip.run(command).parameters == before)
    }

    @Test func aDamagedRecordIsLeftAlone() throws {
        let bench = try GateBench()
        let path = bench.directory.instance.gateRecord
        try Files.write(path, [1, 2, 3], mode: 0o600, replacing: true)
        #expect(throws: Failure.self) { try HostGate.acquire(bench.directory.instance) }
        #expect(try Files.read(path, max: 4096) == [1, 2, 3])
    }

    @Test func underPCRsTheChipOpensItOnlyWhileTheyAreTheSame() throws {
        let bench = try GateBench()
        let instance = bench.directory.instance
        let selection = [PCRSelection(.sha256, pcrs: [0, 7]), PCRSelection(.sha1, pcrs: [16])]
        let guest = try GateGuest(bench, "one")
        let object = try guest.create(.sealed(policy: GateGuest.policyDigest(try guest.pcrSession())), data: [1, 2, 3])
        let former = try #require(try Files.read(instance.gateRecord, max: 4096))

        let seal = GateSealCalls.Seal.Request(selection: selection)
        #expect(throws: IPCError.status(.notPermitted)) { try guest.policy.call(GateSealCalls.Seal.self, seal) }
        #expect(throws: IPCError.status(.notPermitted)) { try guest.policy.call(GateSealCalls.Open.self, Blob(former)) }
        let record = try bench.directory.connect(.policy).call(GateSealCalls.Seal.self, seal).bytes
        #expect(try GateRecord(wire: record).area.attributes.isDisjoint(with: .userWithAuth))
        try Files.write(instance.gateRecord, record, mode: 0o600, replacing: true)
        try bench.startPolicy()
        // The same secret: the proxies' tokens and objects are as good as before.
        try guest.reconnect()
        #expect(try guest.use(object, .unseal, token: try guest.pcrSession()) == [1, 2, 3])

        try bench.extendChip(16)
        #expect { try HostGate.acquire(instance) } throws: { ($0 as? Failure)?.message.contains("sha256:0,7+sha1:16") == true }
        // The former record opens however the host booted; and twice the same bank is no selection.
        try Files.write(instance.gateRecord, former, mode: 0o600, replacing: true)
        #expect(try HostGate.acquire(instance).opened().keys.token.mac([]) == HostGate.acquire(instance).opened().keys.token.mac([]))
        let twice = GateSealCalls.Seal.Request(selection: selection + selection)
        #expect(throws: IPCError.status(.malformed)) { try bench.directory.connect(.policy).call(GateSealCalls.Seal.self, twice) }
    }

    /// Seal alone puts nothing into use, and no record replaces the secret in use.
    @Test func aRecordOfAnotherSecretIsNotTaken() throws {
        let bench = try GateBench()
        let instance = bench.directory.instance
        let other = HostGate(instance, boot: [], nil)
        let record = try other.sealed(under: []).wire
        #expect(throws: CallStatus(.disabled)) { try other.opened() }
        let policy = try bench.directory.connect(.policy)
        #expect(throws: IPCError.status(.notPermitted)) { try policy.call(GateSealCalls.Open.self, Blob(record)) }
        #expect(throws: IPCError.status(.malformed)) { try policy.call(GateSealCalls.Open.self, Blob([1, 2, 3])) }
        let own = try #require(try Files.read(instance.gateRecord, max: 4096))
        let reply = try policy.call(GateSealCalls.Open.self, Blob(own))
        #expect(!reply.isNew && reply.selection.isEmpty)
    }

    @Test func anotherHostRootIsRefused() throws {
        let bench = try GateBench()
        let path = bench.directory.instance.gateRecord
        let record = try GateRecord(wire: try #require(try Files.read(path, max: 4096)))
        let foreign = GateRecord(rootName: record.rootName.reversed(), selection: [], area: record.area, wrapped: record.wrapped)
        try Files.write(path, foreign.wire, mode: 0o600, replacing: true)
        #expect(throws: Failure.self) { try HostGate.acquire(bench.directory.instance) }
    }

    @Test func onlyThePolicyCheckerHasSomethingCarried() throws {
        let bench = try GateBench()
        let guest = try bench.directory.addGuest("one")
        for channel in [try guest.proxy(.device).channel, try guest.door(.device)] {
            #expect(throws: IPCError.status(.notPermitted)) { try channel.call(CarryCalls.HostRoot.self, Nothing()) }
            #expect(throws: IPCError.status(.notPermitted)) {
                try channel.call(CarryCalls.StartSession.self, .init(nonceCaller: [1], encryptedSalt: [1]))
            }
        }
    }
}
