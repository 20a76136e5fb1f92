// What the generator of streams knows: what there is in both TPMs, so that most commands make sense.
import TPMWire

struct StreamWorld {
    enum Kind: CaseIterable {
        case storage, signing, attesting, agreeing, hmac, sealed, cipher, external, hashSequence, hmacSequence, eventSequence
        var isSequence: Bool { self == .hashSequence || self == .hmacSequence || self == .eventSequence }
    }

    struct Object {
        let slot: String
        let kind: Kind
        let auth: [UInt8]
        var isPersistent = false
    }
    /// A private and a public area, not loaded.
    struct Blob {
        let slot: String
        let parent: String
        let kind: Kind
        let auth: [UInt8]
    }
    struct Index {
        let handle: TPMHandle
        let auth: [UInt8]
        let size: Int
        let attributes: NVAttributes
    }

    /// What a stock TPM holds at once: three objects, three loaded sessions. One object's place is left to commands' own needs.
    static let mostObjects = 2
    static let mostSessions = 3

    var objects: [Object] = []
    var blobs: [Blob] = []
    var contexts: [(slot: String, object: Object?)] = []
    var sessions: [(slot: String, isPolicy: Bool)] = []
    var indices: [Index] = []
    var hierarchyAuths: [TPMHandle: [UInt8]] = [:]
    private var counter = 0

    /// A name that no slot has yet.
    mutating func newSlot(_ prefix: String) -> String {
        counter += 1
        return prefix + String(counter)
    }

    var transient: [Object] { objects.filter { !$0.isPersistent } }

    /// Power came back.
    mutating func powerCycle() {
        objects.removeAll { !$0.isPersistent }
        sessions = []
        hierarchyAuths[.platform] = nil
    }

    mutating func clear() {
        objects = []
        blobs = []
        contexts = []
        indices.removeAll { !$0.attributes.contains(.platformCreate) }
        hierarchyAuths[.owner] = nil
        hierarchyAuths[.endorsement] = nil
        hierarchyAuths[.lockout] = nil
    }
}
