// The guest's TPM: a command in, a response out. Everything it needs comes in as services.
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

package final class VirtualTPM {
    let keeper: TwinKeeper
    let pcrs: any PCRService
    let store: any DurableStore
    let clockService: any ClockService
    /// nil: nobody vouches for this TPM.
    package var host: (any HostService)?
    /// The event log of what the host measured before this boot; empty: nothing.
    package var hostEvents: [UInt8] = []
    var rules: Rules
    /// Of the last command; nil where the rules had nothing to do with its answer.
    package internal(set) var refusal: Refusal?

    /// Keys of the proxy's own encryption, derived from the guest's secret.
    let keys: GuestKeys
    var durable: DurableState
    var volatile: VolatileState
    var power: Power
    /// The largest response, in bytes, as the hypervisor's interface allows.
    package var bufferSize = Limits.commandSize

    var device: any DeviceService { keeper.device }
    var policy: any PolicyService { keeper.policy }

    enum Power: Equatable {
        /// Between _TPM_Init and TPM2_Startup
        case initialized
        case started
        /// Failure mode (Part 1, 12.4): the reason is in the log.
        case failed
    }

    /// - Throws: WireError when a record of the lasting state does not decode.
    package init(
        device: any DeviceService, pcrs: any PCRService, policy: any PolicyService, store: any DurableStore,
        clock: any ClockService, secret: Secret, limits: Limits = Limits()
    ) throws(WireError) {
        keeper = TwinKeeper(device, policy)
        self.pcrs = pcrs
        self.store = store
        self.clockService = clock
        rules = Rules(limits: limits)
        keys = GuestKeys(secret)
        durable = try DurableState(records: store.records, keeper)
        volatile = VolatileState(limits: limits, now: clock.milliseconds, clock: durable.clock.atProcessStart)
        power = .initialized
        if store.records.isEmpty { manufacture() }
    }

    /// A TPM without its lasting state, because that does not verify: in failure mode for good, in which it still says who it is.
    package init(
        withoutState device: any DeviceService, pcrs: any PCRService, policy: any PolicyService, clock: any ClockService,
        limits: Limits = Limits()
    ) {
        keeper = TwinKeeper(device, policy)
        self.pcrs = pcrs
        self.store = NoStore()
        self.clockService = clock
        rules = Rules(limits: limits)
        keys = GuestKeys(.empty)
        durable = DurableState()
        volatile = VolatileState(limits: limits, now: clock.milliseconds, clock: 0)
        power = .failed
    }

    /// The first start of all makes the seeds and proofs that `DurableState()` drew lasting. Where they cannot be, there is
    /// no TPM (failure mode).
    private func manufacture() {
        durable.save(.hierarchies)
        durable.save(.lockout)
        durable.save(.clock)
        do throws(TPMRC) { try commit() } catch { power = .failed }
    }

    /// _TPM_Init: everything volatile is gone until TPM2_Startup.
    package func powerOn() {
        guard power != .failed else { return }
        let kept = volatile.keptByShutdown
        volatile = VolatileState(limits: limits, now: clockService.milliseconds, clock: clock)
        volatile.keptByShutdown = kept
        power = .initialized
    }

    /// Makes what the last commands changed lasting. On error nothing of it is, in memory neither.
    func commit() throws(TPMRC) {
        guard !durable.dirty.isEmpty else { return }
        noteClock()
        let changes = durable.dirty.map { (key: $0.key, value: durable.encoded($0)) }
        do {
            try store.commit(changes)
            durable.committed()
        } catch {
            rollBack()
            throw error == .full ? .nvSpace : .nvUnavailable
        }
    }

    /// Takes the lasting state back to what the store has: a command that failed changed nothing.
    func rollBack() {
        guard !durable.dirty.isEmpty else { return }
        if var former = try? DurableState(records: store.records, keeper), !store.records.isEmpty {
            // What was counted against the guest and could not be stored counts as long as the process lives.
            former.lockout.keepFailures(of: durable.lockout)
            durable = former
        } else {
            power = .failed
        }
    }
}

/// The store of a TPM that has none.
private final class NoStore: DurableStore {
    let records: [RecordKey: [UInt8]] = [:]
    func commit(_ changes: [(key: RecordKey, value: [UInt8]?)]) throws(DurableError) { throw .io(0) }
}

/// What the proxy encrypts with, each key for one purpose (KDFa over the guest's secret).
struct GuestKeys {
    private let secret: Secret
    init(_ secret: Secret) { self.secret = secret }

    /// AES-256-GCM key of one child's envelope: bound to its parent's and its own Name.
    func envelope(parentName: [UInt8], name: [UInt8]) -> [UInt8] { derive("ENVELOPE", parentName, name) }
    /// Saved contexts; `proof` dies when the hierarchy does.
    func context(proof: Secret) -> [UInt8] { derive("CONTEXT", proof.bytes) }
    /// seedValue of an asymmetric storage key, which protects nothing here; in bytes.
    func seedValue(name: [UInt8], size: Int) -> [UInt8] { derive("SEED", name, size: size) }

    private func derive(_ label: String, _ u: [UInt8], _ v: [UInt8] = [], size: Int = 32) -> [UInt8] {
        kdfa(.sha256, key: secret.bytes, label: label, contextU: u, contextV: v, bits: size * 8)
    }
}

/// What is gone when the power goes.
struct VolatileState {
    var hierarchies = VolatileHierarchies()
    var transient: TransientSlots
    var sessions: SessionTable
    var random = RandomPool()
    /// The session whose audit digest covers every command since it began (Part 1, 19.6.6.3).
    var exclusiveAuditSession: TPMHandle?
    /// Command audit's digest (Part 3, 21.1); empty until the next audited command begins one.
    var commandAuditDigest: [UInt8] = []
    var commitments = Commitments()
    /// The bundle that the guest asked for last; empty: none.
    var deepQuote: [UInt8] = []
    /// When `time` was 0, on the clock service's clock: GuestTime's epoch.
    let powerOnTime: UInt64
    /// What Clock was at a moment of the clock service's clock.
    var clockAnchor: (clock: UInt64, at: UInt64)
    var recovery = RecoveryTimers()
    /// The PCRs that this boot has, and whether PCR_Allocate wants others for the next.
    var banks = PCRBanks.all
    var isReallocated = false
    /// PCR_SetAuthValue: of the one group of PCRs that has one
    var pcrAuthValue = Secret.empty
    /// VPCRValues.dynamicLaunches, as far as restartCount has them.
    var countedLaunches: UInt32 = 0
    /// TPMA_STARTUP_CLEAR.orderly: the last Shutdown was good for this Startup.
    var isStartOrderly = false
    /// Rises with every TPM Restart: contexts of stClear objects from before are worthless.
    var clearCount: UInt32 = 0
    /// What Shutdown(STATE) keeps for Startup(STATE).
    var keptByShutdown: KeptState?

    init(limits: Limits, now: UInt64, clock: UInt64) {
        transient = TransientSlots(capacity: limits.transientObjects)
        sessions = SessionTable(capacity: limits.sessions)
        powerOnTime = now
        clockAnchor = (clock, now)
    }
}

/// Volatile parts that a TPM Resume (and in part a TPM Restart) takes back.
struct KeptState {
    var hierarchies: VolatileHierarchies
    var pcrAuthValue: Secret
    var sessions: SessionTable
    var clearCount: UInt32
    var commandAuditDigest: [UInt8]
    var commitments: Commitments
}
