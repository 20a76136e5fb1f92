// The gate (docs/architecture.md, D7): makes gated twins, and uses them where their policies hold. What a proxy claims of an object goes
// into the authValue, so a wrong claim is one that the chip refuses.
import CryptoBase
import EnhancedAuthorization
import IPC
import SystemMap
import TPMWire
import Wire

/// The vPCRs as paratpm-pcr has them.
package protocol VPCRSource: AnyObject {
    /// The selected values, in the order of the selections, ascending within each.
    func read(_ guest: GuestID, _ selections: [PCRSelection]) throws(CallStatus) -> PCRReading
}

package struct Gatekeeper {
    let keys: GateKeys
    let twins: any GatedTwins
    let vpcrs: any VPCRSource
    /// The host's, in milliseconds
    let clock: () -> UInt64
    /// The caller's
    let commitments: RestrictedCommitments

    package init(
        keys: GateKeys, twins: any GatedTwins, vpcrs: any VPCRSource, commitments: RestrictedCommitments, clock: @escaping () -> UInt64
    ) {
        self.keys = keys
        self.twins = twins
        self.vpcrs = vpcrs
        self.clock = clock
        self.commitments = commitments
    }

    // MARK: Making

    package func create(_ request: GateCalls.Create.Request, for guest: GuestID) throws(CallStatus) -> TwinBlob {
        let area = request.area
        guard area.isGated, let spec = area.twinSpec(area.isSealedKey ? .sealed : area.secretKeeping(dataSize: request.data.count))
        else { throw .malformed }
        let salt = randomBytes(GateSeal.saltSize)
        let auth = keys.authValue(guest, area, spec, salt: salt)
        var twin = try twins.create(spec, data: request.data, auth: auth, for: guest)
        let name = area.isSealedKey ? area.name : area.with(unique: twin.unique).name
        // Who says that the TPM made the secret, and gives one, gets no mark. A restricted ECDAA key that its proxy gives came from outside.
        let isTrue = spec.sensitiveDataOrigin == area.attributes.contains(.sensitiveDataOrigin) && !area.isRestrictedAnonymous
        twin.gate = GateSeal(salt: salt, mark: isTrue ? keys.mark(guest, name: name) : [])
        return twin
    }

    package func importTwin(_ request: GateCalls.Import.Request, for guest: GuestID) throws(CallStatus) -> TwinBlob {
        let (area, sensitive) = (request.area, request.sensitive)
        guard area.isGated, !area.isSealedKey,
            let spec = area.twinSpec(area.secretKeeping(dataSize: sensitive.sensitive.count), isImported: true)
        else { throw .malformed }
        let salt = randomBytes(GateSeal.saltSize)
        var own = keys.authValue(guest, area, spec, salt: salt).bytes
        defer { wipe(&own) }
        let authorized = SensitiveArea(
            type: sensitive.type, authValue: own, seedValue: sensitive.seedValue, sensitive: sensitive.sensitive)
        var twin = try twins.importTwin(spec, area.unique, authorized, for: guest)
        // Who gave the private part may have it still: such a key gets no mark.
        twin.gate = GateSeal(salt: salt, mark: [])
        return twin
    }

    /// The twin with the authValue that it has if what the proxy says of it is true.
    func open(_ object: GatedObject, of guest: GuestID) throws(CallStatus) -> OpenedTwin {
        let (area, twin) = (object.area, object.twin)
        guard area.isGated, let gate = twin.gate, area.isSealedKey || twin.unique == area.unique else { throw .malformed }
        return OpenedTwin(guest: guest, blob: twin, auth: keys.authValue(guest, area, twin.spec, salt: gate.salt))
    }

    // MARK: What needs no authorization

    package func recoverSalt(_ request: GateCalls.RecoverSalt.Request, of guest: GuestID) throws(CallStatus) -> [UInt8] {
        try recoverSeed(.session, request.hash, request.secret, with: try open(request.object, of: guest))
    }

    /// The seed behind a secret; of an elliptic curve's twin it is KDFe's result, else what OAEP held (Part 1, B.10 and C.6).
    func recoverSeed(
        _ use: SeedUse, _ hash: HashAlgorithm, _ secret: [UInt8], with twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8] {
        guard case .ecc(let curve) = twin.blob.spec.kind, case .ecc(let own) = twin.blob.unique else {
            return try twins.decryptRSA(secret, Scheme(.oaep, hash), label: use.labelBytes, with: twin)
        }
        guard let point = try? ECCPoint(wire: secret) else { throw .malformed }
        var z = try twins.agree(point, with: twin).x
        z.insert(contentsOf: repeatElement(0, count: max(0, curve.fieldSize - z.count)), at: 0)
        defer { wipe(&z) }
        return kdfe(hash, z: z, label: use.label, partyU: point.x, partyV: own.x, bits: hash.digestSize * 8)
    }

    package func verifyMAC(_ request: GateCalls.VerifyMAC.Request, of guest: GuestID) throws(CallStatus) {
        let twin = try open(request.object, of: guest)
        let mac = request.mac
        guard constantTimeEqual(try hmac(mac.hash, request.digest, with: twin), mac.digest) else { throw CallStatus(.signature) }
    }

    /// By the chip, or where the twin only seals the key, here.
    func hmac(_ hash: HashAlgorithm, _ data: [UInt8], with twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        guard twin.blob.spec.kind == .sealed else { return try twins.hmac(hash, data, with: twin) }
        var key = try twins.unseal(twin)
        defer { wipe(&key) }
        return CryptoBase.hmac(hash, key: key, data)
    }
}

extension CallStatus {
    init(_ code: TPMRC) { self.init(rawValue: code.rawValue) }
}
