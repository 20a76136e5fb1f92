// What the host's administrator allows one guest: the effective policy as a value, checked and compact (docs/policy.md).
import SystemMap
import TPMWire
import Wire

package struct GuestPolicy: Hashable, Sendable {
    /// The commands that the guest's TPM has.
    package var commands: Set<TPMCommandCode>
    /// Of the algorithms that can be taken away (`PolicyWords.algorithms`), those that the guest's TPM has.
    package var algorithms: Set<TPMAlgorithm>
    package var curves: Set<ECCCurve>
    /// Key sizes, in bits.
    package var rsaBits: Set<UInt16>
    package var aesBits: Set<UInt16>
    package var quotas = Quotas()
    package var share = DeviceShare()
    package var localities = Localities.all
    /// The host's PCRs whose composite is measured into a vPCR at each start of the guest; none: no binding.
    package var hostBinding = HostPCRs.none
    /// The vPCR that they are measured into. Not one that a guest can reset.
    package var hostBindingVPCR = 14
    /// The host's PCRs that a deep quote covers; none: no deep quotes.
    package var deepQuotePCRs = HostPCRs(0...7)
    /// Who may be the guest's door.
    package var connect = AccessList.anybody

    /// The built-in policy, in force where no file says otherwise: the whole TPM, and of the host what its
    /// firmware measured, in deep quotes.
    package static let builtIn = GuestPolicy()

    package init() {
        commands = Set(CommandTable.rows.map(\.code))
        algorithms = Set(PolicyWords.algorithms.map(\.value))
        curves = Set(ECCCurve.allCases)
        rsaBits = Set(PolicyWords.rsaBits)
        aesBits = Set(PolicyWords.aesBits)
    }
}

extension GuestPolicy {
    /// The algorithms, curves and key sizes that the guest's TPM knows.
    package var vocabulary: Vocabulary {
        Vocabulary(without: Vocabulary.words.filter { word in
            switch word {
            case .algorithm(let algorithm): !algorithms.contains(algorithm)
            case .curve(let curve): !curves.contains(curve)
            case .rsaBits(let bits): !rsaBits.contains(bits)
            case .aesBits(let bits): !aesBits.contains(bits)
            }
        })
    }
}

/// What one guest may hold at once.
package struct Quotas: Hashable, Sendable {
    /// Bytes of NV index data and their public areas
    package var nvBytes = 64 * 1024
    package var nvIndices = 256
    package var persistentObjects = 64
    /// Remembered primaries; past it CreatePrimary of a new template fails (TPM_RC_OBJECT_MEMORY)
    package var primaries = 256
    /// Loaded transient objects and sequences
    package var transientObjects = 1000
    /// Active sessions, loaded or saved
    package var sessions = 64
    package init() {}
}

/// A guest's part of the chip.
package struct DeviceShare: Hashable, Sendable {
    /// Device time in proportion to other guests'.
    package var weight = 100
    /// Requests to paratpm-device that reach the chip, in a second; 0: no limit but the others' share.
    package var operationsPerSecond = 0
    /// Keys that the chip makes, in a minute; 0: no limit.
    package var keyGenerationsPerMinute = 0
    package init() {}
}

/// The localities that the guest's platform may claim, by number 0 to 4.
package struct Localities: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package init(_ numbers: some Sequence<Int>) { rawValue = numbers.reduce(0) { $0 | 1 << UInt8($1) } }
    package static let all = Self(0...4)

    package func allows(_ locality: UInt8) -> Bool { locality <= 4 && rawValue & 1 << locality != 0 }
    package var numbers: [Int] { (0...4).filter { rawValue & 1 << UInt8($0) != 0 } }
}

/// PCRs of the hardware, by number 0 to 23.
package struct HostPCRs: Hashable, Sendable {
    package let bits: UInt32
    package static let none = HostPCRs([])

    package init(_ numbers: some Sequence<Int>) { bits = numbers.reduce(0) { $0 | 1 << UInt32($1) } }
    init?(bits: UInt32) {
        guard bits < 1 << PCRSelection.pcrCount else { return nil }
        self.bits = bits
    }

    package var isEmpty: Bool { bits == 0 }
    package var numbers: [Int] { (0..<PCRSelection.pcrCount).filter { bits & 1 << UInt32($0) != 0 } }
    package func isSubset(of other: HostPCRs) -> Bool { bits & ~other.bits == 0 }
}

/// Users and groups of the host. Both empty: anybody.
package struct AccessList: Hashable, Sendable {
    package var users: Set<UInt32>
    package var groups: Set<UInt32>
    package static let anybody = AccessList()
    package static let idsMax = 64

    package init(users: Set<UInt32> = [], groups: Set<UInt32> = []) {
        self.users = users
        self.groups = groups
    }

    package var isAnybody: Bool { users.isEmpty && groups.isEmpty }

    package func admits(user: UInt32, groups others: some Sequence<UInt32>) -> Bool {
        isAnybody || users.contains(user) || others.contains { groups.contains($0) }
    }
}

extension GuestPolicy: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        commands = try reader.ascending(max: CommandTable.rows.count)
        guard commands.isSubset(of: Self.builtIn.commands), commands.isSuperset(of: PolicyWords.requiredCommands) else {
            throw .invalid(0)
        }
        algorithms = try reader.ascending(max: PolicyWords.algorithms.count)
        curves = try reader.ascending(max: ECCCurve.allCases.count)
        rsaBits = try reader.ascending(max: PolicyWords.rsaBits.count)
        aesBits = try reader.ascending(max: PolicyWords.aesBits.count)
        guard algorithms.isSubset(of: Self.builtIn.algorithms), rsaBits.isSubset(of: Self.builtIn.rsaBits),
            aesBits.isSubset(of: Self.builtIn.aesBits), !aesBits.isEmpty
        else { throw .invalid(0) }
        for number in PolicyNumber.all {
            let value = Int(try reader.u32())
            guard number.range.contains(value) else { throw .invalid(0) }
            self[keyPath: number.path] = value
        }
        localities = Localities(rawValue: try reader.u8())
        guard localities.isSubset(of: .all), localities.allows(0) else { throw .invalid(0) }
        hostBinding = try reader.value()
        deepQuotePCRs = try reader.value()
        connect = try reader.value()
    }

    package func encode(to writer: inout WireWriter) {
        writer.ascending(commands)
        writer.ascending(algorithms)
        writer.ascending(curves)
        writer.ascending(rsaBits)
        writer.ascending(aesBits)
        for number in PolicyNumber.all { writer.u32(UInt32(clamping: self[keyPath: number.path])) }
        writer.u8(localities.rawValue)
        writer.value(hostBinding)
        writer.value(deepQuotePCRs)
        writer.value(connect)
    }
}

extension HostPCRs: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        guard let pcrs = HostPCRs(bits: try reader.u32()) else { throw .invalid(0) }
        self = pcrs
    }
    package func encode(to writer: inout WireWriter) { writer.u32(bits) }
}

extension AccessList: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        users = try reader.ascending(max: Self.idsMax)
        groups = try reader.ascending(max: Self.idsMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.ascending(users)
        writer.ascending(groups)
    }
}

/// Sets have one wire form: in ascending order of their elements' wire forms.
extension WireReader {
    mutating func ascending<T: WireCodable & Hashable>(max: Int) throws(WireError) -> Set<T> {
        let values: [T] = try list(max: max)
        for (a, b) in zip(values, values.dropFirst()) {
            guard a.wire.lexicographicallyPrecedes(b.wire) else { throw .invalid(0) }
        }
        return Set(values)
    }
}

extension WireWriter {
    mutating func ascending<T: WireCodable & Hashable>(_ values: Set<T>) {
        list(values.sorted { $0.wire.lexicographicallyPrecedes($1.wire) })
    }
}
