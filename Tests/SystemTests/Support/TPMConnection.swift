// The tests' own TPM client: commands over a socket, and sessions with real HMACs and parameter encryption.
import Foundation
import TPMCrypto
import TPMWire
import Testing
import Wire

/// A data connection to a TPM.
final class TPMConnection {
    private let fd: Int32

    init(_ path: String) throws {
        fd = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        var result = Int32(-1)
        // The socket's file is there a moment before anyone listens.
        for _ in 0..<200 where result != 0 {
            result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
            if result != 0 { usleep(10_000) }
        }
        guard result == 0 else { throw HarnessError("connect \(path): \(String(cString: strerror(errno)))") }
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    deinit { close(fd) }

    /// Sends bytes and reads so many.
    func exchange(_ bytes: [UInt8], answer count: Int) throws -> [UInt8] {
        try send(bytes)
        return try read(count)
    }

    /// One command, one response, as bytes.
    func transact(_ command: [UInt8]) throws -> [UInt8] {
        try send(command)
        return try response()
    }

    func send(_ command: [UInt8]) throws {
        guard Glibc.send(fd, command, command.count, Int32(MSG_NOSIGNAL)) == command.count else { throw HarnessError("the TPM is gone") }
    }

    func response() throws -> [UInt8] {
        var response = try read(10)
        let size = Int(response[2]) << 24 | Int(response[3]) << 16 | Int(response[4]) << 8 | Int(response[5])
        guard size >= 10 && size <= 4096 else { throw HarnessError("a response of \(size) bytes") }
        response += try read(size - 10)
        return response
    }

    private func read(_ count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let n = bytes.withUnsafeMutableBytes { recv(fd, $0.baseAddress! + done, count - done, 0) }
            guard n > 0 else { throw HarnessError("no response within 60 s, or the TPM is gone") }
            done += n
        }
        return bytes
    }

    func run(_ message: CommandMessage) throws -> ResponseMessage {
        let hasHandle = CommandTable.row(message.code)?.flags.contains(.responseHandle) ?? false
        do {
            return try ResponseMessage(try transact(message.bytes), hasHandle: hasHandle)
        } catch let error as WireError {
            throw HarnessError("a malformed response to \(message.code): \(error)")
        }
    }

    /// A command with password authorizations: one for each handle that needs one.
    func run(
        _ code: TPMCommandCode, _ handles: [TPMHandle] = [], passwords: [[UInt8]] = [], _ parameters: (inout WireWriter) -> Void = { _ in }
    ) throws -> ResponseMessage {
        var writer = WireWriter()
        parameters(&writer)
        let sessions = passwords.map { AuthCommand(handle: .password, attributes: [.continueSession], hmac: $0) }
        return try run(CommandMessage(code, handles: handles, sessions: sessions, parameters: writer.bytes))
    }
}

/// An entity that a session authorizes or that a command names.
struct Entity {
    let handle: TPMHandle
    let name: [UInt8]
    let auth: [UInt8]

    init(_ handle: TPMHandle, name: [UInt8]? = nil, auth: [UInt8] = []) {
        self.handle = handle
        self.name = name ?? handle.wire
        self.auth = auth
    }
}

/// A client's side of an HMAC or policy session (Part 1, 19.6), written from the specification and sharing no code with the TPM's side.
final class ClientSession {
    let connection: TPMConnection
    let handle: TPMHandle
    let hash: HashAlgorithm
    let symmetric: SymmetricDefinition
    let sessionKey: [UInt8]
    private(set) var nonceTPM: [UInt8]
    let boundName: [UInt8]?

    /// What one command uses the session for.
    struct Use {
        let session: ClientSession
        let attributes: SessionAttributes
        /// A policy session with PolicyAuthValue
        var includesAuth = false
        init(_ session: ClientSession, _ attributes: SessionAttributes = [.continueSession], includesAuth: Bool = false) {
            self.session = session
            self.attributes = attributes
            self.includesAuth = includesAuth
        }
    }

    /// TPM2_StartAuthSession.
    init(
        _ connection: TPMConnection, type: UInt8 = 0, hash: HashAlgorithm = .sha256, symmetric: SymmetricDefinition = .null,
        saltKey: (handle: TPMHandle, area: PublicArea)? = nil, bind: Entity? = nil
    ) throws {
        let nonceCaller = randomBytes(hash.digestSize)
        var salt: [UInt8] = []
        var encryptedSalt: [UInt8] = []
        if let saltKey { (salt, encryptedSalt) = try Self.makeSalt(saltKey.area) }
        let response = try connection.run(.startAuthSession, [saltKey?.handle ?? .null, bind?.handle ?? .null]) {
            $0.sized16(nonceCaller)
            $0.sized16(encryptedSalt)
            $0.u8(type)
            symmetric.encode(to: &$0)
            $0.value(hash)
        }
        guard response.code == .success, let handle = response.handle else {
            throw HarnessError("StartAuthSession: \(String(response.code.rawValue, radix: 16))")
        }
        var reader = WireReader(response.parameters)
        nonceTPM = try reader.sized16()
        self.connection = connection
        self.handle = handle
        self.hash = hash
        self.symmetric = symmetric
        boundName = bind?.name
        let secret = (bind?.auth ?? []) + salt
        sessionKey = saltKey == nil && bind == nil
            ? [] : kdfa(hash, key: secret, label: "ATH", contextU: nonceTPM, contextV: nonceCaller, bits: hash.digestSize * 8)
    }

    private static func makeSalt(_ area: PublicArea) throws -> (salt: [UInt8], encrypted: [UInt8]) {
        guard let nameHash = area.nameAlgorithm else { throw HarnessError("a salt key without a Name") }
        switch (area.parameters, area.unique) {
        case (.ecc(_, _, let curve, _), .ecc(let point)):
            let ephemeral = ECCKeyPair.generate(curve)
            guard let shared = ephemeral.agree(point) else { throw HarnessError("a salt key off its curve") }
            let salt = kdfe(nameHash, z: shared.x, label: "SECRET", partyU: ephemeral.publicPoint.x, partyV: point.x,
                            bits: nameHash.digestSize * 8)
            return (salt, ephemeral.publicPoint.wire)
        case (.rsa(_, _, _, let exponent), .rsa(let modulus)):
            let salt = randomBytes(nameHash.digestSize)
            let key = RSAPublicKey(modulus: modulus, exponent: exponent)
            return (salt, try key.encrypt(salt, scheme: Scheme(.oaep, nameHash), label: Array("SECRET".utf8) + [0]))
        default: throw HarnessError("not a salt key")
        }
    }

    private func crypt(_ data: [UInt8], auth: [UInt8], newer: [UInt8], older: [UInt8], encrypt: Bool) -> [UInt8] {
        switch symmetric {
        case .null: data
        case .xor(let xorHash): parameterXOR(xorHash, key: sessionKey + auth, nonceNewer: newer, nonceOlder: older, data)
        case .aes(let bits, _):
            parameterCFB(
                keyBits: Int(bits), HMACContext(hash, key: sessionKey + auth), nonceNewer: newer, nonceOlder: older, data, encrypt: encrypt)
        }
    }

    /// One command under sessions: encrypts, authorizes, checks every response HMAC, decrypts.
    static func run(
        _ connection: TPMConnection, _ code: TPMCommandCode, _ entities: [Entity], _ uses: [Use],
        authorized: Int, newAuth: [UInt8]? = nil, _ parameters: (inout WireWriter) -> Void = { _ in }
    ) throws -> ResponseMessage {
        var writer = WireWriter()
        parameters(&writer)
        var raw = writer.bytes
        let nonces = uses.map { randomBytes($0.session.hash.digestSize) }
        func auth(_ i: Int) -> [UInt8] { i < authorized ? entities[i].auth : [] }
        if let i = uses.firstIndex(where: { $0.attributes.contains(.decrypt) }) {
            var reader = WireReader(raw)
            let plain = try reader.sized16()
            let session = uses[i].session
            var changed = WireWriter()
            changed.sized16(session.crypt(plain, auth: auth(i), newer: nonces[i], older: session.nonceTPM, encrypt: true))
            changed.raw(reader.rest())
            raw = changed.bytes
        }
        func key(_ i: Int, response: Bool) -> [UInt8] {
            let use = uses[i]
            guard i < authorized else { return use.session.sessionKey }
            let value = response ? (newAuth ?? entities[i].auth) : entities[i].auth
            if use.session.handle.kind == .policySession { return use.session.sessionKey + (use.includesAuth ? value : []) }
            return use.session.sessionKey + (use.session.boundName == entities[i].name && newAuth == nil ? [] : value)
        }
        let decrypting = uses.firstIndex { $0.attributes.contains(.decrypt) } ?? 0
        let encrypting = uses.firstIndex { $0.attributes.contains(.encrypt) } ?? 0
        var auths: [AuthCommand] = []
        for (i, use) in uses.enumerated() {
            let cpHash = digest(use.session.hash, code.wire, entities.flatMap(\.name), raw)
            var extra: [UInt8] = []
            if i == 0 && authorized > 0 {
                if decrypting != 0 { extra += uses[decrypting].session.nonceTPM }
                if encrypting != 0 && encrypting != decrypting { extra += uses[encrypting].session.nonceTPM }
            }
            let k = key(i, response: false)
            let mac = k.isEmpty && use.session.handle.kind == .policySession
                ? [] : hmac(use.session.hash, key: k, cpHash, nonces[i], use.session.nonceTPM, extra, [use.attributes.rawValue])
            auths.append(AuthCommand(handle: use.session.handle, nonce: nonces[i], attributes: use.attributes, hmac: mac))
        }
        var response = try connection.run(CommandMessage(code, handles: entities.map(\.handle), sessions: auths, parameters: raw))
        guard response.code == .success else { return response }
        guard response.sessions.count == uses.count else { throw HarnessError("\(response.sessions.count) sessions in the response") }
        for (i, use) in uses.enumerated() {
            let answer = response.sessions[i]
            let rpHash = digest(use.session.hash, UInt32(0).wire, code.wire, response.parameters)
            let k = key(i, response: true)
            let mac = k.isEmpty && use.session.handle.kind == .policySession
                ? [] : hmac(use.session.hash, key: k, rpHash, answer.nonce, nonces[i], [answer.attributes.rawValue])
            guard mac == answer.hmac else { throw HarnessError("\(code): the response HMAC of session \(i + 1) is wrong") }
            use.session.nonceTPM = answer.nonce
        }
        if let i = uses.firstIndex(where: { $0.attributes.contains(.encrypt) }) {
            var reader = WireReader(response.parameters)
            let cipherText = try reader.sized16()
            let session = uses[i].session
            let value = i < authorized ? (newAuth ?? entities[i].auth) : []
            var plain = WireWriter()
            plain.sized16(session.crypt(cipherText, auth: value, newer: session.nonceTPM, older: nonces[i], encrypt: false))
            plain.raw(reader.rest())
            response.parameters = plain.bytes
        }
        return response
    }
}

/// Templates that many clients use.
enum Template {
    static let storage: ObjectAttributes = [
        .fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .restricted, .decrypt,
    ]
    static let eccStorage = PublicArea(
        nameAlgorithm: .sha256, attributes: storage,
        parameters: .ecc(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, curve: .p256, kdf: .null),
        unique: .ecc(ECCPoint(x: [], y: [])))
    static let rsaStorage = PublicArea(
        nameAlgorithm: .sha256, attributes: storage,
        parameters: .rsa(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, keyBits: 2048, exponent: 0), unique: .rsa([]))
    static func eccSigning(_ scheme: Scheme = .null, restricted: Bool = false) -> PublicArea {
        let signing: ObjectAttributes = [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .sign]
        return PublicArea(
            nameAlgorithm: .sha256, attributes: restricted ? signing.union(.restricted) : signing,
            parameters: .ecc(symmetric: .null, scheme: scheme, curve: .p256, kdf: .null), unique: .ecc(ECCPoint(x: [], y: [])))
    }
    static func sealed(policy: [UInt8] = [], attributes: ObjectAttributes = [.fixedTPM, .fixedParent, .userWithAuth, .noDA]) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: attributes, authPolicy: policy, parameters: .keyedHash(scheme: .null), unique: .digest([]))
    }
    static let hmacKey = PublicArea(
        nameAlgorithm: .sha256, attributes: [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .sign],
        parameters: .keyedHash(scheme: Scheme(.hmac, .sha256)), unique: .digest([]))
}

/// TPM2_CreatePrimary's and TPM2_Create's parameters.
func creation(_ template: PublicArea, auth: [UInt8] = [], data: [UInt8] = [], outsideInfo: [UInt8] = [], pcrs: [PCRSelection] = [])
    -> (inout WireWriter) -> Void
{
    { writer in
        writer.sized16(SensitiveCreate(userAuth: auth, data: data))
        writer.sized16(template)
        writer.sized16(outsideInfo)
        writer.list(pcrs)
    }
}

/// What TPM2_Create answers, as far as tests use it.
struct Created {
    let privateBlob: [UInt8]
    let publicArea: PublicArea
    init(_ response: ResponseMessage) throws {
        var reader = WireReader(response.parameters)
        privateBlob = try reader.sized16()
        publicArea = try reader.value(Sized<PublicArea>.self).value
    }
}

extension TPMConnection {
    /// TPM2_CreatePrimary with an empty authorization.
    func primary(_ template: PublicArea, under hierarchy: TPMHandle = .owner) throws -> (handle: TPMHandle, area: PublicArea) {
        let response = try run(.createPrimary, [hierarchy], passwords: [[]], creation(template))
        guard response.code == .success, let handle = response.handle else {
            throw HarnessError("CreatePrimary: \(String(response.code.rawValue, radix: 16))")
        }
        var reader = WireReader(response.parameters)
        return (handle, try reader.value(Sized<PublicArea>.self).value)
    }

    func load(_ created: Created, under parent: TPMHandle) throws -> ResponseMessage {
        try run(.load, [parent], passwords: [[]]) {
            $0.sized16(created.privateBlob)
            $0.sized16(created.publicArea)
        }
    }

    func flush(_ handle: TPMHandle) throws { _ = try run(.flushContext, []) { $0.value(handle) } }

    func readPCR(_ pcr: Int, _ hash: HashAlgorithm = .sha256) throws -> [UInt8] {
        let response = try run(.pcrRead) { $0.list([PCRSelection(hash, pcrs: [pcr])]) }
        return Array(response.parameters.suffix(hash.digestSize))
    }

    func extendPCR(_ pcr: Int, _ digests: [TaggedDigest]) throws -> TPMRC {
        try run(.pcrExtend, [TPMHandle(UInt32(pcr))], passwords: [[]]) { $0.list(digests) }.code
    }
}
