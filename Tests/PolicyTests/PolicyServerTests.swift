// paratpm-policy as its peers meet it, with paratpm-pcr under it.
import CryptoBase
import EnhancedAuthorization
import Glibc
import GuestIdentity
import IPC
import PCRStore
import PolicyChecker
import RunningService
import SystemMap
import TPMWire
import Testing
import Wire

private final class House {
    let directory: TemporaryInstance
    var pcr: RunningService?
    var policy: RunningService?

    init() throws {
        directory = try TemporaryInstance()
        try startPCR()
        try startPolicy()
    }

    func startPCR() throws {
        let instance = directory.instance
        pcr = try RunningService(.pcr, in: directory) { PCRServer(instance).service }
    }

    func startPolicy() throws {
        let instance = directory.instance
        let gate = Gate(keys: gateKeys, chip: GateChip(instance, rootName: []))
        policy = try RunningService(.policy, in: directory) { PolicyServer(instance, HostGate(instance, boot: [], gate)).service }
    }

    /// A proxy's connection to paratpm-pcr, with power and Startup behind it.
    func power(_ guest: TestGuest) throws -> Channel {
        _ = try guest.door(.pcr).call(PCRCalls.PowerOn.self, Nothing())
        let proxy = try guest.proxy(.pcr).channel
        _ = try proxy.call(PCRCalls.Startup.self, .init(state: false))
        return proxy
    }
}

private let ones = TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))
private let start = PolicyCalls.Start.Request(hash: .sha256, trial: false, epoch: epoch, nonceSize: 16)
private let now = PolicyMoment(rolls: 0, epoch: epoch)
private let pcr7 = PolicyStep.pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [7])])

extension Channel {
    fileprivate func step(_ token: [UInt8], _ step: PolicyStep) throws(IPCError) -> [UInt8] {
        try call(PolicyCalls.Step.self, .init(token: token, step: step, at: now)).token
    }
}

@Suite struct PolicyServerTests {
    @Test func aSessionGoesFromStepToStep() throws {
        let house = try House()
        let guest = try house.directory.addGuest("one")
        _ = try house.power(guest)
        let proxy = try guest.proxy(.policy).channel
        var token = try proxy.call(PolicyCalls.Start.self, start).bytes
        #expect(PolicyToken.state(of: token)?.policyDigest == [UInt8](repeating: 0, count: 32))
        let two = PolicyStep.pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [0, 7]), PCRSelection(.sha256, pcrs: [16])])
        _ = try proxy.step(token, two)
        token = try proxy.step(token, .pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [0, 7, 16])]))
        // swtpm: PolicyPCR(sha256:0,7,16) after Startup
        let digest = PolicyToken.state(of: token).map { hexString($0.policyDigest) }
        #expect(digest == "2c7aaa7f9bcfbd78c8e77afa54b30c36a9db0d24520412274ee010f8ce29ae35")
        token = try proxy.step(token, .commandCode(.unseal))
        #expect(PolicyToken.state(of: token)?.commandCode == .unseal)
        #expect(throws: IPCError.status(CallStatus(rawValue: 0x1C4))) { try proxy.step(token, .commandCode(.sign)) }
    }

    @Test func aBankMayBeSelectedManyTimes() throws {
        let house = try House()
        let guest = try house.directory.addGuest("one")
        let pcr = try house.power(guest)
        _ = try pcr.call(PCRCalls.Extend.self, .init(pcr: 7, digests: [ones]))
        let proxy = try guest.proxy(.policy).channel
        let token = try proxy.call(PolicyCalls.Start.self, start).bytes
        let all = PCRSelection(.sha512, pcrs: 0..<24)
        let seven = PCRSelection(.sha256, pcrs: [7])
        _ = try proxy.step(token, .pcr(expected: [], selection: Array(repeating: all, count: PCRSelection.listMax)))
        let value = digest(.sha256, [UInt8](repeating: 0, count: 32), ones.digest)
        _ = try proxy.step(token, .pcr(expected: digest(.sha256, value, value), selection: [seven, seven]))
    }

    @Test func aChangedPCREndsTheSession() throws {
        let house = try House()
        let guest = try house.directory.addGuest("one")
        let pcr = try house.power(guest)
        let proxy = try guest.proxy(.policy).channel
        let token = try proxy.step(try proxy.call(PolicyCalls.Start.self, start).bytes, pcr7)
        _ = try pcr.call(PCRCalls.Extend.self, .init(pcr: 23, digests: [ones]))
        _ = try proxy.step(token, pcr7)
        _ = try pcr.call(PCRCalls.Extend.self, .init(pcr: 7, digests: [ones]))
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.pcrChanged.rawValue))) { try proxy.step(token, pcr7) }
        _ = try house.power(guest)
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.pcrChanged.rawValue))) { try proxy.step(token, pcr7) }
    }

    @Test func aRestartOfThePCRServiceEndsPCRSessionsAndNothingElse() throws {
        let house = try House()
        let guest = try house.directory.addGuest("one")
        _ = try house.power(guest)
        let proxy = try guest.proxy(.policy).channel
        let empty = try proxy.call(PolicyCalls.Start.self, start).bytes
        let token = try proxy.step(empty, pcr7)
        house.pcr?.stop()
        #expect(throws: IPCError.status(.unavailable)) { try proxy.step(token, pcr7) }
        _ = try proxy.step(token, .authValue)
        try house.startPCR()
        #expect(throws: IPCError.status(.unavailable)) { try proxy.step(token, pcr7) }
        _ = try house.power(guest)
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.pcrChanged.rawValue))) { try proxy.step(token, pcr7) }
        _ = try proxy.step(empty, pcr7)
    }

    @Test func aRestartOfThePolicyServiceLosesNoSession() throws {
        let house = try House()
        let guest = try house.directory.addGuest("one")
        let token = try guest.proxy(.policy).channel.call(PolicyCalls.Start.self, start).bytes
        house.policy?.stop()
        try house.startPolicy()
        _ = try guest.proxy(.policy).channel.step(token, .authValue)
    }

    @Test func aTokenIsWorthlessToAnotherGuest() throws {
        let house = try House()
        let one = try house.directory.addGuest("one").proxy(.policy).channel
        let two = try house.directory.addGuest("two").proxy(.policy).channel
        let token = try one.call(PolicyCalls.Start.self, start).bytes
        #expect(throws: IPCError.status(.notPermitted)) { try two.step(token, .authValue) }
        #expect(throws: IPCError.status(.notPermitted)) { try one.step([], .authValue) }
        _ = try one.step(token, .authValue)
    }

    @Test func guestsGetDifferentTicketsForTheSameAuthorization() throws {
        let house = try House()
        // Ten years of a guest whose power came on when the host booted
        let step = secret(expiration: -315_360_000)
        let tickets = try ["one", "two"].map { name in
            let proxy = try house.directory.addGuest(name).proxy(.policy).channel
            let token = try proxy.call(PolicyCalls.Start.self, start).bytes
            let reply = try proxy.call(PolicyCalls.Step.self, .init(token: token, step: step, at: now))
            #expect((315_360_000_000..<315_360_001_000).contains(try UInt64(wire: reply.timeout) & 0x7FFF_FFFF_FFFF_FFFF) && reply.timeout[0] == 0x80)
            return try #require(reply.ticket)
        }
        #expect(tickets[0].hierarchy == .owner)
        #expect(tickets[0].digest != tickets[1].digest)
    }

    @Test func onlyAProxyHasSessions() throws {
        let house = try House()
        let guest = try house.directory.addGuest("one")
        let token = try guest.proxy(.policy).channel.call(PolicyCalls.Start.self, start).bytes
        for channel in [try guest.door(.policy), try house.directory.connect(.policy)] {
            #expect(throws: IPCError.status(.notPermitted)) { try channel.call(PolicyCalls.Start.self, start) }
            #expect(throws: IPCError.status(.notPermitted)) { try channel.step(token, .authValue) }
        }
    }

    @Test func bytesThatAreNoCallAreAnswered() throws {
        let house = try House()
        let guest = try house.directory.addGuest("one")
        let proxy = try guest.proxy(.policy).channel
        let token = try proxy.call(PolicyCalls.Start.self, start).bytes
        let request = PolicyCalls.Step.Request(token: token, step: .or([[1], [2]]), at: now).wire
        for count in 0..<request.count {
            try proxy.send([0, 17] + request.prefix(count))
            #expect(try proxy.receive().bytes == [0x80, 0, 0, 1])
        }
        _ = try proxy.step(token, .authValue)
    }
}

@Suite struct GateKeysTests {
    @Test func ticketsBelongToAGuestAndAHierarchysProof() throws {
        let guests = [UInt8(1), 2].compactMap { GuestID([UInt8](repeating: $0, count: 32)) }
        let hierarchies = [ownerHierarchy, TicketHierarchy(.endorsement, proofDigest: ownerHierarchy.proofDigest),
                           TicketHierarchy(.owner, proofDigest: [UInt8](repeating: 0x51, count: 32))]
        let tickets = guests.flatMap { guest in
            hierarchies.map { gateKeys.mint(guest).verified($0, digest: [1], keyName: [2]).digest }
        }
        #expect(Set(tickets).count == 6)
        #expect(tickets.allSatisfy { $0.count == 64 })
    }
}
