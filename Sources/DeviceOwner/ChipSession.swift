// An HMAC session between us and the chip, which encrypts first parameters (Part 1, 17 to 21): a bus can be tapped.
import TPMCrypto
import TPMWire
import Wire

/// What a command names: a handle, and the Name that goes into cpHash. We compute the Names, never the chip.
struct Entity {
    let handle: TPMHandle
    let name: [UInt8]

    init(_ handle: TPMHandle, name: [UInt8]) {
        self.handle = handle
        self.name = name
    }
    /// A hierarchy or another permanent handle, whose Name is the handle.
    init(permanent handle: TPMHandle) { self.init(handle, name: handle.wire) }
}

/// A command before it is authorised.
struct ChipCommand {
    let code: TPMCommandCode
    var entities: [Entity] = []
    var authorization: Authorization = .none
    var parameters: [UInt8] = []

    enum Authorization {
        case none
        /// TPM_RS_PW with the empty auth that all our objects have.
        case password
        /// The chip's salted session, with `decrypt` and `encrypt` as they are given.
        case salted(SessionAttributes)
        /// A session that `auth` alone keys, for one command.
        case proof(Secret)
        /// A salted policy session that allows this command code, for one command.
        case commandPolicy(SessionAttributes)
    }

    /// cpHash (Part 1, 16.7)
    fileprivate func parameterHash(_ parameters: [UInt8]) -> [UInt8] {
        var context = HashContext(.sha256)
        context.update(code.rawValue.wire)
        for entity in entities { context.update(entity.name) }
        context.update(parameters)
        return context.finished()
    }
}

struct ChipSession {
    static let hash = HashAlgorithm.sha256
    static let keyBits = 128
    static let nonceSize = 16

    /// TPM_SE
    enum Kind: UInt8 {
        case hmac = 0, policy = 1
        var handleKind: TPMHandle.Kind { self == .hmac ? .hmacSession : .policySession }
    }

    let handle: TPMHandle
    /// sessionKey || authValue; the authValue of everything used with a salted session is empty.
    private let key: Secret
    private var nonceTPM: [UInt8]
    /// nonceCaller and the attributes of the command under way
    private var sent: (nonce: [UInt8], attributes: SessionAttributes) = ([], [])

    /// - Parameters:
    ///   - salt: what was sent encrypted, or nothing.
    ///   - auth: the authValue of what the session authorises.
    init(handle: TPMHandle, salt: [UInt8], auth: Secret, nonceCaller: [UInt8], nonceTPM: [UInt8]) {
        self.handle = handle
        self.nonceTPM = nonceTPM
        // Part 1, 19.6.8: without bind and salt there is no session key.
        var sessionKey = salt.isEmpty ? [] : kdfa(
            Self.hash, key: salt, label: "ATH", contextU: nonceTPM, contextV: nonceCaller, bits: Self.hash.digestSize * 8)
        var authValue = auth.bytes
        var both = sessionKey + authValue
        key = Secret(both)
        wipe(&sessionKey)
        wipe(&authValue)
        wipe(&both)
    }

    /// The message of a command, with a fresh nonce, the first parameter encrypted if the attributes say so.
    mutating func authorize(_ command: ChipCommand, _ attributes: SessionAttributes) -> CommandMessage {
        let nonce = randomBytes(Self.nonceSize)
        sent = (nonce, attributes)
        var parameters = command.parameters
        if attributes.contains(.decrypt) { crypt(&parameters, newer: nonce, older: nonceTPM, encrypt: true) }
        let hmac = authenticate(command.parameterHash(parameters), newer: nonce, older: nonceTPM, attributes)
        let auth = AuthCommand(handle: handle, nonce: nonce, attributes: attributes, hmac: hmac)
        return CommandMessage(command.code, handles: command.entities.map(\.handle), sessions: [auth], parameters: parameters)
    }

    /// Checks a successful response and decrypts its first parameter.
    mutating func accept(_ response: inout ResponseMessage, of code: TPMCommandCode) throws(ChipError) {
        guard let answer = response.sessions.first, answer.nonce.count >= Self.nonceSize else { throw .garbage }
        // rpHash (Part 1, 16.8)
        let hash = digest(Self.hash, TPMRC.success.rawValue.wire, code.rawValue.wire, response.parameters)
        let expected = authenticate(hash, newer: answer.nonce, older: sent.nonce, answer.attributes)
        guard constantTimeEqual(expected, answer.hmac) else { throw .garbage }
        nonceTPM = answer.nonce
        if sent.attributes.contains(.encrypt) {
            guard answer.attributes.contains(.encrypt) else { throw .garbage }
            crypt(&response.parameters, newer: answer.nonce, older: sent.nonce, encrypt: false)
        }
    }

    /// Part 1, 19.6.5
    private func authenticate(
        _ parameterHash: [UInt8], newer: [UInt8], older: [UInt8], _ attributes: SessionAttributes
    ) -> [UInt8] {
        hmac(Self.hash, key: key.bytes, parameterHash, newer, older, attributes.wire)
    }

    /// The data of the TPM2B that the parameters begin with; its size stays in the clear (Part 1, 21.1).
    private func crypt(_ parameters: inout [UInt8], newer: [UInt8], older: [UInt8], encrypt: Bool) {
        var reader = WireReader(parameters)
        guard let data = try? reader.sized16() else { return }
        let result = parameterCFB(
            keyBits: Self.keyBits, hash: Self.hash, key: key.bytes, nonceNewer: newer, nonceOlder: older, data, encrypt: encrypt)
        parameters.replaceSubrange(2..<2 + data.count, with: result)
    }
}
