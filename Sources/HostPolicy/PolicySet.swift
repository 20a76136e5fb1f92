// The policy of a whole host in its compact form: what `paratpmctl policy compile` writes and the services load.
import SystemMap
import TPMWire
import Wire

/// File: u32 magic, u8 version, the AccessList of enrolment, u32 count and the policies, u32 index of the policy of guests that are not
/// named, u32 count and the named guests in ascending order: sized16 name, u32 index.
package struct PolicySet: Equatable, Sendable {
    /// Who may make a guest by starting `swtpm`. (Where nobody is named, who may write the instance's registry.)
    package var enrol = AccessList.anybody
    /// Of guests that no table names.
    package var standard = GuestPolicy.builtIn
    package var guests: [GuestName: GuestPolicy] = [:]

    /// In force without any file.
    package static let builtIn = PolicySet()

    /// Bytes of the largest file that is read.
    package static let largest = 4 << 20
    package static let guestsMax = 10_000
    private static let magic: UInt32 = 0x5054_504C
    /// Rises with every change of the form, and of what GuestPolicy holds.
    private static let version: UInt8 = 2

    package init() {}

    package func policy(of guest: GuestName) -> GuestPolicy { guests[guest] ?? standard }
}

extension PolicySet: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u32() == Self.magic, try reader.u8() == Self.version else { throw .invalid(0) }
        enrol = try reader.value()
        let policies: [GuestPolicy] = try reader.list(max: Self.guestsMax + 1)
        func policy(_ index: UInt32) throws(WireError) -> GuestPolicy {
            guard Int(index) < policies.count else { throw .invalid(0) }
            return policies[Int(index)]
        }
        standard = try policy(try reader.u32())
        let count = try reader.u32()
        guard count <= Self.guestsMax else { throw .oversized }
        var last = ""
        for _ in 0..<count {
            let text = try reader.text(max: 63)
            guard let name = GuestName(text), last < text else { throw .invalid(0) }
            guests[name] = try policy(try reader.u32())
            last = text
        }
    }

    package func encode(to writer: inout WireWriter) {
        var policies: [GuestPolicy] = []
        var indices: [GuestPolicy: UInt32] = [:]
        func index(_ policy: GuestPolicy) -> UInt32 {
            if let known = indices[policy] { return known }
            indices[policy] = UInt32(policies.count)
            policies.append(policy)
            return UInt32(policies.count - 1)
        }
        let standard = index(standard)
        let named = guests.sorted { $0.key.text < $1.key.text }.map { (name: $0.key.text, index: index($0.value)) }
        writer.u32(Self.magic)
        writer.u8(Self.version)
        writer.value(enrol)
        writer.list(policies)
        writer.u32(standard)
        writer.u32(UInt32(named.count))
        for guest in named {
            writer.sized16(Array(guest.name.utf8))
            writer.u32(guest.index)
        }
    }
}

/// One key of a guest's policy that a reload changed.
package struct PolicyChange: Equatable, Sendable {
    /// nil: the guests that no table names
    package let guest: GuestName?
    package let key: PolicyKey
    package let old: [String]
    package let new: [String]

    /// "old → new"; of lists only what came and went: "-Clear +Quote".
    package var text: String {
        if PolicyNumber[key] != nil { return "\(old.first ?? "") -> \(new.first ?? "")" }
        let gone = old.filter { !new.contains($0) }.map { "-" + $0 }
        let come = new.filter { !old.contains($0) }.map { "+" + $0 }
        return (gone + come).joined(separator: " ")
    }
}

extension PolicySet {
    /// What differs from `old`, guest by guest.
    package func changes(since old: PolicySet) -> [PolicyChange] {
        let names = Set(guests.keys).union(old.guests.keys).sorted { $0.text < $1.text }
        return Self.changes(nil, old.standard, standard)
            + names.flatMap { Self.changes($0, old.policy(of: $0), policy(of: $0)) }
    }

    private static func changes(_ guest: GuestName?, _ old: GuestPolicy, _ new: GuestPolicy) -> [PolicyChange] {
        guard old != new else { return [] }
        return PolicyKey.allCases.compactMap { key in
            let (before, after) = (key.words(of: old), key.words(of: new))
            return before == after ? nil : PolicyChange(guest: guest, key: key, old: before, new: after)
        }
    }
}
