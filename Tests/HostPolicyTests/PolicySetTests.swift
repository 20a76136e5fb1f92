// The compact form of the policy: there and back, and hostile bytes.
import HostPolicy
import SystemMap
import TPMWire
import Testing
import Wire

@Suite struct PolicySetTests {
    private var example: PolicySet {
        var set = PolicySet()
        set.enrol = AccessList(users: [0, 1000], groups: [36])
        var guest = GuestPolicy.builtIn
        guest.commands.remove(.clear)
        guest.algorithms.remove(.sha1)
        guest.curves = [.p256]
        guest.quotas.nvBytes = 1024
        guest.share.weight = 300
        guest.localities = Localities([0, 3])
        guest.deepQuotePCRs = HostPCRs([0, 7, 23])
        guest.connect = AccessList(users: [107])
        set.guests = [GuestName("web1")!: guest, GuestName("web2")!: guest, GuestName("db.A")!: .builtIn]
        return set
    }

    @Test func whatIsWrittenIsRead() throws {
        #expect(try PolicySet(wire: example.wire) == example)
        #expect(try PolicySet(wire: PolicySet.builtIn.wire) == .builtIn)
    }

    @Test func equalPoliciesStandOnce() {
        var more = example
        for i in 0..<100 { more.guests[GuestName("clone\(i)")!] = example.guests[GuestName("web1")!] }
        #expect(more.wire.count < example.wire.count + 100 * 16)
    }

    @Test func aFileThatIsCutShortIsRefused() {
        let wire = example.wire
        for count in 0..<wire.count {
            #expect(throws: WireError.self) { try PolicySet(wire: Array(wire[..<count])) }
        }
        #expect(throws: WireError.leftover) { try PolicySet(wire: wire + [0]) }
    }

    @Test func damagedBytesAreRefusedOrStayWithinTheRules() throws {
        let wire = example.wire
        for i in wire.indices {
            for change: UInt8 in [0x01, 0x80, 0xFF] {
                var bytes = wire
                bytes[i] ^= change
                guard let set = try? PolicySet(wire: bytes) else { continue }
                // What is still a policy has one form, and its numbers are in their ranges.
                #expect(set.wire.count <= bytes.count)
                for policy in [set.standard] + Array(set.guests.values) {
                    #expect(PolicyNumber.all.allSatisfy { $0.range.contains(policy[keyPath: $0.path]) })
                    #expect(policy.commands.isSuperset(of: PolicyWords.requiredCommands))
                    #expect(policy.localities.allows(0))
                }
            }
        }
    }

    @Test func countsBeyondAnyHostAreRefused() {
        var writer = WireWriter()
        writer.raw(PolicySet.builtIn.wire.prefix(5 + 8))
        writer.u32(0xFFFF_FFFF)
        #expect(throws: WireError.oversized) { try PolicySet(wire: writer.bytes) }
    }

    @Test func guestsStandInOrderAndOnce() {
        var set = PolicySet()
        set.guests = [GuestName("a")!: .builtIn, GuestName("b")!: .builtIn]
        let wire = set.wire
        // …, u32 2, "a" 0, "b" 0
        let swapped = wire.dropLast(14) + [0, 1, 0x62, 0, 0, 0, 0, 0, 1, 0x61, 0, 0, 0, 0]
        let twice = wire.dropLast(14) + [0, 1, 0x61, 0, 0, 0, 0, 0, 1, 0x61, 0, 0, 0, 0]
        #expect(wire.suffix(14) == [0, 1, 0x61, 0, 0, 0, 0, 0, 1, 0x62, 0, 0, 0, 0])
        #expect(throws: WireError.self) { try PolicySet(wire: Array(swapped)) }
        #expect(throws: WireError.self) { try PolicySet(wire: Array(twice)) }
    }

    @Test func aChangeSaysWhatCameAndWent() {
        var new = example
        new.guests[GuestName("web1")!]?.quotas.nvBytes = 2048
        new.guests[GuestName("web1")!]?.commands.insert(.clear)
        new.guests[GuestName("db.A")!] = nil
        let changes = new.changes(since: example)
        #expect(changes.map(\.key) == [.commands, .nvBytes])
        #expect(changes.map(\.text) == ["+Clear", "1024 -> 2048"])
        #expect(changes.allSatisfy { $0.guest?.text == "web1" })
        #expect(example.changes(since: example).isEmpty)
    }

    @Test func accessListsAdmitUsersAndMembersOfGroups() {
        let list = AccessList(users: [107], groups: [36])
        #expect(list.admits(user: 107, groups: [107]))
        #expect(list.admits(user: 1000, groups: [1000, 36]))
        #expect(!list.admits(user: 0, groups: [0]))
        #expect(AccessList.anybody.admits(user: 5, groups: []))
    }
}

@Suite struct LogLimiterTests {
    @Test func aBurstIsWrittenAndThenOneLineInTenSeconds() {
        var limiter = LogLimiter()
        let first = (0..<8).map { _ in limiter.admit("a", now: 100) }
        #expect(first == [0, 0, 0, 0, 0, nil, nil, nil])
        #expect(limiter.admit("b", now: 100) == 0, "one guest's lines do not cost another's")
        #expect(limiter.admit("a", now: 109) == nil)
        #expect(limiter.admit("a", now: 110) == 4)
        #expect(limiter.admit("a", now: 111) == nil)
        #expect(limiter.admit("a", now: 1000) == 1)
    }
}
