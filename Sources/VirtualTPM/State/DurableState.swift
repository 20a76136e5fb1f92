// The guest's lasting state, decoded: one record for each thing that changes by itself.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// What the guest's TPM remembers without power. Handlers change it and name what they changed with `save`; the pipeline
/// commits all of it before the answer, or none of it.
struct DurableState {
    var hierarchies = HierarchyState()
    var lockout = LockoutState()
    var clock = ClockState()
    var settings = PlatformSettings()
    var audit = AuditState()
    var nv: [TPMHandle: NVIndex] = [:]
    /// The highest count that a counter had which is no more: no new one begins below it.
    var deletedCount: UInt64 = 0
    var persistent: [TPMHandle: LoadedObject] = [:]
    /// Primaries that were made before (design: "Primaries are remembered"), by primary key digest.
    var primaries: [[UInt8]: RememberedPrimary] = [:]

    enum Record: Hashable {
        case hierarchies, lockout, clock, settings, deletedCount, audit
        case nv(TPMHandle)
        case persistent(TPMHandle)
        case primary([UInt8])

        var key: RecordKey {
            switch self {
            case .hierarchies: RecordKey(kind: 1)
            case .lockout: RecordKey(kind: 2)
            case .clock: RecordKey(kind: 3)
            case .settings: RecordKey(kind: 7)
            case .deletedCount: RecordKey(kind: 8)
            case .audit: RecordKey(kind: 9)
            case .nv(let handle): RecordKey(kind: 4, id: handle.wire)
            case .persistent(let handle): RecordKey(kind: 5, id: handle.wire)
            case .primary(let digest): RecordKey(kind: 6, id: digest)
            }
        }

        init?(_ key: RecordKey) {
            switch (key.kind, key.id.count) {
            case (1, 0): self = .hierarchies
            case (2, 0): self = .lockout
            case (3, 0): self = .clock
            case (7, 0): self = .settings
            case (8, 0): self = .deletedCount
            case (9, 0): self = .audit
            case (4, 4), (5, 4):
                guard let handle = try? TPMHandle(wire: key.id) else { return nil }
                self = key.kind == 4 ? .nv(handle) : .persistent(handle)
            case (6, 32): self = .primary(key.id)
            default: return nil
            }
        }
    }

    private(set) var dirty: Set<Record> = []

    /// The record changed (or is gone): commit it with this command.
    mutating func save(_ record: Record) { dirty.insert(record) }
    mutating func committed() { dirty = [] }

    /// The form in which a record is stored; nil when it is gone.
    func encoded(_ record: Record) -> [UInt8]? {
        switch record {
        case .hierarchies: hierarchies.wire
        case .lockout: lockout.wire
        case .clock: clock.wire
        case .settings: settings.wire
        case .audit: audit.wire
        case .deletedCount: deletedCount.wire
        case .nv(let handle): nv[handle]?.wire
        case .persistent(let handle): persistent[handle].map { ObjectRecord($0).wire }
        case .primary(let digest): primaries[digest]?.wire
        }
    }

    /// Takes the state from the store. A record that does not decode is damage: the caller enters failure mode.
    init(records: [RecordKey: [UInt8]], _ keeper: TwinKeeper) throws(WireError) {
        for (key, value) in records {
            switch Record(key) {
            case .hierarchies: hierarchies = try HierarchyState(wire: value)
            case .lockout: lockout = try LockoutState(wire: value)
            case .clock: clock = try ClockState(wire: value)
            case .settings: settings = try PlatformSettings(wire: value)
            case .audit: audit = try AuditState(wire: value)
            case .deletedCount: deletedCount = try UInt64(wire: value)
            case .nv(let handle): nv[handle] = try NVIndex(wire: value)
            case .persistent(let handle): persistent[handle] = try ObjectRecord(wire: value).object(keeper)
            case .primary(let digest): primaries[digest] = try RememberedPrimary(wire: value)
            case nil: throw .invalid(0)
            }
        }
    }

    /// A TPM fresh from manufacture: new seeds and proofs.
    init() {}
}
