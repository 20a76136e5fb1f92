// Part 3, 15: symmetric primitives.
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_Hash (15.4)
    func hash(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let data = try call.parameters.bytes(max: Limits.inputBuffer)
        let hash = try call.parameters.next(HashAlgorithm.self)
        let hierarchy = try call.parameters.hierarchy()
        try call.parameters.finish()

        let ticket = hierarchy == .null || Attestation.isImitated(by: data) ? nil : ticketHierarchy(hierarchy)
        let (outHash, validation) = try HashSequence(hash, .gathered(data)).finished(ticket: ticket, policy)
        return Reply {
            $0.sized16(outHash)
            $0.value(validation ?? .null(StructureTag.hashCheck))
        }
    }

    /// TPM2_HMAC (15.5), and under the same code TPM2_MAC (15.6)
    func hmac(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let buffer = try call.parameters.bytes(max: Limits.inputBuffer)
        let inScheme = try call.parameters.macScheme()
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .type)
        let outMAC = try key.mac(try macScheme(for: key, inScheme), buffer)
        return Reply { $0.sized16(outMAC) }
    }

    /// TPM2_EncryptDecrypt (15.2)
    func encryptDecrypt(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let decrypt = try call.parameters.flag()
        let mode = try call.parameters.cipherMode()
        let ivIn = try call.parameters.bytes(max: aesBlockSize)
        let inData = try call.parameters.bytes(max: Limits.inputBuffer)
        try call.parameters.finish()

        let request = CipherRequest(decrypt: decrypt, mode: mode, iv: ivIn, data: inData, numbers: (mode: 2, iv: 3, data: 4))
        return try cipher(request, with: try object(call.handles[0], orSequence: .key))
    }

    /// TPM2_EncryptDecrypt2 (15.3)
    func encryptDecrypt2(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let inData = try call.parameters.bytes(max: Limits.inputBuffer)
        let decrypt = try call.parameters.flag()
        let mode = try call.parameters.cipherMode()
        let ivIn = try call.parameters.bytes(max: aesBlockSize)
        try call.parameters.finish()

        let request = CipherRequest(decrypt: decrypt, mode: mode, iv: ivIn, data: inData, numbers: (mode: 3, iv: 4, data: 1))
        return try cipher(request, with: try object(call.handles[0], orSequence: .key))
    }

    private func cipher(_ request: CipherRequest, with key: LoadedObject) throws(TPMRC) -> Reply {
        guard case .symcipher(.aes(_, let ownMode)) = key.publicArea.parameters else { throw TPMRC.key.handle(1) }
        let use: ObjectAttributes = request.decrypt ? .decrypt : .sign
        guard !key.attributes.contains(.restricted), key.attributes.contains(use) else { throw TPMRC.attributes.handle(1) }
        guard ownMode != .cmac else { throw TPMRC.mode.handle(1) }
        guard ownMode == .null || request.mode == .null || request.mode == ownMode,
            let mode = AESMode(ownMode == .null ? request.mode : ownMode)
        else { throw TPMRC.mode.parameter(request.numbers.mode) }
        guard request.iv.count == (mode == .ecb ? 0 : aesBlockSize) else { throw TPMRC.size.parameter(request.numbers.iv) }

        var (iv, secret) = (request.iv, try key.unseal())
        defer { wipe(&secret) }
        guard let outData = aes(mode, key: secret, iv: &iv, request.data, encrypt: !request.decrypt) else {
            throw TPMRC.size.parameter(request.numbers.data)
        }
        return Reply {
            $0.sized16(outData)
            $0.sized16(iv)
        }
    }
}

/// What EncryptDecrypt and EncryptDecrypt2 ask for in different order.
private struct CipherRequest {
    let decrypt: Bool
    let mode: TPMAlgorithm
    let iv: [UInt8]
    let data: [UInt8]
    /// Of the parameters, for complaints
    let numbers: (mode: Int, iv: Int, data: Int)
}

extension AESMode {
    /// nil for TPM_ALG_NULL, and for what is no mode of a cipher.
    fileprivate init?(_ algorithm: TPMAlgorithm) {
        switch algorithm {
        case .cfb: self = .cfb
        case .ctr: self = .ctr
        case .ofb: self = .ofb
        case .cbc: self = .cbc
        case .ecb: self = .ecb
        default: return nil
        }
    }
}

/// What a key makes MACs with.
enum MACScheme: Equatable {
    case hmac(HashAlgorithm)
    /// With a key of a symmetric cipher
    case cmac

    /// TPMI_ALG_MAC_SCHEME (Part 2, 9.36)
    init?(_ algorithm: TPMAlgorithm) {
        if algorithm == .cmac {
            self = .cmac
        } else if let hash = HashAlgorithm(rawValue: algorithm.rawValue) {
            self = .hmac(hash)
        } else {
            return nil
        }
    }
}

/// The scheme of a MAC with this key: the key's own, or the caller's where the key leaves it open (Part 3, 15.6 and 17.3). Both
/// commands have the key as handle 1 and the scheme as parameter 2.
func macScheme(for key: LoadedObject, _ given: TPMAlgorithm) throws(TPMRC) -> MACScheme {
    let own: TPMAlgorithm
    switch key.publicArea.parameters {
    case .keyedHash(let scheme): own = scheme.hash?.algorithm ?? .null
    case .symcipher(.aes(_, let mode)): own = mode
    default: throw TPMRC.type.handle(1)
    }
    let algorithm = own == .null ? given : own
    guard algorithm != .null, given == .null || given == algorithm else { throw TPMRC.value.parameter(2) }
    guard let scheme = MACScheme(algorithm), (scheme == .cmac) == (key.publicArea.type == .symcipher) else {
        throw TPMRC.scheme.parameter(2)
    }
    guard !key.attributes.contains(.restricted) else { throw TPMRC.attributes.handle(1) }
    guard key.attributes.contains(.sign) else { throw TPMRC.key.handle(1) }
    return scheme
}

extension ParameterReader {
    /// An algorithm of those that the field allows, which the TPM must know.
    mutating func algorithm(else wrong: TPMRC, _ allows: (TPMAlgorithm) -> Bool) throws(TPMRC) -> TPMAlgorithm {
        try read { (reader) throws(WireError) in
            let algorithm = TPMAlgorithm(rawValue: try reader.u16())
            guard allows(algorithm), reader.knows(algorithm) else { throw .rc(wrong) }
            return algorithm
        }
    }

    mutating func flag() throws(TPMRC) -> Bool {
        try read { (reader) throws(WireError) in try reader.flag() }
    }

    /// TPMI_ALG_MAC_SCHEME+ (Part 2, 9.36)
    mutating func macScheme() throws(TPMRC) -> TPMAlgorithm {
        try algorithm(else: .symmetric) { $0 == .null || MACScheme($0) != nil }
    }

    /// TPMI_ALG_CIPHER_MODE+ (Part 2, 9.37)
    fileprivate mutating func cipherMode() throws(TPMRC) -> TPMAlgorithm {
        try algorithm(else: .mode) { $0 == .null || SymmetricDefinition.modes.contains($0) }
    }
}
