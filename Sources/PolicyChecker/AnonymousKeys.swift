// Restricted ECDAA keys. The chip only seals them (it has one commit counter for all), and what they sign the proxy must not decide: so
// they are made, commit themselves and sign here. A commitment that signed twice would give its key away, so what is under way is
// remembered: the one thing that the checker keeps for a guest, in memory and as long as the guest's proxy is connected.
import EnhancedAuthorization
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// The commitments of one proxy's restricted keys. Their counts are the proxy's, which has other commitments besides.
package final class RestrictedCommitments {
    fileprivate var commitments = Commitments()
    private var series: UInt64?

    package init() {}

    /// - Throws: `malformed` for a count that was had already.
    fileprivate func skip(to count: UInt64, of series: UInt64) throws(CallStatus) {
        if series != self.series {
            commitments = Commitments()
            self.series = series
        }
        guard commitments.skip(to: count) else { throw .malformed }
    }
}

extension Gatekeeper {
    /// A key that nobody else ever has the private part of.
    package func createAnonymous(_ template: PublicArea, for guest: GuestID) throws(CallStatus) -> GateCalls.CreateAnonymous.Reply {
        guard template.isRestrictedAnonymous, case .ecc(_, _, let curve, _) = template.parameters else { throw .malformed }
        let pair = ECCKeyPair.generate(curve)
        let area = template.with(unique: .ecc(pair.publicPoint))
        var scalar = pair.privateKey.bytes
        defer { wipe(&scalar) }
        var twin = try create(GateCalls.Create.Request(area: area, data: scalar), for: guest)
        twin.gate?.mark = keys.mark(guest, name: area.name)
        return GateCalls.CreateAnonymous.Reply(point: pair.publicPoint, twin: twin)
    }

    /// All but its signatures.
    func useAnonymous(_ request: GateCalls.Use.Request, _ parameters: inout WireReader, _ twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        let area = request.object.area
        switch request.command.code {
        case .commit: return try commit(request.statement, &parameters, area, twin)
        case .duplicate:
            // What keeps other twins here, the chip knows.
            guard area.attributes.isDisjoint(with: [.fixedTPM, .fixedParent]) else { throw CallStatus(.attributes) }
            return try twins.unseal(twin)
        default: throw .notPermitted
        }
    }

    /// TPM2_Commit (Part 3, 19.2): CommitmentPoints. The proxy has checked the points and says what is wrong with them; here they need only be
    /// of the curve.
    private func commit(
        _ statement: Statement?, _ parameters: inout WireReader, _ area: PublicArea, _ twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8] {
        guard case .commitment(let series, let count) = statement, case .ecc(_, _, let curve, _) = area.parameters,
            let nameAlgorithm = area.nameAlgorithm
        else { throw .malformed }
        let bases = try decoded { () throws(WireError) in
            CommitmentBases(
                p1: try parameters.value(Sized<ECCPoint>.self).value, s2: try parameters.sized16(max: SensitiveCreate.dataMax),
                y2: try parameters.sized16(max: ECCPoint.coordinateMax), nameAlgorithm, curve)
        }
        guard [bases.p1, bases.p2].allSatisfy({ $0.map { isOnCurve($0, curve) } ?? true }) else { throw .malformed }
        try commitments.skip(to: count, of: series)
        let k: ECCPoint? = if let p2 = bases.p2 { try anonymousKey(area, twin).agree(p2) } else { nil }
        let points = CommitmentPoints(bases, k: k, commitments.commitments.next(curve, area.name))
        _ = commitments.commitments.begin()
        return points.wire
    }

    /// A signature with a commitment of the key's, which is used up.
    func anonymousSignature(
        of digest: [UInt8], _ hash: HashAlgorithm, _ scheme: Scheme, _ area: PublicArea, _ twin: OpenedTwin
    ) throws(CallStatus) -> Signature {
        guard case .ecc(_, _, let curve, _) = area.parameters,
            let commitment = commitments.commitments.key(scheme.count, curve, area.name)
        else { throw CallStatus(.value) }
        guard let (r, s) = try anonymousKey(area, twin).signECDAA(digest: digest, hash: hash, commitment: commitment) else {
            throw CallStatus(.noResult)
        }
        commitments.commitments.end(scheme.count)
        return .ecc(.ecdaa, hash, r: r, s: s)
    }

    private func anonymousKey(_ area: PublicArea, _ twin: OpenedTwin) throws(CallStatus) -> ECCKeyPair {
        var scalar = try twins.unseal(twin)
        defer { wipe(&scalar) }
        guard case .ecc(_, _, let curve, _) = area.parameters, let key = ECCKeyPair(curve: curve, privateKey: scalar) else {
            throw .malformed
        }
        return key
    }
}
