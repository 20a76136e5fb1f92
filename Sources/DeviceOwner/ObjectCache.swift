// The chip's few transient slots, shared by all guests: the least recently used object gives way, and comes back by its
// saved context (never slower than TPM2_Load, and it needs no parent) or, the first time, from its wrapped private part.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// Which object of which guest. Wrapped private part included: who cannot show it does not get the loaded object.
struct ObjectKey: Hashable {
    let guest: GuestID
    /// Of the public area and the wrapped private part.
    let digest: [UInt8]
}

struct CacheStatistics {
    var hits = 0
    var misses = 0
    /// TPM2_Load and TPM2_ContextLoad
    var loads = 0
    var contextLoads = 0
    var evictions = 0
}

final class ObjectCache {
    /// Transient slots of the smallest chips.
    static let capacity = 3
    /// Contexts kept in memory, about 2 KB each.
    static let contextsMax = 128

    private struct Slot {
        let key: ObjectKey
        let handle: TPMHandle
        var used: Int
    }
    private struct Context {
        let bytes: [UInt8]
        var used: Int
    }
    private let chip: Chip
    private var slots: [Slot] = []
    private var contexts: [ObjectKey: Context] = [:]
    private var generation = 0
    private var clock = 0
    private var isMakingRoom = false
    private(set) var statistics = CacheStatistics()

    init(_ chip: Chip) {
        self.chip = chip
        chip.makeRoom = { [unowned self] (keeping) throws(ChipError) in try self.makeRoom(keeping: keeping) }
    }

    /// The object's handle, good until the next call.
    /// - Parameter load: TPM2_Load with the room it takes, where there is no saved context.
    func handle(_ key: ObjectKey, load: () throws(ChipError) -> TPMHandle) throws(ChipError) -> TPMHandle {
        try renew()
        if let index = slots.firstIndex(where: { $0.key == key }) {
            statistics.hits += 1
            slots[index].used = tick()
            return slots[index].handle
        }
        statistics.misses += 1
        let handle = if let loaded = try loadContext(key) { loaded } else { try loadFresh(load) }
        slots.append(Slot(key: key, handle: handle, used: tick()))
        return handle
    }

    private func loadContext(_ key: ObjectKey) throws(ChipError) -> TPMHandle? {
        guard let context = contexts[key] else { return nil }
        try reserve(1)
        do throws(ChipError) {
            let handle = try chip.loadContext(context.bytes)
            contexts[key]?.used = tick()
            statistics.contextLoads += 1
            return handle
        } catch {
            // A context of another time, perhaps; the wrapped key still loads.
            guard case .rc = error else { throw error }
            contexts[key] = nil
            return nil
        }
    }

    private func loadFresh(_ load: () throws(ChipError) -> TPMHandle) throws(ChipError) -> TPMHandle {
        let handle = try load()
        statistics.loads += 1
        return handle
    }

    /// Makes sure that `count` slots are free, as far as what we loaded ourselves is concerned. What was used last goes last.
    func reserve(_ count: Int) throws(ChipError) {
        try renew()
        while slots.count + count > Self.capacity, try evict(keeping: []) {}
    }

    /// Nothing that an earlier connection loaded counts.
    private func renew() throws(ChipError) {
        try chip.connect()
        guard generation != chip.generation else { return }
        forgetAll()
        generation = chip.generation
    }

    /// The chip does not know our handles any more.
    func forgetAll() {
        slots = []
        contexts = [:]
    }

    /// Takes a guest's objects out of the chip and out of memory.
    func forget(_ guest: GuestID) throws(ChipError) {
        contexts = contexts.filter { $0.key.guest != guest }
        for slot in slots where slot.key.guest == guest {
            slots.removeAll { $0.key == slot.key }
            try chip.flushQuietly(slot.handle)
        }
    }

    /// Evicts the least recently used object. False: there is none that may go.
    private func evict(keeping kept: [TPMHandle]) throws(ChipError) -> Bool {
        let candidates = slots.filter { !kept.contains($0.handle) }
        guard let oldest = candidates.min(by: { $0.used < $1.used }) else { return false }
        try keepContext(of: oldest)
        slots.removeAll { $0.handle == oldest.handle }
        try chip.flushQuietly(oldest.handle)
        statistics.evictions += 1
        return true
    }

    /// An object's context can be loaded again and again, so it is saved once.
    private func keepContext(of slot: Slot) throws(ChipError) {
        guard contexts[slot.key] == nil else { return }
        let bytes: [UInt8]
        do throws(ChipError) { bytes = try chip.saveContext(slot.handle) } catch {
            guard case .rc = error else { throw error }
            return
        }
        if contexts.count >= Self.contextsMax, let oldest = contexts.min(by: { $0.value.used < $1.value.used }) {
            contexts[oldest.key] = nil
        }
        contexts[slot.key] = Context(bytes: bytes, used: slot.used)
    }

    /// The chip has no room for an object although we use little: evict, or clear away what a dead process left.
    private func makeRoom(keeping kept: [TPMHandle]) throws(ChipError) -> Bool {
        // The commands below need no room: a chip that says so lies.
        guard !isMakingRoom else { return false }
        isMakingRoom = true
        defer { isMakingRoom = false }
        if try evict(keeping: kept) { return true }
        let ours = Set(slots.map(\.handle) + kept)
        let strays = try chip.handles(from: TPMHandle(.transient, 0)).filter { !ours.contains($0) }
        for handle in strays { try chip.flushQuietly(handle) }
        return !strays.isEmpty
    }

    private func tick() -> Int {
        clock += 1
        return clock
    }
}
