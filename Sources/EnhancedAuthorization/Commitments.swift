// Ephemeral elliptic-curve keys and commitments (Part 1, C.2): the proxy's, and for restricted ECDAA keys the policy checker's.
import SystemMap
import TPMCrypto
import TPMWire

/// The ephemeral keys that are under way (Part 1, C.2.2). None is kept: each follows from a nonce and its count.
package struct Commitments {
    /// As many may be under way; an older one is lost.
    private static let window: UInt64 = 128
    private static let hash = HashAlgorithm.sha512
    private let nonce = Secret(randomBytes(hash.digestSize))
    /// Of these commitments alone: a TPM Reset begins others.
    package let series = UInt64.random(in: .min ... .max)
    /// The count of the next.
    package private(set) var count: UInt64 = 0
    private var open: Set<UInt64> = []

    package init() {}

    /// The key of the counter that `begin` will give.
    /// - Parameter name: of the key that commits itself; empty for an ephemeral key.
    package func next(_ curve: ECCCurve, _ name: [UInt8] = []) -> ECCKeyPair { key(of: count, curve, name) }

    /// - Returns: the lower bits of the new key's count.
    package mutating func begin() -> UInt16 {
        let begun = count
        count &+= 1
        open.insert(begun)
        open.remove(begun &- Self.window)
        return UInt16(truncatingIfNeeded: begun)
    }

    /// Leaves out counts that others have.
    /// - Returns: false for one that was had already.
    package mutating func skip(to next: UInt64) -> Bool {
        guard next >= count else { return false }
        count = next
        open = open.filter { next - $0 <= Self.window }
        return true
    }

    /// nil for a counter that is not under way.
    package func key(_ counter: UInt16, _ curve: ECCCurve, _ name: [UInt8] = []) -> ECCKeyPair? {
        count(counter).map { key(of: $0, curve, name) }
    }

    /// A counter is good for one use.
    package mutating func end(_ counter: UInt16) {
        if let count = count(counter) { open.remove(count) }
    }

    private func count(_ counter: UInt16) -> UInt64? { open.first { UInt16(truncatingIfNeeded: $0) == counter } }

    private func key(of count: UInt64, _ curve: ECCCurve, _ name: [UInt8]) -> ECCKeyPair {
        ECCKeyPair(curve: curve, seed: nonce.bytes, hash: Self.hash, label: "EPHEMERAL", context: count.wire + curve.wire + name)
    }
}

/// The points that TPM2_Commit is given (Part 3, 19.2); nil: none was.
package struct CommitmentBases {
    package let p1: ECCPoint?
    /// (H(s2) mod p, y2)
    package let p2: ECCPoint?

    /// - Parameter hash: the key's nameAlg.
    package init(p1: ECCPoint, s2: [UInt8], y2: [UInt8], _ hash: HashAlgorithm, _ curve: ECCCurve) {
        self.p1 = p1.x.isEmpty && p1.y.isEmpty ? nil : p1
        p2 = s2.isEmpty ? nil : ECCPoint(x: residue(digest(hash, s2), curve), y: y2)
    }
}

extension CommitmentPoints {
    /// - Parameters:
    ///   - bases: points of the key's curve.
    ///   - k: [d]P2, if there is a P2.
    package init(_ bases: CommitmentBases, k: ECCPoint?, _ commitment: ECCKeyPair) {
        let none = ECCPoint(x: [], y: [])
        let e = bases.p1 == nil && bases.p2 == nil ? commitment.publicPoint : bases.p1.flatMap { commitment.agree($0) }
        self.init(k: k ?? none, l: bases.p2.flatMap { commitment.agree($0) } ?? none, e: e ?? none)
    }
}
