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

        let outHash = digest(hash, data)
        let validation = hashCheckTicket(hierarchy, hash, digest: outHash, isSafe: !startsAsGenerated(data))
        return Reply {
            $0.sized16(outHash)
            $0.value(validation)
        }
    }

    /// TPM2_HMAC (15.5)
    func hmac(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let buffer = try call.parameters.bytes(max: Limits.inputBuffer)
        let given = try call.parameters.read { (reader) throws(WireError) in try reader.macScheme() }
        try call.parameters.finish()

        let key = try object(call.handles[0])
        let hash = try macHash(key, given)
        let outHMAC = try key.hmac(hash, buffer)
        return Reply { $0.sized16(outHMAC) }
    }

    /// The hash of an HMAC with this key: the key's own, or the caller's where the key leaves it open.
    private func macHash(_ key: LoadedObject, _ given: HashAlgorithm?) throws(TPMRC) -> HashAlgorithm {
        if key.publicArea.type == .symcipher { throw (given == nil ? TPMRC.scheme : .value).parameter(2) }
        guard key.publicArea.type == .keyedHash else { throw TPMRC.type.handle(1) }
        let own = key.publicArea.parameters.scheme.hash
        guard let hash = own ?? given, given == nil || given == hash else { throw TPMRC.value.parameter(2) }
        guard !key.attributes.contains(.restricted) else { throw TPMRC.attributes.handle(1) }
        guard key.attributes.contains(.sign) else { throw TPMRC.key.handle(1) }
        return hash
    }
}

extension WireReader {
    /// TPMI_ALG_MAC_SCHEME+ (Part 2, 9.36): TPM2_MAC has taken TPM2_HMAC's place under its command code.
    fileprivate mutating func macScheme() throws(WireError) -> HashAlgorithm? {
        let algorithm = TPMAlgorithm(rawValue: try u16())
        if algorithm == .null { return nil }
        guard let hash = HashAlgorithm(rawValue: algorithm.rawValue) else { throw .rc(.symmetric) }
        return hash
    }
}
