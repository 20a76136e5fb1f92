// Part 3, 14: asymmetric primitives.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2B_DATA, in bytes (Part 2, 10.4.3)
    private static let labelMax = 2 + HashAlgorithm.largestDigest

    /// TPM2_RSA_Encrypt (14.2)
    func rsaEncrypt(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let (message, inScheme, label) = try rsaParameters(&call.parameters)

        let key = try object(call.handles[0], orSequence: .key)
        guard case .rsa(_, _, _, let exponent) = key.publicArea.parameters, case .rsa(let modulus) = key.publicArea.unique else {
            throw TPMRC.key.handle(1)
        }
        guard key.attributes.contains(.decrypt) else { throw TPMRC.attributes.handle(1) }
        let scheme = try rsaScheme(key, inScheme, label)
        let cipherText = try RSAPublicKey(modulus: modulus, exponent: exponent).encrypt(message, scheme: scheme, label: label)
        return Reply { $0.sized16(cipherText) }
    }

    /// TPM2_RSA_Decrypt (14.3)
    func rsaDecrypt(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let (cipherText, inScheme, label) = try rsaParameters(&call.parameters)

        let key = try object(call.handles[0], orSequence: .key)
        guard key.publicArea.type == .rsa else { throw TPMRC.key.handle(1) }
        guard key.attributes.contains(.decrypt), !key.attributes.contains(.restricted) else { throw TPMRC.attributes.handle(1) }
        let scheme = try rsaScheme(key, inScheme, label)
        var message = try key.decryptRSA(cipherText, scheme: scheme, label: label)
        defer { wipe(&message) }
        return Reply { $0.sized16(message) }
    }

    private func rsaParameters(
        _ parameters: inout ParameterReader
    ) throws(TPMRC) -> (text: [UInt8], scheme: Scheme, label: [UInt8]) {
        let text = try parameters.bytes(max: PublicArea.rsaMax)
        let scheme = try parameters.read { (reader) throws(WireError) in try Scheme(from: &reader, field: .rsaDecrypt) }
        let label = try parameters.bytes(max: Self.labelMax)
        try parameters.finish()
        return (text, scheme, label)
    }

    private func rsaScheme(_ key: LoadedObject, _ given: Scheme, _ label: [UInt8]) throws(TPMRC) -> Scheme {
        // A label has its terminating NUL.
        guard label.last ?? 0 == 0 else { throw TPMRC.value.parameter(3) }
        do throws(TPMRC) { return try key.publicArea.encryptionScheme(given) } catch { throw error.parameter(2) }
    }

    /// TPM2_ECDH_KeyGen (14.4)
    func ecdhKeyGen(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .key)
        guard case .ecc(_, _, let curve, _) = key.publicArea.parameters, case .ecc(let point) = key.publicArea.unique else {
            throw TPMRC.key.handle(1)
        }
        let ephemeral = ECCKeyPair.generate(curve)
        guard let shared = ephemeral.agree(point) else { throw TPMRC.key.handle(1) }
        return Reply {
            $0.sized16(shared)
            $0.sized16(ephemeral.publicPoint)
        }
    }

    /// TPM2_ECDH_ZGen (14.5)
    func ecdhZGen(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let point = try call.parameters.next(Sized<ECCPoint>.self).value
        try call.parameters.finish()

        let key = try object(call.handles[0], orSequence: .key)
        guard key.publicArea.type == .ecc else { throw TPMRC.key.handle(1) }
        guard key.attributes.contains(.decrypt), !key.attributes.contains(.restricted) else { throw TPMRC.attributes.handle(1) }
        let scheme = key.publicArea.parameters.scheme
        guard scheme.isNull || scheme.algorithm == .ecdh else { throw TPMRC.scheme.handle(1) }
        let shared: ECCPoint
        do throws(TPMRC) { shared = try key.agree(point) } catch { throw error.parameter(1) }
        return Reply { $0.sized16(shared) }
    }

    /// TPM2_ECC_Parameters (14.6)
    func eccParameters(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let curve = try call.parameters.curve(of: curves)
        try call.parameters.finish()

        return Reply { $0.value(CurveDetail(curve)) }
    }

    /// TPM2_ZGen_2Phase (14.7), for ECDH: the full unified model of SP 800-56A.
    func zGen2Phase(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let inQsB = try call.parameters.next(Sized<ECCPoint>.self).value
        let inQeB = try call.parameters.next(Sized<ECCPoint>.self).value
        let inScheme = try call.parameters.algorithm(else: .scheme) { $0 == .ecdh || $0 == .null }
        let counter = try call.parameters.next(UInt16.self)
        try call.parameters.finish()

        let keyA = try object(call.handles[0], orSequence: .key)
        guard case .ecc(_, let scheme, let curve, _) = keyA.publicArea.parameters else { throw TPMRC.key.handle(1) }
        guard keyA.attributes.contains(.decrypt), !keyA.attributes.contains(.restricted) else { throw TPMRC.attributes.handle(1) }
        guard inScheme == .ecdh, scheme.isNull || scheme.algorithm == .ecdh else { throw TPMRC.scheme.parameter(3) }
        guard isOnCurve(inQsB, curve) else { throw TPMRC.eccPoint.parameter(1) }
        guard isOnCurve(inQeB, curve) else { throw TPMRC.eccPoint.parameter(2) }
        guard let ephemeral = volatile.commitments.key(counter, curve), let outZ2 = ephemeral.agree(inQeB) else {
            throw TPMRC.value.parameter(4)
        }
        let outZ1 = try keyA.agree(inQsB)
        volatile.commitments.end(counter)
        return Reply {
            $0.sized16(outZ1)
            $0.sized16(outZ2)
        }
    }
}

extension ParameterReader {
    /// TPMI_ECC_CURVE: one of those that the TPM has.
    mutating func curve(of curves: [ECCCurve]) throws(TPMRC) -> ECCCurve {
        let curve = try next(ECCCurve.self)
        guard curves.contains(curve) else { throw TPMRC.curve.parameter(number) }
        return curve
    }
}

/// TPMS_ALGORITHM_DETAIL_ECC (Part 2, 11.2.5.4), written only.
private struct CurveDetail: WireCodable {
    let curve: ECCCurve

    init(_ curve: ECCCurve) { self.curve = curve }
    init(from reader: inout WireReader) throws(WireError) { curve = try reader.value() }
    func encode(to writer: inout WireWriter) {
        let constants = CurveConstants(curve)
        let kdf: Scheme = switch curve {
        case .p256: Scheme(.kdf1SP800_56A, .sha256)
        case .p384: Scheme(.kdf1SP800_56A, .sha384)
        case .p521: Scheme(.kdf1SP800_56A, .sha512)
        case .bnP256: .null
        }
        writer.value(curve)
        writer.u16(UInt16(curve.bits))
        kdf.encode(to: &writer)
        Scheme.null.encode(to: &writer)
        // A stock TPM writes this one number, 0, in a single byte.
        let a = constants.a.allSatisfy { $0 == 0 } ? [0] : constants.a
        for constant in [constants.p, a, constants.b, constants.gX, constants.gY, constants.n, constants.h] {
            writer.sized16(constant)
        }
    }
}
