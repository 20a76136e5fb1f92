// The chip as one careful caller sees it: connected when needed, retried within bounds, every response checked.
import ChipClient
import Glibc
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// How long things may take, in milliseconds.
package struct ChipLimits: Sendable {
    /// RSA key generation takes minutes on slow chips.
    package var keyGeneration = 300_000
    package var otherCommand = 20_000
    package var connecting = 5_000
    /// For all repetitions together of a command that the chip answers with TPM_RC_RETRY and its kind.
    package var retrying = 5_000
    /// Between attempts to reach a chip that went away: from the first to the second, doubled each time.
    package var backoff = 100...5_000
    package init() {}

    func limit(of code: TPMCommandCode) -> Int {
        code == .create || code == .createPrimary ? keyGeneration : otherCommand
    }
}

package struct ChipStatistics: Sendable {
    package var commands = 0
    package var nanoseconds = 0
    package var connections = 0
}

final class Chip {
    let address: ChipAddress
    private let limits: ChipLimits
    private var transport: (any Transport)?
    private var session: ChipSession?
    private var failures = 0
    private var notBefore = 0
    /// While the connection is new, answers do not yet count as recovery.
    private var isGreeting = false
    /// Rises with every connection: what was loaded in an earlier one counts as lost.
    private(set) var generation = 0
    private(set) var statistics = ChipStatistics()

    /// The key that salts the session, once it is known; the chip is checked against it at every connection.
    var hostRoot: HostRoot?
    /// Frees an object slot, but not one of these handles; false if there is nothing to free. Set by the object cache.
    var makeRoom: (_ keeping: [TPMHandle]) throws(ChipError) -> Bool = { _ in false }

    init(_ address: ChipAddress, limits: ChipLimits) {
        self.address = address
        self.limits = limits
    }

    // MARK: The connection

    /// Reaches the chip, starts it where it was not, and makes sure that it is ours.
    func connect() throws(ChipError) {
        guard transport == nil else { return }
        guard milliseconds() >= notBefore else { throw .gone("waiting before the next attempt") }
        isGreeting = true
        defer { isGreeting = false }
        do throws(ChipError) { transport = try address.connect(limit: limits.connecting) } catch {
            noteFailure(error)
            throw error
        }
        generation += 1
        statistics.connections += 1
        do throws(ChipError) {
            try startUp()
            try hostRoot?.verify(in: self)
        } catch {
            lose(error)
            throw error
        }
    }

    private func startUp() throws(ChipError) {
        let probe = try exchange(GetCapability.command(.properties, from: GetCapability.manufacturer, count: 1))
        guard probe.code == .initialize else { return }
        let answer = try exchange(CommandMessage(.startup, parameters: UInt16(0).wire))
        guard answer.code == .success || answer.code == .initialize else { throw .rc(answer.code) }
    }

    /// Gives the connection up, unless that was done already.
    private func lose(_ error: ChipError) {
        guard transport != nil else { return }
        transport = nil
        session = nil
        noteFailure(error)
    }

    /// The first break is mended at once; after that attempts wait longer and longer.
    private func noteFailure(_ error: ChipError) {
        failures = min(failures + 1, 16)
        var delay = min(limits.backoff.upperBound, limits.backoff.lowerBound << (failures - 1))
        if case .gone = error, failures == 1 { delay = 0 }
        // A chip that does not answer shall not take all of our time.
        if error == .timeout { delay = max(delay, limits.otherCommand) }
        notBefore = milliseconds() + delay
        // At the start the caller reports; later the first attempts do, and then silence until the chip is back.
        if hostRoot != nil, failures <= 2 { log(.warning, .device, "the chip at \(address): \(error.explanation)") }
    }

    private func noteSuccess() {
        guard failures > 0, !isGreeting else { return }
        failures = 0
        log(.notice, .device, "the chip at \(address) answers again")
    }

    /// One message there and back. An error of the way, or an answer that is none, ends the connection.
    private func exchange(_ message: CommandMessage) throws(ChipError) -> ResponseMessage {
        guard let transport else { throw .gone("not connected") }
        let began = nanoseconds()
        defer {
            statistics.commands += 1
            statistics.nanoseconds += nanoseconds() - began
        }
        let bytes = try transport.exchange(message.bytes, limit: limits.limit(of: message.code))
        let hasHandle = CommandTable.row(message.code)?.flags.contains(.responseHandle) ?? false
        guard let response = try? ResponseMessage(bytes, hasHandle: hasHandle),
            response.code != .success || response.sessions.count == message.sessions.count
        else { throw .garbage }
        return response
    }

    // MARK: Commands

    /// Runs a command to its end: repeats what the chip wants repeated, makes room where it has none.
    /// - Throws: `rc` for what the chip finally answers; after any other error the connection is gone.
    func run(_ command: ChipCommand) throws(ChipError) -> ResponseMessage {
        try connect()
        var patience = Patience(limits.retrying)
        var (sessionTries, roomTries) = (2, 2 * ObjectCache.capacity)
        while true {
            let response = try attempt(command)
            let code = response.code
            switch code {
            case .success:
                noteSuccess()
                return response
            case .retry, .yielded, .testing:
                guard patience.wait() else { throw .rc(.retry) }
            case .objectMemory, .memory:
                roomTries -= 1
                guard roomTries > 0, try makeRoom(command.entities.map(\.handle)) else { throw .rc(code) }
            case .initialize:
                // The chip was reset under us.
                let error = ChipError.gone("the chip was reset")
                lose(error)
                throw error
            case _ where command.needsSession && code.isAboutSessions && sessionTries > 0:
                sessionTries -= 1
                try renewSession(after: code)
            default: throw .rc(code)
            }
        }
    }

    /// Once, with fresh nonces.
    private func attempt(_ command: ChipCommand) throws(ChipError) -> ResponseMessage {
        do throws(ChipError) {
            switch command.authorization {
            case .none: return try exchange(command.message([]))
            case .password: return try exchange(command.message([AuthCommand(handle: .password)]))
            case .salted(let attributes):
                if session == nil { session = try startSession(salted: true) }
                return try attempt(command, in: &session, attributes.union(.continueSession), auth: .empty)
            case .policy(let session): return try exchange(command.message([policyAuthorization(session)]))
            case .passwordThenPolicy(let session):
                return try exchange(command.message([AuthCommand(handle: .password), policyAuthorization(session)]))
            case .carried(let auth): return try exchange(command.message([auth]))
            case .proof(let auth): return try attempt(command, once: try startSession(salted: false), [], auth: auth)
            case .commandPolicy(let attributes):
                let session = try startSession(salted: true, kind: .policy)
                do throws(ChipError) { try policyCommandCode(command.code, in: session.handle) } catch {
                    try flushQuietly(session.handle)
                    throw error
                }
                return try attempt(command, once: session, attributes, auth: .empty)
            }
        } catch {
            if case .rc = error { throw error }
            lose(error)
            throw error
        }
    }

    private func policyAuthorization(_ session: TPMHandle) -> AuthCommand {
        AuthCommand(handle: session, nonce: randomBytes(ChipSession.nonceSize))
    }

    /// In a session that ends with the command.
    private func attempt(
        _ command: ChipCommand, once session: ChipSession, _ attributes: SessionAttributes, auth: Secret
    ) throws(ChipError) -> ResponseMessage {
        var current: ChipSession? = session
        let response = try attempt(command, in: &current, attributes, auth: auth)
        if response.code != .success { try flushQuietly(session.handle) }
        return response
    }

    private func attempt(
        _ command: ChipCommand, in session: inout ChipSession?, _ attributes: SessionAttributes, auth: Secret
    ) throws(ChipError) -> ResponseMessage {
        var command = command
        guard let authorized = session?.authorize(command.code, command.entities, &command.parameters, attributes, auth: auth)
        else { throw .garbage }
        var response = try exchange(command.message([authorized]))
        guard response.code == .success else { return response }
        guard let answer = response.sessions.first,
            session?.accept(answer, of: command.code, &response.parameters) == true
        else { throw .garbage }
        return response
    }

    // MARK: The session

    private func startSession(salted: Bool, kind: ChipSession.Kind = .hmac) throws(ChipError) -> ChipSession {
        let nonce = randomBytes(ChipSession.nonceSize)
        var salt: (secret: [UInt8], encrypted: [UInt8]) = ([], [])
        if salted {
            guard let made = try hostRoot?.makeSalt() else { throw .refused("there is no host root to salt a session with") }
            salt = made
        }
        defer { wipe(&salt.secret) }
        let (handle, nonceTPM) = try startSession(kind, nonceCaller: nonce, encryptedSalt: salt.encrypted)
        return ChipSession(handle: handle, salt: salt.secret, nonceCaller: nonce, nonceTPM: nonceTPM)
    }

    /// TPM2_StartAuthSession (Part 3, 11.1), salted to the host root where there is a salt.
    func startSession(
        _ kind: ChipSession.Kind, nonceCaller: [UInt8], encryptedSalt: [UInt8]
    ) throws(ChipError) -> (handle: TPMHandle, nonceTPM: [UInt8]) {
        let null = Entity(permanent: .null)
        let response = try run(ChipCommand(
            code: .startAuthSession, entities: [encryptedSalt.isEmpty ? null : hostRoot?.entity ?? null, null],
            parameters: ChipSession.startParameters(kind, nonceCaller: nonceCaller, encryptedSalt: encryptedSalt)))
        let nonceTPM = try response.decode { (reader) throws(WireError) in
            try reader.sized16(max: HashAlgorithm.largestDigest)
        }
        guard let handle = response.handle, handle.kind == kind.handleKind else { throw .garbage }
        return (handle, nonceTPM)
    }

    /// The session is not what the chip thinks it is, or there is no place for one.
    private func renewSession(after code: TPMRC) throws(ChipError) {
        if let session { try flushQuietly(session.handle) }
        session = nil
        guard code.isAboutSessionSpace else { return }
        // Nobody else uses a chip at this level at the same time (resource managers show each user its own): what is
        // there was left by a process that died.
        for first in [TPMHandle(.hmacSession, 0), TPMHandle(.policySession, 0)] {
            for handle in try handles(from: first) { try flushQuietly(TPMHandle(.hmacSession, handle.index)) }
        }
    }

    /// TPM2_FlushContext, of something that may not be there.
    func flushQuietly(_ handle: TPMHandle) throws(ChipError) {
        do throws(ChipError) { try flush(handle) } catch {
            guard case .rc = error else { throw error }
        }
    }
}

/// Waits a little longer each time, within a bound.
private struct Patience {
    private var left: Int
    private var delay = 2
    init(_ bound: Int) { left = bound }

    mutating func wait() -> Bool {
        guard left > 0 else { return false }
        usleep(UInt32(delay) * 1000)
        left -= delay
        delay = min(delay * 2, 250)
        return true
    }
}

extension ChipCommand {
    /// The chip's complaints about sessions can be about ours.
    fileprivate var needsSession: Bool {
        if case .salted = authorization { return true }
        return code == .startAuthSession
    }

    fileprivate func message(_ sessions: [AuthCommand]) -> CommandMessage {
        CommandMessage(code, handles: entities.map { $0.handle }, sessions: sessions, parameters: parameters)
    }
}

extension TPMRC {
    /// The chip has no room for one more session.
    var isAboutSessionSpace: Bool { [.sessionMemory, .sessionHandles, .contextGap].contains(self) }

    /// The complaint is about a session, not about what the command does.
    var isAboutSessions: Bool {
        if isAboutSessionSpace { return true }
        if (TPMRC.referenceS0.rawValue..<TPMRC.referenceS0.rawValue + 7).contains(rawValue) { return true }
        return rawValue & 0x80 != 0 && rawValue & 0x840 == 0x800
    }

    /// The session is not there; of our own sessions the chip's caller deals with that itself.
    var isAboutLostSessions: Bool {
        if (TPMRC.referenceS0.rawValue..<TPMRC.referenceS0.rawValue + 7).contains(rawValue) { return true }
        return isAboutSessions && [.handle, .value].contains(base)
    }

    /// A handle of the command is not loaded.
    var isAboutLostHandles: Bool {
        if (TPMRC.referenceH0.rawValue..<TPMRC.referenceH0.rawValue + 7).contains(rawValue) { return true }
        // What resource managers say.
        return base == .handle && rawValue & 0x840 == 0
    }
}

extension ChipError {
    var explanation: String {
        switch self {
        case .gone(let why): why
        case .timeout: "no answer in time"
        case .garbage: "the answer makes no sense, or its HMAC is wrong"
        case .refused(let why): why
        case .rc(let code): "response code 0x" + String(code.rawValue, radix: 16)
        }
    }
}
