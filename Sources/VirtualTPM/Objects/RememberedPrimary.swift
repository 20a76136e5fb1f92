// Primaries are remembered (design, section 5): the same template under the same seed gives the same key, without the chip.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// A primary that was made before, under the digest of what it was made from.
struct RememberedPrimary: WireCodable {
    let hierarchy: TPMHandle
    let twin: TwinBlob
    /// The guest's unique field where it is not the twin's: a symmetric cipher key's digest, an ECDAA key's point. Else empty.
    let ownUnique: [UInt8]
    /// A point of two coordinates, in bytes
    private static let ownUniqueMax = 2 * (2 + ECCPoint.coordinateMax)

    init(_ key: NewKey, hierarchy: TPMHandle) {
        self.hierarchy = hierarchy
        twin = key.twin
        switch key.publicArea.unique {
        case key.twin.unique, .rsa: ownUnique = []
        case .digest(let digest): ownUnique = digest
        case .ecc(let point): ownUnique = point.wire
        }
    }

    init(from reader: inout WireReader) throws(WireError) {
        hierarchy = try reader.value()
        twin = try reader.value()
        ownUnique = try reader.sized16(max: Self.ownUniqueMax)
    }
    func encode(to writer: inout WireWriter) {
        writer.value(hierarchy)
        writer.value(twin)
        writer.sized16(ownUnique)
    }

    func key(_ template: PublicArea) -> NewKey {
        NewKey(publicArea: template.with(unique: unique(of: template)), twin: twin)
    }

    private func unique(of template: PublicArea) -> PublicArea.Unique {
        if ownUnique.isEmpty { return twin.unique }
        if template.isAnonymous, let point = try? ECCPoint(wire: ownUnique) { return .ecc(point) }
        return .digest(ownUnique)
    }
}

extension VirtualTPM {
    /// What identifies a primary: its seed, its template, and the sensitive data that was given (Part 1, 14.5). The
    /// userAuth is no part of it.
    func primaryID(_ hierarchy: TPMHandle, _ template: PublicArea, data: [UInt8]) -> [UInt8] {
        var parts = WireWriter()
        parts.sized16(template)
        parts.sized16(data)
        return digest(.sha256, seedID(of: hierarchy).bytes, parts.bytes)
    }

    /// The primary of a checked template, made by the chip if it is the first time.
    /// - Throws: TPM_RC_OBJECT_MEMORY when no more can be remembered.
    func primary(_ hierarchy: TPMHandle, _ template: PublicArea, data: [UInt8]) throws(TPMRC) -> NewKey {
        let id = primaryID(hierarchy, template, data: data)
        let known = hierarchy == .null ? volatile.hierarchies.nullPrimaries : durable.primaries
        if let remembered = known[id] { return remembered.key(template) }
        guard known.count < limits.primaries else {
            refusal = .limit(.primaries)
            throw .objectMemory
        }
        let key = try makeKey(template, data: data)
        let remembered = RememberedPrimary(key, hierarchy: hierarchy)
        if hierarchy == .null {
            volatile.hierarchies.nullPrimaries[id] = remembered
        } else {
            durable.primaries[id] = remembered
            durable.save(.primary(id))
        }
        return key
    }

    /// A storage key of the NULL hierarchy on an elliptic curve: derived from the seed, and used in this process.
    func nullStorageKey(_ curve: ECCCurve, _ template: PublicArea, data: [UInt8]) -> (publicArea: PublicArea, scalar: Secret) {
        let pair = ECCKeyPair(
            curve: curve, seed: volatile.hierarchies.nullSeed.bytes, hash: .sha256, label: "PRIMARY",
            context: primaryID(.null, template, data: data))
        return (template.with(unique: .ecc(pair.publicPoint)), pair.privateKey)
    }
}

extension DurableState {
    /// The hierarchy has a new seed: its former primaries can never be asked for again.
    mutating func forgetPrimaries(of hierarchy: TPMHandle) {
        for (id, primary) in primaries where primary.hierarchy == hierarchy {
            primaries[id] = nil
            save(.primary(id))
        }
    }
}
