// The policy checker's own session with the chip, which paratpm-device carries and cannot read.
import ChipClient
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// One command that a gate's authValue authorizes.
struct GateCommand {
    let code: TPMCommandCode
    let target: CarryTarget
    /// The Name of what it is about: we compute it, or know it from our own record.
    let name: [UInt8]
    var parameters: [UInt8] = []
    /// `decrypt` and `encrypt` as the command takes them.
    var attributes: SessionAttributes = []
    /// The authValue of what it is about.
    var auth: Secret = .empty
}

package final class GateChip {
    /// Seconds that paratpm-device, which may wait for RSA key generation on a slow chip, may take.
    private static let patience = 300

    private let path: String
    private let kind: CarriedSessionKind
    /// The Name of the host root that the session is salted to; no other key will do.
    let rootName: [UInt8]
    private var channel: Channel?
    private var session: ChipSession?

    package convenience init(_ instance: Instance, rootName: [UInt8]) {
        self.init(instance.socket(.device), rootName: rootName, kind: .hmac)
    }
    private init(_ path: String, rootName: [UInt8], kind: CarriedSessionKind) {
        self.path = path
        self.rootName = rootName
        self.kind = kind
    }

    /// The same way to the chip, with sessions of another kind: a new one for each command.
    func inSessions(_ kind: CarriedSessionKind) -> GateChip { GateChip(path, rootName: rootName, kind: kind) }

    /// Runs a command to its end, in a new session where the old one is lost.
    /// - Returns: the response, the first of its parameters decrypted.
    /// - Throws: the chip's response code; `unavailable` where paratpm-device or the chip is not there.
    func run(_ command: GateCommand) throws(CallStatus) -> CarryCalls.Run.Reply {
        // A connection that broke, and behind it a session that the chip lost, are mended once each.
        for _ in 0..<2 {
            do throws(CallStatus) { return try attempt(command) } catch {
                guard error == .unavailable || error == .sessionLost else { throw error }
                session = nil
            }
        }
        return try attempt(command)
    }

    private func attempt(_ command: GateCommand) throws(CallStatus) -> CarryCalls.Run.Reply {
        if channel == nil { try connect() }
        if session == nil { session = try startSession() }
        var parameters = command.parameters
        defer { wipe(&parameters) }
        guard var current = session else { throw .failed }
        // The handle is paratpm-device's to know; only the Name goes into cpHash.
        var entities = [Entity(.null, name: command.name)]
        if kind == .duplication { entities.append(Entity(permanent: .null)) }
        let attributes = kind == .hmac ? command.attributes.union(.continueSession) : command.attributes
        let authorization = current.authorize(command.code, entities, &parameters, attributes, auth: command.auth)
        var reply = try call(CarryCalls.Run.self, .init(
            code: command.code, target: command.target, authorization: authorization, parameters: parameters))
        guard current.accept(reply.authorization, of: command.code, &reply.parameters) else {
            session = nil
            throw .failed
        }
        session = kind == .hmac ? current : nil
        return reply
    }

    private func connect() throws(CallStatus) {
        do throws(IPCError) { channel = try Channel.connect(path, timeout: Self.patience) } catch { throw .unavailable }
        session = nil
    }

    private func startSession() throws(CallStatus) -> ChipSession {
        let root = try hostRoot()
        // A session salted to another key would tell our secrets to whoever made that key.
        guard root.name == rootName, case .ecc(let point) = root.unique, var salt = makeSalt(for: point) else {
            log(.error, .policy, "the chip's host root is not the one that the gate secret is sealed under: is this another chip?")
            throw .failed
        }
        defer { wipe(&salt.secret) }
        let nonce = randomBytes(ChipSession.nonceSize)
        let started = try call(CarryCalls.StartSession.self, .init(nonceCaller: nonce, encryptedSalt: salt.encrypted, kind: kind))
        return ChipSession(handle: started.handle, salt: salt.secret, nonceCaller: nonce, nonceTPM: started.nonceTPM)
    }

    /// The host root's public area, as paratpm-device says.
    func hostRoot() throws(CallStatus) -> PublicArea {
        if channel == nil { try connect() }
        return try call(CarryCalls.HostRoot.self, Nothing()).area
    }

    /// The public area of a guest's root, as paratpm-device says: what its template says of it, only a key that the chip made
    /// can have.
    func guestRoot(_ guest: GuestID) throws(CallStatus) -> PublicArea {
        if channel == nil { try connect() }
        let area = try call(CarryCalls.GuestRoot.self, Blob(guest.bytes)).value
        guard RootTemplate.guest(guest).isTemplate(of: area) else { throw .failed }
        return area
    }

    /// The host's PCRs as they are now, behind each other, as paratpm-device says.
    func hostPCRs(_ selection: [PCRSelection]) throws(CallStatus) -> [UInt8] {
        if channel == nil { try connect() }
        var values: [UInt8] = []
        for bank in selection { values += try call(HostCalls.ReadPCRs.self, bank).bytes }
        return values
    }

    private func call<C: Call>(_ call: C.Type, _ request: C.Request) throws(CallStatus) -> C.Reply {
        guard let channel else { throw .unavailable }
        do throws(IPCError) { return try channel.call(call, request) } catch {
            if case .status(let status) = error { throw status }
            // A late reply must not answer a later question.
            self.channel = nil
            throw .unavailable
        }
    }
}
