// What is done with an object's private part, wherever that is: in its twin or in this process.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension LoadedObject {
    /// Signs a digest.
    /// - Parameters:
    ///   - scheme: a signing scheme with its hash, already selected for this key (`PublicArea.signingScheme(_:)`), but not ECDAA, which
    ///     needs a commitment (`VirtualTPM.signature(by:of:scheme:for:)`).
    ///   - statement: what is signed, as a gated key's keeper has to know it.
    /// - Throws: TPM_RC_SCHEME for a scheme of another type of key; TPM_RC_VALUE; TPM_RC_SIZE.
    func sign(digest: [UInt8], scheme: Scheme, for statement: Statement? = nil) throws(TPMRC) -> Signature {
        guard let hash = scheme.hash, publicArea.allowsSigning(with: scheme.algorithm), scheme.algorithm != .ecdaa else {
            throw .scheme
        }
        if let gatedTwin { return try gatedTwin.use(statement, as: Signature.self) }
        if publicArea.type == .keyedHash { return .hmac(hash, try hmac(hash, digest)) }
        switch backing {
        case .publicOnly: throw .key
        case .twin(let twin):
            return try twin.use { (device, handle) throws(TPMRC) in
                try device.sign(handle, digest: digest, scheme: scheme)
            }
        case .software(let secret): return try softwareSign(secret, digest, scheme.algorithm, hash)
        }
    }

    private func softwareSign(
        _ secret: Secret, _ digest: [UInt8], _ algorithm: TPMAlgorithm, _ hash: HashAlgorithm
    ) throws(TPMRC) -> Signature {
        if publicArea.type == .rsa {
            return .rsa(algorithm, hash, try rsaKey(secret).sign(digest: digest, scheme: algorithm, hash: hash))
        }
        let key = try eccKey(secret)
        let (r, s) = algorithm == .ecdsa ? key.signECDSA(digest: digest) : key.signECSchnorr(digest: digest, hash: hash)
        return .ecc(algorithm, hash, r: r, s: s)
    }

    /// TPM2_RSA_Decrypt's calculation (Part 3, 14.3).
    /// - Parameters:
    ///   - scheme: null, rsaes or oaep.
    ///   - label: with its terminating NUL.
    func decryptRSA(_ cipherText: [UInt8], scheme: Scheme, label: [UInt8]) throws(TPMRC) -> [UInt8] {
        guard case .rsa(let modulus) = publicArea.unique else { throw .key }
        guard cipherText.count == modulus.count else { throw .size }
        if let gatedTwin { return try gatedTwin.use() }
        switch backing {
        case .publicOnly: throw .key
        case .twin(let twin):
            return try twin.use { (device, handle) throws(TPMRC) in
                try device.decryptRSA(handle, cipherText: cipherText, scheme: scheme, label: label)
            }
        case .software(let secret): return try rsaKey(secret).decrypt(cipherText, scheme: scheme, label: label)
        }
    }

    /// The shared point of this key's private part and `point` (Part 1, C.6.1).
    /// - Throws: TPM_RC_ECC_POINT if the point is not on the key's curve.
    func agree(_ point: ECCPoint) throws(TPMRC) -> ECCPoint {
        guard case .ecc(_, _, let curve, _) = publicArea.parameters else { throw .key }
        guard isOnCurve(point, curve) else { throw .eccPoint }
        if let gatedTwin { return try gatedTwin.use(as: ECCPoint.self) }
        switch backing {
        case .publicOnly: throw .key
        case .twin(let twin):
            return try twin.use { (device, handle) throws(TPMRC) in try device.agree(handle, point: point) }
        case .software(let secret):
            guard let shared = try eccKey(secret).agree(point) else { throw .eccPoint }
            return shared
        }
    }

    /// The data of a sealed object, or the key of a symmetric object (whose twin seals it: a listed exception to P2).
    func unseal() throws(TPMRC) -> [UInt8] { try symmetricParts().data }

    /// seedValue and sensitive of a symmetric object; the seed is empty where the chip keeps it.
    private func symmetricParts() throws(TPMRC) -> SymmetricSecret {
        switch backing {
        case .publicOnly: throw .key
        case .software(let secret): return SymmetricSecret(secret.bytes, seedSize: publicArea.seedSize)
        case .twin(let twin):
            let data = if let gatedTwin { try gatedTwin.use() } else {
                try twin.use { (device, handle) throws(TPMRC) in try device.unseal(handle) }
            }
            return SymmetricSecret(data, seedSize: publicArea.sealsSeed ? publicArea.seedSize : 0)
        }
    }

    /// HMAC with a keyed-hash key (Part 3, 15.5).
    /// - Parameter data: at most DeviceCalls.HMAC.dataMax bytes.
    func hmac(_ hash: HashAlgorithm, _ data: [UInt8]) throws(TPMRC) -> [UInt8] {
        if case .twin(let twin) = backing, twin.blob.spec.kind == .hmac {
            if let gatedTwin { return try gatedTwin.use() }
            return try twin.use { (device, handle) throws(TPMRC) in try device.hmac(handle, hash: hash, data: data) }
        }
        var key = try unseal()
        defer { wipe(&key) }
        return TPMCrypto.hmac(hash, key: key, data)
    }

    /// TPM2_MAC's calculation (Part 3, 15.6).
    /// - Parameter scheme: one that was selected for this key (`macScheme(for:_:)`).
    func mac(_ scheme: MACScheme, _ data: [UInt8]) throws(TPMRC) -> [UInt8] {
        switch scheme {
        case .hmac(let hash): return try hmac(hash, data)
        case .cmac:
            var context = try cmacContext()
            context.update(data)
            return context.finished()
        }
    }

    /// The beginning of a MAC over data that come in parts.
    func macSequence(_ scheme: MACScheme) throws(TPMRC) -> SequenceObject.State {
        switch scheme {
        case .cmac: return .cmac(try cmacContext())
        case .hmac(let hash):
            if case .twin(let twin) = backing, twin.blob.spec.kind == .hmac {
                // A policy is checked when the sequence starts, so a gated one starts in the chip.
                guard let gatedTwin else { return .twin(TwinSequence(twin, hash)) }
                return .twin(TwinSequence(twin, hash, .inChip(state: try gatedTwin.use())))
            }
            var key = try unseal()
            defer { wipe(&key) }
            return .hmac(HMACContext(hash, key: key))
        }
    }

    private func cmacContext() throws(TPMRC) -> CMACContext {
        var key = try unseal()
        defer { wipe(&key) }
        guard let context = CMACContext(key: key) else { throw .failure }
        return context
    }

    private func rsaKey(_ prime: Secret) throws(TPMRC) -> RSAPrivateKey {
        guard case .rsa(_, _, _, let exponent) = publicArea.parameters, case .rsa(let modulus) = publicArea.unique,
            let key = RSAPrivateKey(modulus: modulus, exponent: exponent, prime: prime.bytes)
        else { throw .key }
        return key
    }

    /// An ECDAA key with its private part, which its twin seals (a listed exception to P2).
    /// - Throws: TPM_RC_KEY without a private part.
    func anonymousKey() throws(TPMRC) -> ECCKeyPair {
        var scalar: [UInt8]
        switch backing {
        case .publicOnly: throw .key
        case .software(let secret): scalar = secret.bytes
        case .twin: scalar = try unseal()
        }
        defer { wipe(&scalar) }
        return try eccKey(Secret(scalar))
    }

    private func eccKey(_ scalar: Secret) throws(TPMRC) -> ECCKeyPair {
        guard case .ecc(_, _, let curve, _) = publicArea.parameters,
            let key = ECCKeyPair(curve: curve, privateKey: scalar.bytes)
        else { throw .key }
        return key
    }
}

/// A symmetric object's secret as one string: its seedValue (as long as a digest of its nameAlg), then its sensitive data.
struct SymmetricSecret {
    let seed: [UInt8]
    let data: [UInt8]

    init(seed: [UInt8], data: [UInt8]) {
        self.seed = seed
        self.data = data
    }
    init(_ bytes: [UInt8], seedSize: Int) {
        seed = Array(bytes.prefix(seedSize))
        data = seedSize == 0 ? bytes : Array(bytes.dropFirst(seedSize))
    }
    var bytes: [UInt8] { seed + data }
}

extension PublicArea {
    /// The unique field of a symmetric object (Part 1, 27.5.3.3 and 27.6.3): a digest of seedValue and sensitive data, and for
    /// a parent an HMAC with the seedValue as key.
    func symmetricUnique(_ secret: SymmetricSecret, _ hash: HashAlgorithm) -> [UInt8] {
        isParent
            ? hmac(hash, key: secret.seed, secret.data) : digest(hash, secret.seed, secret.data)
    }
}

extension LoadedObject {
    /// A seed whose secret was encrypted to this asymmetric key: a session's salt, or what an outer wrapper hangs on
    /// (Part 1, B.10 and C.6).
    /// - Throws: TPM_RC_KEY, TPM_RC_SCHEME, TPM_RC_SIZE, TPM_RC_VALUE, TPM_RC_ECC_POINT or a decoding error, without
    ///   parameter number.
    func recoverSeed(_ secret: [UInt8], for use: SeedUse) throws(TPMRC) -> [UInt8] {
        guard let nameAlgorithm = publicArea.nameAlgorithm else { throw .key }
        switch publicArea.parameters {
        case .rsa(_, let scheme, _, _): return try rsaSeed(secret, use, scheme.isNull ? Scheme(.oaep, nameAlgorithm) : scheme)
        case .ecc(_, _, let curve, _): return try eccSeed(secret, use, curve, nameAlgorithm)
        case .keyedHash, .symcipher: throw .key
        }
    }

    /// Whether a secret may be one that was encrypted to this asymmetric key.
    /// - Throws: as `recoverSeed(_:for:)`.
    func checkSecret(_ secret: [UInt8]) throws(TPMRC) {
        switch (publicArea.parameters, publicArea.unique) {
        case (.rsa, .rsa(let modulus)): guard secret.count == modulus.count else { throw .size }
        case (.ecc(_, _, let curve, _), _): _ = try ephemeralPoint(secret, curve)
        default: throw .key
        }
    }

    private func ephemeralPoint(_ secret: [UInt8], _ curve: ECCCurve) throws(TPMRC) -> ECCPoint {
        let point: ECCPoint
        do throws(WireError) { point = try ECCPoint(wire: secret) } catch { throw TPMRC(error) }
        guard isOnCurve(point, curve) else { throw .eccPoint }
        return point
    }

    private func rsaSeed(_ secret: [UInt8], _ use: SeedUse, _ scheme: Scheme) throws(TPMRC) -> [UInt8] {
        guard scheme.algorithm == .oaep, let hash = scheme.hash else { throw .scheme }
        try checkSecret(secret)
        let seed: [UInt8]
        switch backing {
        case .publicOnly: throw .key
        case .twin(let twin): seed = try recover(secret, use, hash, twin)
        case .software(let prime): seed = try rsaKey(prime).decrypt(secret, scheme: scheme, label: use.labelBytes)
        }
        guard seed.count <= hash.digestSize else { throw .value }
        return seed
    }

    private func eccSeed(
        _ secret: [UInt8], _ use: SeedUse, _ curve: ECCCurve, _ hash: HashAlgorithm
    ) throws(TPMRC) -> [UInt8] {
        guard case .ecc(let own) = publicArea.unique else { throw .key }
        let point = try ephemeralPoint(secret, curve)
        switch backing {
        case .publicOnly: throw .key
        case .twin(let twin): return try recover(secret, use, hash, twin)
        case .software(let scalar):
            guard var z = try eccKey(scalar).agree(point)?.x else { throw .eccPoint }
            defer { wipe(&z) }
            return kdfe(hash, z: z, label: use.label, partyU: point.x, partyV: own.x, bits: hash.digestSize * 8)
        }
    }

    private func recover(
        _ secret: [UInt8], _ use: SeedUse, _ hash: HashAlgorithm, _ twin: TwinReference
    ) throws(TPMRC) -> [UInt8] {
        // Storage keys are not gated, and other keys recover nothing but salts.
        if let gatedTwin { return try gatedTwin.recoverSalt(secret, hash) }
        return try twin.use { (device, handle) throws(TPMRC) in
            try device.recoverSeed(handle, use: use, hash: hash, secret: secret)
        }
    }
}

extension LoadedObject {
    /// TPMT_SENSITIVE as a duplicate carries it: where the object is duplicable, so is its twin.
    /// - Returns: authValue padded to the size of nameAlg's digest.
    func sensitiveArea(_ keys: GuestKeys) throws(TPMRC) -> SensitiveArea {
        var area: SensitiveArea
        switch backing {
        case .twin where publicArea.isAnonymous:
            area = SensitiveArea(type: publicArea.type, authValue: [], seedValue: [], sensitive: try unseal())
        case .twin(let twin) where !publicArea.isSealedKey:
            area = if let gatedTwin { try gatedTwin.use(as: SensitiveArea.self) } else {
                try twin.use { (device, handle) throws(TPMRC) in try device.duplicate(handle) }
            }
        case .software(let secret) where publicArea.isAsymmetric:
            area = SensitiveArea(type: publicArea.type, authValue: [], seedValue: [], sensitive: secret.bytes)
        default:
            let parts = try symmetricParts()
            area = SensitiveArea(type: publicArea.type, authValue: [], seedValue: parts.seed, sensitive: parts.data)
        }
        area.authValue = authValue.bytes + [UInt8](repeating: 0, count: max(0, publicArea.seedSize - authValue.count))
        if publicArea.isAsymmetric && publicArea.isParent { area.seedValue = keys.seedValue(name: name, size: publicArea.seedSize) }
        return area
    }
}

extension VirtualTPM {
    /// The salt of TPM2_StartAuthSession; errors are without parameter number.
    func recoverSalt(_ encrypted: [UInt8], key: LoadedObject) throws(TPMRC) -> [UInt8] {
        try key.recoverSeed(encrypted, for: .session)
    }
}
