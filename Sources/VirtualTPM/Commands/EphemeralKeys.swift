// Part 3, 19: ephemeral elliptic-curve keys, and the anonymous signatures (ECDAA) that are made with them.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_EC_Ephemeral (19.3)
    func ecEphemeral(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let curve = try call.parameters.curve(of: curves)
        try call.parameters.finish()

        let key = volatile.commitments.next(curve)
        let counter = volatile.commitments.begin()
        return Reply {
            $0.sized16(key.publicPoint)
            $0.u16(counter)
        }
    }
}

extension VirtualTPM {
    /// TPM2_Commit (19.2)
    func commit(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let p1 = try call.parameters.next(Sized<ECCPoint>.self).value
        let s2 = try call.parameters.bytes(max: SensitiveCreate.dataMax)
        let y2 = try call.parameters.bytes(max: ECCPoint.coordinateMax)
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .key)
        guard key.publicArea.type == .ecc, case .ecc(_, _, let curve, _) = key.publicArea.parameters else { throw TPMRC.key.handle(1) }
        guard key.publicArea.isAnonymous, let nameAlgorithm = key.publicArea.nameAlgorithm else { throw TPMRC.scheme.handle(1) }
        guard s2.isEmpty == y2.isEmpty else { throw TPMRC.size.parameter(3) }
        let p2 = s2.isEmpty ? nil : ECCPoint(x: residue(digest(nameAlgorithm, s2), curve), y: y2)
        if let p2 {
            guard isOnCurve(p2, curve) else { throw TPMRC.eccPoint.parameter(2) }
            guard !key.isPublicOnly else { throw TPMRC.key.handle(1) }
        }
        let hasP1 = !(p1.x.isEmpty && p1.y.isEmpty)
        guard !hasP1 || isOnCurve(p1, curve) else { throw TPMRC.eccPoint.parameter(1) }

        let commitment = volatile.commitments.next(curve, key.name)
        let none = ECCPoint(x: [], y: [])
        let (k, l): (ECCPoint, ECCPoint) = if let p2 {
            (try key.anonymousKey().agree(p2) ?? none, commitment.agree(p2) ?? none)
        } else {
            (none, none)
        }
        let e = hasP1 ? commitment.agree(p1) ?? none : p2 == nil ? commitment.publicPoint : none
        let counter = volatile.commitments.begin()
        return Reply {
            for point in [k, l, e] { $0.sized16(point) }
            $0.u16(counter)
        }
    }

    /// A signature with whatever the scheme needs. A commitment is used up by a signature that succeeds.
    /// - Throws: TPM_RC_VALUE for a counter that is not under way.
    func signature(
        by key: LoadedObject, of digest: [UInt8], scheme: Scheme, for statement: Statement? = nil
    ) throws(TPMRC) -> Signature {
        guard scheme.algorithm == .ecdaa, let hash = scheme.hash else {
            return try key.sign(digest: digest, scheme: scheme, for: statement)
        }
        guard case .ecc(_, _, let curve, _) = key.publicArea.parameters,
            let commitment = volatile.commitments.key(scheme.count, curve, key.name)
        else { throw .value }
        guard let (r, s) = try key.anonymousKey().signECDAA(digest: digest, hash: hash, commitment: commitment) else {
            throw .noResult
        }
        volatile.commitments.end(scheme.count)
        return .ecc(.ecdaa, hash, r: r, s: s)
    }
}

/// The ephemeral keys that are under way (Part 1, C.2.2). None is kept: each follows from a nonce and its count.
struct Commitments {
    /// As many may be under way; an older one is lost.
    private static let window: UInt64 = 128
    private let nonce = Secret(randomBytes(VirtualTPM.contextHash.digestSize))
    private var nextCount: UInt64 = 0
    private var open: Set<UInt64> = []

    /// The key of the counter that `begin` will give.
    /// - Parameter name: of the key that commits itself; empty for an ephemeral key.
    func next(_ curve: ECCCurve, _ name: [UInt8] = []) -> ECCKeyPair { key(of: nextCount, curve, name) }

    /// - Returns: the lower bits of the new key's count.
    mutating func begin() -> UInt16 {
        let count = nextCount
        nextCount &+= 1
        open.insert(count)
        open.remove(count &- Self.window)
        return UInt16(truncatingIfNeeded: count)
    }

    /// nil for a counter that is not under way.
    func key(_ counter: UInt16, _ curve: ECCCurve, _ name: [UInt8] = []) -> ECCKeyPair? {
        count(counter).map { key(of: $0, curve, name) }
    }

    /// A counter is good for one use.
    mutating func end(_ counter: UInt16) {
        if let count = count(counter) { open.remove(count) }
    }

    private func count(_ counter: UInt16) -> UInt64? { open.first { UInt16(truncatingIfNeeded: $0) == counter } }

    private func key(of count: UInt64, _ curve: ECCCurve, _ name: [UInt8]) -> ECCKeyPair {
        ECCKeyPair(
            curve: curve, seed: nonce.bytes, hash: VirtualTPM.contextHash, label: "EPHEMERAL",
            context: count.wire + curve.wire + name)
    }
}
