// The device owner's operations: what its interface offers, without sockets.
import ChipClient
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

package struct DeviceConfiguration: Sendable {
    package var instance: Instance
    package var chip: ChipAddress
    /// Where the host root is, or shall be made; nil: where the record says, else the standard place.
    package var hostHandle: TPMHandle?
    /// The auth of the chip's owner hierarchy: needed once, to make the host root.
    package var ownerAuth: Secret = .empty
    package var limits = ChipLimits()

    package init(instance: Instance, chip: ChipAddress) {
        self.instance = instance
        self.chip = chip
    }
}

/// A twin in a connection's table.
package struct Twin {
    let guest: GuestID
    let object: WrappedObject
    let isStorageKey: Bool

    init(_ blob: TwinBlob, of guest: GuestID) {
        self.guest = guest
        isStorageKey = blob.spec.isStorageKey
        object = WrappedObject(area: blob.spec.publicArea(unique: blob.unique), wrapped: blob.hardwarePrivate)
    }
}

/// The policy checker's session, as the device owner knows it.
struct CarriedSession {
    let handle: TPMHandle
    /// Of the connection to the chip on which it was started
    let generation: Int
}

package final class Device {
    let chip: Chip
    let roots: GuestRoots
    let identity: HostIdentity
    let certificates: CertificateBook
    private let cache: ObjectCache
    private let sequenceSeal = SequenceSeal()
    private let root: HostRoot
    private var description: ChipDescription?
    private var chipLimits: [(key: String, value: String)]?
    /// A guest that asks again and again shall not fill the log.
    private var lastRefusal = ""
    var uses: [GuestID: ChipUse] = [:]

    /// Reaches the chip, finds or makes the host root.
    package init(_ configuration: DeviceConfiguration) throws(Failure) {
        chip = Chip(configuration.chip, limits: configuration.limits)
        cache = ObjectCache(chip)
        let keeper = HostRootKeeper(
            chip: chip, instance: configuration.instance, wantedHandle: configuration.hostHandle,
            ownerAuth: configuration.ownerAuth)
        root = try keeper.establish()
        chip.hostRoot = root
        roots = GuestRoots(chip, cache, configuration.instance, root)
        identity = try HostIdentity(chip, cache, configuration.instance, root)
        certificates = CertificateBook(configuration.instance, identity)
    }

    // MARK: Guests

    package func ensureGuest(_ guest: GuestID) throws(CallStatus) {
        try perform { () throws(ChipError) in try roots.ensure(guest) }
    }
    package func guestSecret(_ guest: GuestID) throws(CallStatus) -> [UInt8] {
        try perform { () throws(ChipError) in try roots.secret(guest) }
    }
    package func forgetGuest(_ guest: GuestID) throws(CallStatus) {
        try perform { () throws(ChipError) in
            try certificates.forget(guest)
            try roots.forget(guest)
            uses[guest] = nil
        }
    }

    // MARK: Twins

    package func create(_ spec: TwinSpec, data: [UInt8], for guest: GuestID) throws(CallStatus) -> TwinBlob {
        try perform { () throws(ChipError) in
            let parent = try roots.root(guest)
            // The new object needs a slot while it is made.
            try cache.reserve(1)
            let made = try chip.create(spec.template, data: data, under: parent)
            return TwinBlob(spec: spec, unique: made.area.unique, hardwarePrivate: made.wrapped)
        }
    }

    /// Makes a twin of a key from outside.
    package func importTwin(
        _ spec: TwinSpec, _ unique: PublicArea.Unique, _ sensitive: SensitiveArea, for guest: GuestID
    ) throws(CallStatus) -> TwinBlob {
        guard spec.isImported else { throw .malformed }
        return try perform { () throws(ChipError) in
            let parent = try roots.root(guest)
            try cache.reserve(1)
            let wrapped = try chip.importObject(spec.publicArea(unique: unique), sensitive, under: parent)
            return TwinBlob(spec: spec, unique: unique, hardwarePrivate: wrapped)
        }
    }

    package func duplicate(_ twin: Twin) throws(CallStatus) -> SensitiveArea {
        try use(twin) { (object) throws(ChipError) in try chip.duplicate(object, area: twin.object.area) }
    }

    package func sign(_ digest: [UInt8], _ scheme: Scheme, with twin: Twin) throws(CallStatus) -> Signature {
        try use(twin) { (key) throws(ChipError) in try chip.sign(digest, scheme, with: key) }
    }
    package func decryptRSA(
        _ cipherText: [UInt8], _ scheme: Scheme, label: [UInt8], with twin: Twin
    ) throws(CallStatus) -> [UInt8] {
        try use(twin) { (key) throws(ChipError) in try chip.decryptRSA(cipherText, scheme, label: label, with: key) }
    }
    package func agree(_ point: ECCPoint, with twin: Twin) throws(CallStatus) -> ECCPoint {
        try use(twin) { (key) throws(ChipError) in try chip.agree(point, with: key) }
    }
    /// The seed behind a secret; of an elliptic curve's twin it is KDFe's result, else what OAEP held.
    package func recoverSeed(
        _ use: SeedUse, _ hash: HashAlgorithm, _ secret: [UInt8], with twin: Twin
    ) throws(CallStatus) -> [UInt8] {
        guard case .ecc(let own) = twin.object.area.unique, case .ecc(_, _, let curve, _) = twin.object.area.parameters else {
            return try decryptRSA(secret, Scheme(.oaep, hash), label: use.labelBytes, with: twin)
        }
        guard let point = try? ECCPoint(wire: secret) else { throw .malformed }
        var z = try agree(point, with: twin).x
        z.insert(contentsOf: repeatElement(0, count: max(0, curve.fieldSize - z.count)), at: 0)
        defer { wipe(&z) }
        return kdfe(hash, z: z, label: use.label, partyU: point.x, partyV: own.x, bits: hash.digestSize * 8)
    }
    package func unseal(_ twin: Twin) throws(CallStatus) -> [UInt8] {
        try use(twin) { (object) throws(ChipError) in try chip.unseal(object) }
    }
    package func hmac(_ hash: HashAlgorithm, _ data: [UInt8], with twin: Twin) throws(CallStatus) -> [UInt8] {
        try use(twin) { (key) throws(ChipError) in try chip.hmac(hash, data, with: key) }
    }

    /// One step of an HMAC sequence, which between steps is the caller's to keep.
    package func hmacStep(_ request: DeviceCalls.HMACStep.Request, with twin: Twin) throws(CallStatus) -> [UInt8] {
        let context = try sequenceSeal.open(request.state, of: twin.guest)
        return try perform { () throws(ChipError) in
            let sequence: Entity
            if context.isEmpty {
                let key = try roots.child(twin.object, twin.guest)
                try cache.reserve(1)
                sequence = try chip.startHMAC(request.hash, with: key)
            } else {
                try cache.reserve(1)
                sequence = Entity(try chip.loadContext(context), name: [])
            }
            do throws(ChipError) {
                if request.isLast { return try chip.completeSequence(request.data, sequence) }
                try chip.updateSequence(request.data, sequence)
                let state = sequenceSeal.sealed(try chip.saveContext(sequence.handle), of: twin.guest)
                try chip.flush(sequence.handle)
                return state
            } catch {
                try chip.flushQuietly(sequence.handle)
                throw error
            }
        }
    }

    private func use<R>(_ twin: Twin, _ body: (Entity) throws(ChipError) -> R) throws(CallStatus) -> R {
        try perform { () throws(ChipError) in try body(try roots.child(twin.object, twin.guest)) }
    }

    // MARK: The policy checker's session

    var hostRoot: CarryCalls.HostRoot.Reply { .init(handle: root.handle, area: root.area) }

    func guestRoot(_ guest: GuestID) throws(CallStatus) -> PublicArea {
        try perform { () throws(ChipError) in try roots.publicArea(guest) }
    }

    func startSession(_ request: CarryCalls.StartSession.Request) throws(CallStatus) -> (CarriedSession, nonceTPM: [UInt8]) {
        guard !request.encryptedSalt.isEmpty else { throw .malformed }
        return try perform { () throws(ChipError) in
            let (handle, nonceTPM) = try chip.startSession(
                request.kind == .hmac ? .hmac : .policy, nonceCaller: request.nonceCaller, encryptedSalt: request.encryptedSalt)
            switch request.kind {
            case .hmac: break
            case .duplication:
                try chip.policyCommandCode(.duplicate, in: handle)
                try chip.policyAuthValue(in: handle)
            case .hostPCRs(let selection): try chip.policyPCR(selection, in: handle)
            }
            return (CarriedSession(handle: handle, generation: chip.generation), nonceTPM)
        }
    }

    func end(_ session: CarriedSession) {
        guard session.generation == chip.generation else { return }
        // One that cannot be flushed went with the chip's power.
        try? chip.flushQuietly(session.handle)
    }

    /// One chip command, once what it names is loaded.
    func carry(_ request: CarryCalls.Run.Request, in session: CarriedSession) throws(CallStatus) -> CarryCalls.Run.Reply {
        guard request.authorization.handle == session.handle else { throw .sessionLost }
        return try perform { () throws(ChipError) in
            try chip.connect()
            guard session.generation == chip.generation else { throw .rc(.referenceS0) }
            let target = try entity(of: request.target)
            defer { if case .gateSecret = request.target { try? chip.flushQuietly(target.handle) } }
            let response = try chip.run(ChipCommand(
                code: request.code, entities: request.code == .duplicate ? [target, Entity(permanent: .null)] : [target],
                authorization: .carried(request.authorization), parameters: request.parameters))
            guard let answer = response.sessions.first else { throw .garbage }
            let state = try response.handle.map { (sequence) throws(ChipError) in try suspended(sequence, of: request.target) }
            return CarryCalls.Run.Reply(parameters: response.parameters, authorization: answer, state: state ?? [])
        }
    }

    /// A sequence that the checker started, as its guest's proxy goes on with it (hmacStep).
    private func suspended(_ sequence: TPMHandle, of target: CarryTarget) throws(ChipError) -> [UInt8] {
        guard case .twin(let guest, _) = target else { throw .garbage }
        let state = sequenceSeal.sealed(try chip.saveContext(sequence), of: guest)
        try chip.flush(sequence)
        return state
    }

    private func entity(of target: CarryTarget) throws(ChipError) -> Entity {
        switch target {
        case .hostRoot:
            // The new object's slot, and one for the persistent parent while it is used.
            try cache.reserve(2)
            return root.entity
        case .gateSecret(let area, let wrapped):
            try cache.reserve(2)
            return Entity(try chip.load(area, wrapped, under: root.entity), name: area.name)
        case .guestRoot(let guest):
            let parent = try roots.root(guest)
            try cache.reserve(1)
            return parent
        case .twin(let guest, let blob): return try roots.child(Twin(blob, of: guest).object, guest)
        }
    }

    // MARK: The chip

    package func random(_ count: Int) throws(CallStatus) -> [UInt8] {
        try perform { () throws(ChipError) in try chip.random(count) }
    }

    package func describe() throws(CallStatus) -> ChipDescription {
        if let description { return description }
        let made = try perform { () throws(ChipError) in try chip.describe() }
        description = made
        return made
    }

    package func status(connections: Int, queued: Int = 0) -> StatusReport {
        var lines: [(key: String, value: String)] = [("chip", chip.address.description)]
        if let description = try? describe() {
            lines.append(("manufacturer", description.manufacturerText))
            lines.append(("firmware", "0x" + String(description.firmware, radix: 16)))
            lines.append(("rsa-bits", description.rsaBits.map(String.init).joined(separator: " ")))
            if chipLimits == nil { chipLimits = try? perform { () throws(ChipError) in try chip.ownLimits() } }
            lines += chipLimits ?? []
        } else {
            lines.append(("state", "the chip does not answer"))
        }
        let (objects, traffic) = (cache.statistics, chip.statistics)
        let numbers: [(key: String, value: Int)] = [
            ("slots", ObjectCache.capacity), ("connections", connections), ("queued", queued), ("guests", roots.count),
            ("cache-hits", objects.hits), ("cache-misses", objects.misses), ("loads", objects.loads),
            ("context-loads", objects.contextLoads), ("evictions", objects.evictions), ("commands", traffic.commands),
            ("chip-microseconds", traffic.nanoseconds / 1000), ("chip-connections", traffic.connections),
        ]
        return StatusReport(lines + numbers.map { ($0.key, String($0.value)) })
    }

    // MARK: Errors

    /// Runs an operation, once more if the connection broke or our handles were lost: all of them may be repeated.
    func perform<R>(_ body: () throws(ChipError) -> R) throws(CallStatus) -> R {
        do throws(ChipError) { return try body() } catch {
            switch error {
            case .gone: break
            case .rc(let code) where code.isAboutLostHandles: cache.forgetAll()
            default: throw status(of: error)
            }
        }
        do throws(ChipError) { return try body() } catch { throw status(of: error) }
    }

    private func status(of error: ChipError) -> CallStatus {
        if case .rc(let code) = error, code.isAboutLostSessions { return .sessionLost }
        if case .refused(let why) = error, why != lastRefusal {
            log(.error, .device, why)
            lastRefusal = why
        }
        return CallStatus(error)
    }
}

extension CallStatus {
    /// What a proxy may know of an error: the chip's word about the guest's data, without numbers; of everything that is our
    /// own, only that it failed.
    init(_ error: ChipError) {
        guard case .rc(let code) = error else {
            self.init(rawValue: TPMRC.failure.rawValue)
            return
        }
        self.init(rawValue: Self.passed(code).rawValue)
    }

    /// Errors of a session: the chip refuses an authorization that of a gated twin only the policy checker can give. They keep their
    /// number, so that one sees who refused. (Twins have noDA: TPM_RC_AUTH_FAIL would be about our own session.)
    private static let ofAuthorization: Set<TPMRC> = [.badAuth, .policyFail]

    /// Errors of a handle that come from what kind of key the guest's object is.
    private static let ofTheKey: Set<TPMRC> = [.key, .type, .attributes, .scheme, .size]

    private static func passed(_ code: TPMRC) -> TPMRC {
        switch code {
        case .retry, .yielded, .testing, .canceled, .objectMemory, .memory, .sessionMemory: return .retry
        case _ where code.rawValue & 0x80 == 0: return .failure
        default: break
        }
        let isParameter = code.rawValue & 0x40 != 0
        switch code.rawValue >> 8 & 0xF {
        case _ where isParameter, 0: return code.base
        case 1...7: return ofTheKey.contains(code.base) ? code.base : .failure
        default: return ofAuthorization.contains(code.base) ? code : .failure
        }
    }
}
