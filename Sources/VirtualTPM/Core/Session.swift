// Authorization sessions: all of them live here, none in the chip (design D1).
import EnhancedAuthorization
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// One active session. A command looks at its sessions many times, so they are not copied.
final class Session {
    enum Kind: UInt8 { case hmac = 0x00, policy = 0x01, trial = 0x03 }

    let handle: TPMHandle
    let kind: Kind
    let hash: HashAlgorithm
    let symmetric: SymmetricDefinition
    let sessionKey: Secret
    var nonceTPM: [UInt8]
    /// The entity the session is bound to, by Name and authValue at the time (Part 1, 19.6.8); nil: unbound.
    var boundTo: BoundEntity?
    /// Set at the first use for audit.
    var auditDigest: [UInt8]?
    /// Of policy and trial sessions
    var policy: PolicyTokens?

    init(
        handle: TPMHandle, kind: Kind, hash: HashAlgorithm, symmetric: SymmetricDefinition, sessionKey: Secret, nonceTPM: [UInt8],
        boundTo: BoundEntity?, auditDigest: [UInt8]?, policy: PolicyTokens?
    ) {
        self.handle = handle
        self.kind = kind
        self.hash = hash
        self.symmetric = symmetric
        self.sessionKey = sessionKey
        self.nonceTPM = nonceTPM
        self.boundTo = boundTo
        self.auditDigest = auditDigest
        self.policy = policy
    }

    /// A policy session as the checker knows it (docs/architecture.md, D8).
    struct PolicyTokens {
        /// A token, and what it says. A class, because commands look at it again and again.
        private final class Token {
            let bytes: [UInt8]
            let state: PolicyState
            init?(_ bytes: [UInt8]) {
                guard let state = PolicyToken.state(of: bytes) else { return nil }
                self.bytes = bytes
                self.state = state
            }
        }
        /// Of the empty policy
        private let first: Token
        private var current: Token
        var rolls: UInt64

        /// nil if that is no token.
        init?(start: [UInt8], token: [UInt8]? = nil, rolls: UInt64 = 0) {
            guard let first = Token(start), let current = token.map({ Token($0) }) ?? first else { return nil }
            self.first = first
            self.current = current
            self.rolls = rolls
        }

        var start: [UInt8] { first.bytes }
        var token: [UInt8] { current.bytes }
        var state: PolicyState { current.state }
        var nonces: SessionNonces { first.state.nonces }

        /// After TPM2_PolicyRestart and after each use (Part 1, 19.6.4)
        mutating func restart() { current = first }

        /// After a step. False: that is no token.
        mutating func take(_ token: [UInt8]) -> Bool {
            guard let next = Token(token) else { return false }
            current = next
            return true
        }
    }

    struct BoundEntity: Equatable {
        let name: [UInt8]
        let authValue: Secret
        let isDAProtected: Bool
    }
}

/// The active sessions: loaded ones, and the numbers of saved ones.
struct SessionTable {
    /// How many there may be. It can become less than there are.
    var capacity: Int { didSet { range = max(range, capacity) } }
    /// Handles are below it, those from before too.
    private(set) var range: Int
    /// By the lower 24 bits of the handle: HMAC and policy sessions share one number space.
    private(set) var loaded = Slots<Session>()
    /// Saved sessions by handle index, with the sequence number of the one context that may be loaded.
    private(set) var saved: [UInt32: (handle: TPMHandle, sequence: UInt64)] = [:]
    private var nextSequence: UInt64 = 1

    init(capacity: Int) {
        self.capacity = capacity
        range = capacity
    }

    subscript(_ handle: TPMHandle) -> Session? {
        get {
            guard handle.isSession, let session = loaded[handle.index], session.handle == handle else { return nil }
            return session
        }
        set { loaded[handle.index] = newValue }
    }

    var loadedHandles: [TPMHandle] { loaded.entries.map { $0.entry.handle }.sorted() }
    var activeCount: Int { loaded.count + saved.count }

    /// TPM_RC_SESSION_HANDLES when the guest has as many sessions as it may.
    func freeIndex() throws(TPMRC) -> UInt32 {
        guard activeCount < capacity,
            let free = (0..<UInt32(capacity)).first(where: { loaded[$0] == nil && saved[$0] == nil })
        else { throw .sessionHandles }
        return free
    }

    /// Moves a loaded session out; returns its context's sequence number.
    mutating func save(_ handle: TPMHandle) -> UInt64 {
        loaded[handle.index] = nil
        defer { nextSequence += 1 }
        saved[handle.index] = (handle, nextSequence)
        return nextSequence
    }

    /// A number for an object's context, from the same counter.
    mutating func contextSequence() -> UInt64 {
        defer { nextSequence += 1 }
        return nextSequence
    }

    /// Brings a saved session back, if `sequence` is the one that was saved last; nil otherwise.
    mutating func restore(_ session: Session, sequence: UInt64) -> Bool {
        guard let entry = saved[session.handle.index], entry.handle == session.handle, entry.sequence == sequence else { return false }
        saved[session.handle.index] = nil
        loaded[session.handle.index] = session
        return true
    }

    /// Ends a session, loaded or saved.
    mutating func flush(_ handle: TPMHandle) {
        loaded[handle.index] = nil
        saved[handle.index] = nil
    }

    /// A TPM Restart or Resume unloads nothing that was saved; loaded sessions are gone.
    mutating func dropLoaded() { loaded = Slots() }
}

/// A session as one command uses it.
struct AppliedSession {
    /// TPM_RS_PW or a session's handle
    let handle: TPMHandle
    let nonceCaller: [UInt8]
    var attributes: SessionAttributes
    let hmac: [UInt8]
    /// The handle that it authorizes; nil: it is there for audit or parameter encryption.
    let authorizes: TPMHandle?
    /// What of the policy session counts for this command's HMACs, kept because its state is reset after use.
    var includesAuthValue = false
    var isPasswordPolicy = false
    /// The session is bound to the handle's entity as it was before the command, which may change its Name or authValue.
    var isBound = false

    var isPassword: Bool { handle == .password }
    /// The entity's authValue took part in the authorization.
    var usesAuthValue: Bool { includesAuthValue || isPasswordPolicy }
}
