// Making keys: what a template asks for, from the chip or, where the twin only seals it, made here and sealed there.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// A key as it was made or imported: the guest's public area, with its unique field, and the twin.
struct NewKey {
    let publicArea: PublicArea
    let twin: TwinBlob
}

extension VirtualTPM {
    /// Makes a key from a checked template (Part 1, 27).
    /// - Parameter data: the caller's sensitive data; ignored where the TPM is the origin.
    /// - Throws: TPM_RC_RANGE for an exponent, TPM_RC_SIZE or TPM_RC_KEY_SIZE for data; the chip's answers.
    func makeKey(_ template: PublicArea, data: [UInt8]) throws(TPMRC) -> NewKey {
        let data = template.attributes.contains(.sensitiveDataOrigin) ? [] : data
        switch template.parameters {
        case .rsa(_, _, _, let exponent):
            guard exponent == 0 || exponent == 65537 else { throw .range }
            return try makeKey(template, .used, twinData: [])
        case .ecc(_, _, let curve, _) where template.isAnonymous: return try makeAnonymousKey(template, curve)
        case .ecc: return try makeKey(template, .used, twinData: [])
        case .keyedHash(let scheme): return try makeKeyedHash(template, scheme, data)
        case .symcipher(let symmetric): return try makeCipherKey(template, symmetric, data)
        }
    }

    /// A key whose unique field is its twin's.
    private func makeKey(_ template: PublicArea, _ keeping: SecretKeeping, twinData: [UInt8]) throws(TPMRC) -> NewKey {
        guard let spec = template.twinSpec(keeping) else { throw .hash }
        let twin = try makeTwin(spec, of: template, data: twinData)
        return NewKey(publicArea: template.with(unique: twin.unique), twin: twin)
    }

    private func makeKeyedHash(_ template: PublicArea, _ scheme: Scheme, _ data: [UInt8]) throws(TPMRC) -> NewKey {
        guard let hash = scheme.hash ?? template.nameAlgorithm else { throw .hash }
        if !template.attributes.isDisjoint(with: [.sign, .decrypt]) {
            guard data.count <= hash.blockSize else { throw .size }
        }
        if template.sealsSeed {
            let key = data.isEmpty ? try drawRandom(hash.digestSize) : data
            return try makeKey(template, sealing: SymmetricSecret(seed: try drawRandom(template.seedSize), data: key))
        }
        let keeping = template.secretKeeping(dataSize: data.count)
        // Only the chip's own HMAC keys can be made by the chip.
        var secret = keeping == .sealed && data.isEmpty ? try drawRandom(hash.digestSize) : data
        defer { wipe(&secret) }
        return try makeKey(template, keeping, twinData: secret)
    }

    private func makeCipherKey(
        _ template: PublicArea, _ symmetric: SymmetricDefinition, _ data: [UInt8]
    ) throws(TPMRC) -> NewKey {
        guard case .aes(let bits, _) = symmetric else { throw .symmetric }
        let keySize = Int(bits) / 8
        guard data.isEmpty || data.count == keySize else { throw .keySize }
        let key = data.isEmpty ? try drawRandom(keySize) : data
        return try makeKey(template, sealing: SymmetricSecret(seed: try drawRandom(template.seedSize), data: key))
    }

    /// An ECDAA key from the chip's randomness; a restricted one is the policy checker's to make.
    private func makeAnonymousKey(_ template: PublicArea, _ curve: ECCCurve) throws(TPMRC) -> NewKey {
        if template.isRestrictedAnonymous {
            let made = try policy.createAnonymous(template)
            return NewKey(publicArea: template.with(unique: .ecc(made.point)), twin: made.twin)
        }
        // 64 bits more than the order, which has the size of the field.
        var bytes = try drawRandom(curve.fieldSize + 8)
        defer { wipe(&bytes) }
        let pair = ECCKeyPair(curve: curve, extraBits: bytes)
        return try sealKey(template.with(unique: .ecc(pair.publicPoint)), pair.privateKey)
    }

    /// A key whose twin is not a key, but seals it.
    private func sealKey(_ publicArea: PublicArea, _ secret: Secret) throws(TPMRC) -> NewKey {
        guard let spec = publicArea.twinSpec(.sealed) else { throw .hash }
        var sealed = secret.bytes
        defer { wipe(&sealed) }
        guard sealed.count <= SensitiveCreate.dataMax else { throw .size }
        return NewKey(publicArea: publicArea, twin: try makeTwin(spec, of: publicArea, data: sealed))
    }

    /// A gated twin is made by the policy checker, which gives it its authValue.
    private func makeTwin(_ spec: TwinSpec, of area: PublicArea, data: [UInt8]) throws(TPMRC) -> TwinBlob {
        spec.isGated ? try policy.create(.init(area: area, data: data)) : try device.create(spec, data: data)
    }

    /// A key whose twin seals seedValue and key together (PublicArea.sealsSeed).
    /// - Throws: TPM_RC_SIZE when both are more than the chip seals: a long key of a derivation parent with a long nameAlg.
    func makeKey(_ template: PublicArea, sealing secret: SymmetricSecret) throws(TPMRC) -> NewKey {
        guard let hash = template.nameAlgorithm else { throw .hash }
        return try sealKey(template.with(unique: .digest(template.symmetricUnique(secret, hash))), Secret(secret.bytes))
    }

    /// A key from outside: public and private part belong together (`checkedSecret(_:blaming:)`).
    /// - Parameter secret: the private part in the form of `Backing.software`.
    func importKey(_ publicArea: PublicArea, _ secret: Secret) throws(TPMRC) -> NewKey {
        let parts = SymmetricSecret(secret.bytes, seedSize: publicArea.isAsymmetric ? 0 : publicArea.seedSize)
        if publicArea.sealsSeed { return try makeKey(publicArea, sealing: parts) }
        if publicArea.isAnonymous { return try sealKey(publicArea, secret) }
        let keeping = publicArea.secretKeeping(dataSize: parts.data.count)
        guard let spec = publicArea.twinSpec(keeping, isImported: true) else { throw .hash }
        let sensitive = SensitiveArea(type: publicArea.type, authValue: [], seedValue: parts.seed, sensitive: parts.data)
        let twin = spec.isGated
            ? try policy.importTwin(.init(area: publicArea, sensitive: sensitive))
            : try device.importTwin(spec, unique: publicArea.unique, sensitive: sensitive)
        return NewKey(publicArea: publicArea, twin: twin)
    }
}

/// The parameters that TPM2_Create and TPM2_CreatePrimary share (Part 3, 12.1 and 24.1).
struct CreationRequest {
    /// userAuth without trailing zeros
    let sensitive: SensitiveCreate
    let template: PublicArea
    let outsideInfo: [UInt8]
    let creationPCR: [PCRSelection]

    /// TPM2B_DATA: a tagged digest, in bytes (Part 2, 10.4.3)
    static let outsideInfoMax = 2 + HashAlgorithm.largestDigest

    init(_ parameters: inout ParameterReader) throws(TPMRC) {
        var sensitive = try parameters.next(Sized<SensitiveCreate>.self).value
        sensitive.userAuth = withoutTrailingZeros(sensitive.userAuth)
        self.sensitive = sensitive
        template = try parameters.namedPublicArea()
        outsideInfo = try parameters.bytes(max: Self.outsideInfoMax)
        creationPCR = try parameters.list(max: PCRSelection.listMax)
        try parameters.finish()
    }

    func check(parent: LoadedObject?, chip: ChipDescription) throws(TPMRC) {
        do throws(TPMRC) {
            try template.checkOffered(by: chip)
            try template.checkCreation(parent: parent?.publicArea, dataSize: sensitive.data.count)
        } catch {
            throw error.parameter(2)
        }
        guard sensitive.userAuth.count <= template.nameAlgorithm?.digestSize ?? 0 else { throw TPMRC.size.parameter(1) }
    }
}

extension ParameterReader {
    /// TPM2B_PUBLIC of an object with a Name (TPMI_ALG_HASH without TPM_ALG_NULL).
    mutating func namedPublicArea() throws(TPMRC) -> PublicArea {
        try read { (reader) throws(WireError) in
            var ahead = reader
            if try ahead.u16() > 0 { try ahead.expectNameAlgorithm() }
            return try reader.value(Sized<PublicArea>.self).value
        }
    }
}

extension WireReader {
    /// TPM_RC_HASH where the public area ahead has no nameAlg, which is answered before whatever may be wrong behind it: only the type
    /// stands before it.
    func expectNameAlgorithm() throws(WireError) {
        var ahead = self
        guard (try? ahead.objectType()) != nil, let nameAlgorithm = try? ahead.u16() else { return }
        guard nameAlgorithm != TPMAlgorithm.null.rawValue else { throw .rc(.hash) }
    }
}

/// Under which circumstances an object was created: creationData, creationHash, creationTicket.
struct CreationEvidence {
    let data: CreationData
    let hash: [UInt8]
    let ticket: Ticket
}

extension VirtualTPM {
    /// - Parameters:
    ///   - parent: nil for a primary of `hierarchy`.
    ///   - name: the new object's.
    func creationEvidence(
        _ request: CreationRequest, parent: LoadedObject?, hierarchy: TPMHandle, name: [UInt8]
    ) throws(TPMRC) -> CreationEvidence {
        guard let hashAlgorithm = request.template.nameAlgorithm else { throw .hash }
        let data = CreationData(
            pcrSelect: volatile.banks.present(request.creationPCR), pcrDigest: try pcrDigest(request.creationPCR, hash: hashAlgorithm),
            locality: LocalityAttributes(locality: try pcrs.values().locality),
            parentNameAlgorithm: parent?.publicArea.nameAlgorithm, parentName: parent?.name ?? hierarchy.wire,
            parentQualifiedName: parent?.qualifiedName ?? hierarchy.wire, outsideInfo: request.outsideInfo)
        let hash = digest(hashAlgorithm, data.wire)
        return CreationEvidence(data: data, hash: hash, ticket: creationTicket(hierarchy, name: name, creationHash: hash))
    }
}

extension WireWriter {
    mutating func value(_ evidence: CreationEvidence) {
        sized16(evidence.data)
        sized16(evidence.hash)
        value(evidence.ticket)
    }
}
