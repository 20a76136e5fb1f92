// Part 3, 19: ephemeral elliptic-curve keys, and the anonymous signatures (ECDAA) that are made with them.
import EnhancedAuthorization
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
        let bases = CommitmentBases(p1: p1, s2: s2, y2: y2, nameAlgorithm, curve)
        if let p2 = bases.p2 {
            guard isOnCurve(p2, curve) else { throw TPMRC.eccPoint.parameter(2) }
            guard !key.isPublicOnly else { throw TPMRC.key.handle(1) }
        }
        guard bases.p1.map({ isOnCurve($0, curve) }) ?? true else { throw TPMRC.eccPoint.parameter(1) }

        let points = try commitmentPoints(bases, curve, key)
        let counter = volatile.commitments.begin()
        return Reply {
            $0.value(points)
            $0.u16(counter)
        }
    }

    private func commitmentPoints(_ bases: CommitmentBases, _ curve: ECCCurve, _ key: LoadedObject) throws(TPMRC) -> CommitmentPoints {
        if let signer = key.gatedSigner {
            let statement = Statement.commitment(series: volatile.commitments.series, count: volatile.commitments.count)
            return try signer.use(statement, as: CommitmentPoints.self)
        }
        let k: ECCPoint? = if let p2 = bases.p2 { try key.anonymousKey().agree(p2) } else { nil }
        return CommitmentPoints(bases, k: k, volatile.commitments.next(curve, key.name))
    }

    /// A signature with whatever the scheme needs. A commitment is used up by a signature that succeeds.
    /// - Throws: TPM_RC_VALUE for a counter that is not under way.
    func signature(
        by key: LoadedObject, of digest: [UInt8], scheme: Scheme, for statement: Statement? = nil
    ) throws(TPMRC) -> Signature {
        guard scheme.algorithm == .ecdaa, let hash = scheme.hash else {
            return try key.sign(digest: digest, scheme: scheme, for: statement)
        }
        let signature: Signature
        if let signer = key.gatedSigner {
            signature = try signer.use(statement, as: Signature.self)
        } else {
            guard case .ecc(_, _, let curve, _) = key.publicArea.parameters,
                let commitment = volatile.commitments.key(scheme.count, curve, key.name)
            else { throw .value }
            guard let (r, s) = try key.anonymousKey().signECDAA(digest: digest, hash: hash, commitment: commitment) else {
                throw .noResult
            }
            signature = .ecc(.ecdaa, hash, r: r, s: s)
        }
        volatile.commitments.end(scheme.count)
        return signature
    }
}
