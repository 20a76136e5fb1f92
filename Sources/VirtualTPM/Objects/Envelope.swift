// What a guest gets as TPM2B_PRIVATE (design, "Guest blobs"): the twin's private part as the chip wrapped it, and what the
// broker alone knows of the object, encrypted so that it opens under one parent and one Name only.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// The virtual sensitive area of an object.
struct Envelope {
    var authValue: [UInt8]
    var keeping: SecretKeeping
    /// The key came from outside.
    var isImported = false
    /// The twin's unique field where the guest's differs (PublicArea.isSealedKey); else empty.
    var twinUnique: [UInt8]
    /// Of a gated twin; without a mark if the key came from outside.
    var gate: GateSeal?
    /// TPM2B_PRIVATE of the chip.
    var hardwarePrivate: [UInt8]

    private static let version: UInt8 = 2
    private static let nonceSize = 12
    private static let tagSize = 16
    /// version, nonce, flags, authValue's size, tag
    static let overhead = 1 + nonceSize + 2 + tagSize
    private static let sealedFlag: UInt8 = 1
    private static let uniqueFlag: UInt8 = 2
    private static let importedFlag: UInt8 = 4
    private static let gatedFlag: UInt8 = 8

    /// - Parameters:
    ///   - key: `GuestKeys.envelope(parentName:name:)`
    ///   - name: the object's Name.
    func sealed(key: [UInt8], name: [UInt8]) -> [UInt8] {
        var plain = WireWriter(capacity: hardwarePrivate.count + Self.overhead)
        plain.u8(
            (keeping == .sealed ? Self.sealedFlag : 0) | (twinUnique.isEmpty ? 0 : Self.uniqueFlag)
                | (isImported ? Self.importedFlag : 0) | (gate == nil ? 0 : Self.gatedFlag))
        plain.u8(UInt8(authValue.count))
        plain.raw(authValue)
        if !twinUnique.isEmpty {
            plain.u8(UInt8(twinUnique.count))
            plain.raw(twinUnique)
        }
        if let gate { plain.raw(gate.salt + gate.mark) }
        plain.raw(hardwarePrivate)
        let nonce = randomBytes(Self.nonceSize)
        return [Self.version] + nonce + aeadSeal(key: key, nonce: nonce, associated: [Self.version] + name, plain.bytes)
    }

    /// - Throws: TPM_RC_SIZE for what is too short to be an envelope, TPM_RC_INTEGRITY for whatever this guest did not seal
    ///   under this parent for this Name.
    init(opening blob: [UInt8], key: [UInt8], name: [UInt8]) throws(TPMRC) {
        guard blob.count >= Self.overhead else { throw .size }
        let nonce = Array(blob[1...Self.nonceSize])
        let body = Array(blob[(Self.nonceSize + 1)...])
        guard blob[0] == Self.version,
            var plain = aeadOpen(key: key, nonce: nonce, associated: [Self.version] + name, body)
        else { throw .integrity }
        defer { wipe(&plain) }
        do throws(WireError) { try self.init(plain) } catch { throw .integrity }
    }

    private init(_ plain: [UInt8]) throws(WireError) {
        var reader = WireReader(plain)
        let flags = try reader.u8()
        keeping = flags & Self.sealedFlag != 0 ? .sealed : .used
        isImported = flags & Self.importedFlag != 0
        authValue = try reader.bytes(Int(try reader.u8()))
        twinUnique = flags & Self.uniqueFlag != 0 ? try reader.bytes(Int(try reader.u8())) : []
        gate = flags & Self.gatedFlag == 0 ? nil : GateSeal(
            salt: try reader.bytes(GateSeal.saltSize), mark: isImported ? [] : try reader.bytes(GateSeal.markSize))
        hardwarePrivate = reader.rest()
    }

    init(
        authValue: [UInt8], keeping: SecretKeeping, twinUnique: [UInt8] = [], gate: GateSeal? = nil, hardwarePrivate: [UInt8]
    ) {
        self.authValue = authValue
        self.keeping = keeping
        self.twinUnique = twinUnique
        self.gate = gate
        self.hardwarePrivate = hardwarePrivate
    }
}

extension Envelope {
    /// What is to be sealed of an object with this twin.
    init(_ key: NewKey, authValue: [UInt8]) {
        var twinUnique: [UInt8] = []
        if case .digest(let digest) = key.twin.unique, key.publicArea.isSealedKey { twinUnique = digest }
        self.init(
            authValue: authValue, keeping: key.twin.spec.kind == .sealed ? .sealed : .used, twinUnique: twinUnique,
            gate: key.twin.gate, hardwarePrivate: key.twin.hardwarePrivate)
        isImported = key.twin.spec.isImported
    }

    /// The twin of the object whose envelope this is; nil if the public area can have none.
    func twin(of publicArea: PublicArea) -> TwinBlob? {
        guard let spec = publicArea.twinSpec(keeping, isImported: isImported) else { return nil }
        let unique = publicArea.isSealedKey ? .digest(twinUnique) : publicArea.unique
        return TwinBlob(spec: spec, unique: unique, hardwarePrivate: hardwarePrivate, gate: gate)
    }
}
