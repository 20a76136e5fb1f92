// Who has the twins: the device owner; and for the use of gated ones the policy checker (docs/architecture.md, D7).
import SystemMap
import TPMCrypto
import TPMWire
import Wire

final class TwinKeeper {
    let device: any DeviceService
    let policy: any PolicyService
    /// The command that is being performed
    var command: CommandUnderWay?

    init(_ device: any DeviceService, _ policy: any PolicyService) {
        self.device = device
        self.policy = policy
    }
}

/// What the policy checker has to know of a command that uses a gated twin.
struct CommandUnderWay {
    let command: GuestCommand
    /// By handle: the token of the policy session that authorizes it
    let tokens: [[UInt8]]
    /// When the guest's power came on (GuestTime)
    let epoch: UInt64
}

/// A twin that is put into the device owner's table when its private part is first needed (lazy twins), and taken out when
/// the last reference goes.
final class TwinReference {
    let blob: TwinBlob
    let keeper: TwinKeeper
    private var loaded: (handle: UInt32, epoch: Int)?

    init(_ blob: TwinBlob, _ keeper: TwinKeeper) {
        self.blob = blob
        self.keeper = keeper
    }

    deinit {
        if let loaded, loaded.epoch == keeper.device.epoch { keeper.device.release(loaded.handle) }
    }

    /// Runs one operation on the twin's handle, and once more if the device owner came back over it with an empty table: no
    /// operation leaves anything behind.
    func use<R>(_ operation: (any DeviceService, UInt32) throws(TPMRC) -> R) throws(TPMRC) -> R {
        let device = keeper.device
        let first = try current()
        do throws(TPMRC) { return try operation(device, first.handle) } catch {
            guard device.epoch != first.epoch else { throw error }
        }
        return try operation(device, try current().handle)
    }

    private func current() throws(TPMRC) -> (handle: UInt32, epoch: Int) {
        if let loaded, loaded.epoch == keeper.device.epoch { return loaded }
        let handle = try keeper.device.load(blob)
        let fresh = (handle, keeper.device.epoch)
        loaded = fresh
        return fresh
    }

    var isGated: Bool { blob.gate != nil }
}

extension LoadedObject {
    var isGated: Bool {
        if case .twin(let twin) = backing { twin.isGated } else { false }
    }

    /// The twin that only the policy checker can use; nil: this process can use the object, or nobody can.
    var gatedTwin: GatedTwin? {
        if isGated, case .twin(let twin) = backing { GatedTwin(object: GatedObject(area: publicArea, twin: twin.blob), keeper: twin.keeper) } else { nil }
    }

    /// The twin with which the policy checker signs. An ECDAA key that is gated but not restricted it only unseals.
    var gatedSigner: GatedTwin? { publicArea.isAnonymous && !publicArea.isRestrictedAnonymous ? nil : gatedTwin }

    /// As the policy checker is told of it
    var named: NamedObject {
        guard case .twin(let twin) = backing else { return NamedObject(area: publicArea, mark: []) }
        return NamedObject(area: publicArea, mark: twin.blob.gate?.mark ?? [])
    }
}

struct GatedTwin {
    let object: GatedObject
    let keeper: TwinKeeper

    /// What the command under way does with it.
    func use(_ statement: Statement? = nil) throws(TPMRC) -> [UInt8] {
        guard let current = keeper.command, let handle = current.command.code.gatedHandle, handle < current.tokens.count else {
            throw .failure
        }
        return try keeper.policy.use(GateCalls.Use.Request(
            object: object, command: current.command, token: current.tokens[handle], epoch: current.epoch, statement: statement))
    }

    /// The same, with a result that is no plain bytes.
    func use<R: WireCodable>(_ statement: Statement? = nil, as _: R.Type) throws(TPMRC) -> R {
        var bytes = try use(statement)
        defer { wipe(&bytes) }
        guard let result = try? R(wire: bytes) else { throw .failure }
        return result
    }

    func recoverSalt(_ secret: [UInt8], _ hash: HashAlgorithm) throws(TPMRC) -> [UInt8] {
        try keeper.policy.recoverSalt(GateCalls.RecoverSalt.Request(object: object, hash: hash, secret: secret))
    }

    /// Whether the HMAC is the key's over the digest.
    func verify(_ digest: [UInt8], _ mac: TaggedDigest) throws(TPMRC) -> Bool {
        do throws(TPMRC) {
            try keeper.policy.verifyMAC(GateCalls.VerifyMAC.Request(object: object, digest: digest, mac: mac))
            return true
        } catch {
            guard error == .signature else { throw error }
            return false
        }
    }
}
