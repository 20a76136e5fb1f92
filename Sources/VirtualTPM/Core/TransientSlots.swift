// Transient memory: objects and sequences by handle.
import TPMCrypto
import TPMWire

/// What a transient handle may name.
enum TransientEntry {
    case object(LoadedObject)
    case sequence(SequenceObject)
}

/// A hash, event or MAC sequence under way (Part 3, 17).
final class SequenceObject {
    enum State {
        case hash(HashSequence)
        /// HashSequenceStart with TPM_ALG_NULL: one context for each implemented algorithm
        case event([HashContext])
        case hmac(HMACContext)
        case cmac(CMACContext)
        /// An HMAC whose key only the chip has
        case twin(TwinSequence)
    }
    let authValue: Secret
    var state: State
    /// Some data came already (so the check for TPM_GENERATED_VALUE is made or can no longer be).
    var isStarted = false
    /// The first data began with TPM_GENERATED_VALUE or was too short to tell: no hash-check ticket.
    var isTicketSafe = false

    init(authValue: [UInt8], state: State) {
        self.authValue = Secret(withoutTrailingZeros(authValue))
        self.state = state
    }
}

struct TransientSlots {
    /// How many there may be. It can become less than there are.
    var capacity: Int { didSet { range = max(range, capacity) } }
    /// Handles are below it, those from before too.
    private(set) var range: Int
    private var slots = Slots<TransientEntry>()

    init(capacity: Int) {
        self.capacity = capacity
        range = capacity
    }

    /// The handles in use, ascending.
    var handles: [TPMHandle] { slots.entries.map { TPMHandle(.transient, $0.index) } }
    var count: Int { slots.count }

    subscript(_ handle: TPMHandle) -> TransientEntry? {
        handle.kind == .transient ? slots[handle.index] : nil
    }

    /// The lowest free handle; TPM_RC_OBJECT_MEMORY when all slots are taken.
    mutating func insert(_ entry: TransientEntry) throws(TPMRC) -> TPMHandle {
        try requireRoom()
        guard let free = (0..<UInt32(capacity)).first(where: { slots[$0] == nil }) else { throw .objectMemory }
        slots[free] = entry
        return TPMHandle(.transient, free)
    }

    /// What insert would need: throws TPM_RC_OBJECT_MEMORY now rather than after the work.
    func requireRoom() throws(TPMRC) {
        guard slots.count < capacity else { throw .objectMemory }
    }

    mutating func remove(_ handle: TPMHandle) { slots[handle.index] = nil }
    mutating func removeAll(where matches: (TransientEntry) -> Bool) { slots.removeAll(where: matches) }
    mutating func removeAll() { slots = Slots() }
}
