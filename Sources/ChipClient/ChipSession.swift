// An HMAC session with the chip, which encrypts first parameters (Part 1, 17 to 21): neither a bus nor a carrier between us and
// the chip can read or change what goes through it. A value without I/O: the device owner and the policy checker each hold one.
import TPMCrypto
import TPMWire
import Wire

/// What a command names: a handle, and the Name that goes into cpHash. We compute the Names, never the chip.
package struct Entity: Sendable {
    package let handle: TPMHandle
    package let name: [UInt8]

    package init(_ handle: TPMHandle, name: [UInt8]) {
        self.handle = handle
        self.name = name
    }
    /// A hierarchy or another permanent handle, whose Name is the handle.
    package init(permanent handle: TPMHandle) { self.init(handle, name: handle.wire) }
}

package struct ChipSession {
    package static let hash = HashAlgorithm.sha256
    package static let keyBits = 128
    package static let nonceSize = 16

    /// TPM_SE
    package enum Kind: UInt8 {
        case hmac = 0, policy = 1
        package var handleKind: TPMHandle.Kind { self == .hmac ? .hmacSession : .policySession }
    }

    package let handle: TPMHandle
    private let sessionKey: Secret
    /// HMACs' key where the authorized entity has no authValue.
    private let plainKey: HMACKey
    private var nonceTPM: [UInt8]
    /// Of the nonces to come: asking the kernel for each would cost a system call a command.
    private var randomness: ArraySlice<UInt8> = []
    /// nonceCaller, the attributes and the key (sessionKey || authValue) of the command under way
    private var sent: (nonce: [UInt8], attributes: SessionAttributes, key: HMACKey)

    /// - Parameter salt: what was sent encrypted, or nothing.
    package init(handle: TPMHandle, salt: [UInt8], nonceCaller: [UInt8], nonceTPM: [UInt8]) {
        self.handle = handle
        self.nonceTPM = nonceTPM
        // Part 1, 19.6.8: without bind and salt there is no session key.
        var key = salt.isEmpty ? [] : kdfa(
            Self.hash, key: salt, label: "ATH", contextU: nonceTPM, contextV: nonceCaller, bits: Self.hash.digestSize * 8)
        sessionKey = Secret(key)
        plainKey = HMACKey(Self.hash, key)
        sent = ([], [], plainKey)
        wipe(&key)
    }

    /// The parameters of TPM2_StartAuthSession (Part 3, 11.1): SHA-256, AES-128-CFB.
    package static func startParameters(_ kind: Kind, nonceCaller: [UInt8], encryptedSalt: [UInt8]) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16(nonceCaller)
        writer.sized16(encryptedSalt)
        writer.u8(kind.rawValue)
        SymmetricDefinition.aes(keyBits: UInt16(keyBits), mode: .cfb).encode(to: &writer)
        writer.value(hash)
        return writer.bytes
    }

    /// A command's authorization, with a fresh nonce; its first parameter is encrypted if the attributes say so.
    /// - Parameter auth: the authValue of the one entity that is authorized.
    package mutating func authorize(
        _ code: TPMCommandCode, _ entities: [Entity], _ parameters: inout [UInt8], _ attributes: SessionAttributes, auth: Secret
    ) -> AuthCommand {
        let nonce = freshNonce()
        sent = (nonce, attributes, auth.isEmpty ? plainKey : key(with: auth))
        if attributes.contains(.decrypt) { crypt(&parameters, newer: nonce, older: nonceTPM, encrypt: true) }
        let mac = authenticate(
            Self.parameterHash(code, entities, parameters), newer: nonce, older: nonceTPM, attributes)
        return AuthCommand(handle: handle, nonce: nonce, attributes: attributes, hmac: mac)
    }

    private func key(with auth: Secret) -> HMACKey {
        var (own, authValue) = (sessionKey.bytes, auth.bytes)
        var both = own + authValue
        defer {
            wipe(&own)
            wipe(&authValue)
            wipe(&both)
        }
        return HMACKey(Self.hash, both)
    }

    private mutating func freshNonce() -> [UInt8] {
        if randomness.isEmpty { randomness = randomBytes(16 * Self.nonceSize)[...] }
        defer { randomness = randomness.dropFirst(Self.nonceSize) }
        return Array(randomness.prefix(Self.nonceSize))
    }

    /// Checks a successful response and decrypts its first parameter. False: it is not the chip's answer to that command.
    package mutating func accept(_ answer: AuthResponse, of code: TPMCommandCode, _ parameters: inout [UInt8]) -> Bool {
        guard answer.nonce.count >= Self.nonceSize else { return false }
        let expected = authenticate(Self.responseHash(code, parameters), newer: answer.nonce, older: sent.nonce, answer.attributes)
        guard constantTimeEqual(expected, answer.hmac) else { return false }
        nonceTPM = answer.nonce
        guard sent.attributes.contains(.encrypt) else { return true }
        guard answer.attributes.contains(.encrypt) else { return false }
        crypt(&parameters, newer: answer.nonce, older: sent.nonce, encrypt: false)
        return true
    }

    /// cpHash (Part 1, 16.7)
    private static func parameterHash(_ code: TPMCommandCode, _ entities: [Entity], _ parameters: [UInt8]) -> [UInt8] {
        digest(hash, WireWriter.bytes {
            $0.u32(code.rawValue)
            for entity in entities { $0.raw(entity.name) }
            $0.raw(parameters)
        })
    }

    /// rpHash (Part 1, 16.8) of a successful response
    private static func responseHash(_ code: TPMCommandCode, _ parameters: [UInt8]) -> [UInt8] {
        digest(hash, WireWriter.bytes {
            $0.u32(TPMRC.success.rawValue)
            $0.u32(code.rawValue)
            $0.raw(parameters)
        })
    }

    /// Part 1, 19.6.5
    private func authenticate(
        _ parameterHash: [UInt8], newer: [UInt8], older: [UInt8], _ attributes: SessionAttributes
    ) -> [UInt8] {
        sent.key.mac(WireWriter.bytes {
            $0.raw(parameterHash)
            $0.raw(newer)
            $0.raw(older)
            $0.u8(attributes.rawValue)
        })
    }

    /// The data of the TPM2B that the parameters begin with; its size stays in the clear (Part 1, 21.1).
    private func crypt(_ parameters: inout [UInt8], newer: [UInt8], older: [UInt8], encrypt: Bool) {
        var reader = WireReader(parameters)
        guard let data = try? reader.sized16() else { return }
        let result = parameterCFB(
            keyBits: Self.keyBits, sent.key.context, nonceNewer: newer, nonceOlder: older, data, encrypt: encrypt)
        parameters.replaceSubrange(2..<2 + data.count, with: result)
    }
}

/// A salt for a session: ECDH with a fresh key, then KDFe (Part 1, C.6.1).
/// - Parameter point: the public point of a P-256 storage key of the chip.
/// - Returns: nil if it is not on its curve.
package func makeSalt(for point: ECCPoint) -> (secret: [UInt8], encrypted: [UInt8])? {
    let ephemeral = ECCKeyPair.generate(.p256)
    guard var shared = ephemeral.agree(point)?.x else { return nil }
    defer { wipe(&shared) }
    let size = ECCCurve.p256.fieldSize
    let own = [UInt8](repeating: 0, count: max(0, size - point.x.count)) + point.x
    let secret = kdfe(.sha256, z: shared, label: "SECRET", partyU: ephemeral.publicPoint.x, partyV: own, bits: size * 8)
    return (secret, ephemeral.publicPoint.wire)
}
