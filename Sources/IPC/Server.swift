// The service's side: one thread, one loop, one message of each connection a round.
import CSystem
import Glibc
import Wire

/// What a service keeps for one connection.
public protocol Connection: AnyObject {
    /// What this connection may call, as of now.
    var rights: Caller { get }
}

/// The answer to one request.
public struct Outcome {
    public var status: CallStatus = .ok
    public var body: [UInt8] = []
    /// Descriptors that travel with the reply.
    public var descriptors: [Descriptor] = []
    /// A new connection that the server shall serve from now on (the service's end of a channel it made).
    public var adopted: (Descriptor, any Connection)?
    /// Nobody waits for a reply.
    public var isSilent = false

    @inlinable public init(_ status: CallStatus = .ok, body: [UInt8] = []) {
        self.status = status
        self.body = body
    }
    @inlinable public init(_ reply: some WireCodable, descriptors: [Descriptor] = [], adopted: (Descriptor, any Connection)? = nil) {
        body = reply.wire
        self.descriptors = descriptors
        self.adopted = adopted
    }
}

/// One call that a service answers.
///
/// Public and inlinable, with all that it is made of: only so does the compiler make of each call's closure code for that call's types.
public struct Route<C> {
    @usableFromInline let number: UInt16
    @usableFromInline let callers: Caller
    @usableFromInline let run: (_ body: [UInt8], _ connection: C) -> Outcome

    @inlinable init(number: UInt16, callers: Caller, run: @escaping (_ body: [UInt8], _ connection: C) -> Outcome) {
        self.number = number
        self.callers = callers
        self.run = run
    }

    /// The same call, with something before and after it.
    @inlinable public func around(_ body: @escaping (C, () -> Outcome) -> Outcome) -> Route {
        Route(number: number, callers: callers) { bytes, connection in body(connection) { run(bytes, connection) } }
    }

    /// A call that answers with a reply or a status.
    @inlinable public static func on<K: Call>(_: K.Type, _ body: @escaping (K.Request, C) throws(CallStatus) -> K.Reply) -> Route {
        full(K.self) { (request, connection) throws(CallStatus) in Outcome(try body(request, connection)) }
    }

    /// A numbered call: `body` gets the number too.
    @inlinable public static func numbered<K: Call>(
        _: K.Type, _ body: @escaping (K.Request, _ change: UInt64, C) throws(CallStatus) -> K.Reply
    ) -> Route {
        precondition(K.isNumbered && !K.isSilent)
        return Route(number: K.number, callers: K.callers) { bytes, connection in
            var reader = WireReader(bytes)
            guard let change = try? reader.u64(), let request = try? reader.value(K.Request.self), reader.isAtEnd else {
                return Outcome(.malformed)
            }
            do throws(CallStatus) { return Outcome(try body(request, change, connection)) } catch { return Outcome(error) }
        }
    }

    /// A call that has no answer.
    @inlinable public static func silent<K: Call>(_: K.Type, _ body: @escaping (K.Request, C) -> Void) -> Route where K.Reply == Nothing {
        precondition(K.isSilent && !K.isNumbered)
        return Route(number: K.number, callers: K.callers) { bytes, connection in
            guard let request = try? K.Request(wire: bytes) else { return Outcome(.malformed) }
            body(request, connection)
            var outcome = Outcome()
            outcome.isSilent = true
            return outcome
        }
    }

    /// A call whose answer brings descriptors or a new connection.
    @inlinable public static func full<K: Call>(
        _: K.Type, _ body: @escaping (K.Request, C) throws(CallStatus) -> Outcome
    ) -> Route {
        precondition(!K.isNumbered && !K.isSilent)
        return Route(number: K.number, callers: K.callers) { bytes, connection in
            guard let request = try? K.Request(wire: bytes) else { return Outcome(.malformed) }
            do throws(CallStatus) { return try body(request, connection) } catch { return Outcome(error) }
        }
    }
}

package struct ServerLimits: Sendable {
    /// Connections at once; past it, new ones are closed at once.
    package var connections = 1024
    package init() {}
}

package final class Server {
    private final class Client {
        let channel: Channel
        let connection: any Connection
        /// What waits for its turn.
        var request: [UInt8]?
        init(_ channel: Channel, _ connection: any Connection) {
            self.channel = channel
            self.connection = connection
        }
    }
    private let listener: Descriptor
    private let routes: [UInt16: Route<any Connection>]
    private let limits: ServerLimits
    private let welcome: (Peer) -> (any Connection)?
    private let farewell: (any Connection) -> Void
    /// nil: whoever comes is answered at once.
    private let turns: Turns<any Connection>?
    /// Clients with a request that waits, the longest waiting first; and the milliseconds until it may be someone's turn.
    private var queue: [Client] = []
    private var pause: Int32 = 0
    private let ready: ReadySet
    private var watches: [Int32: (Descriptor, () -> Bool)] = [:]
    private var clients: [Int32: Client] = [:]

    /// - Parameters:
    ///   - listener: a listening SOCK_SEQPACKET socket.
    ///   - turns: the order of what takes long.
    ///   - welcome: makes the state of a new connection; nil refuses it.
    ///   - farewell: the connection is gone; release what it held.
    package init<C: Connection>(
        listener: Descriptor, routes: [Route<C>], limits: ServerLimits = ServerLimits(),
        turns: Turns<C>? = nil, welcome: @escaping (Peer) -> C?, farewell: @escaping (C) -> Void
    ) {
        self.listener = listener
        ready = ReadySet()
        self.routes = Dictionary(uniqueKeysWithValues: routes.map { ($0.number, $0.erased) })
        self.limits = limits
        self.turns = turns?.erased
        self.welcome = welcome
        self.farewell = { farewell(own($0)) }
        precondition(ready.add(listener.raw), "a first descriptor to wait for")
    }

    /// Calls `body` whenever the descriptor is readable; false from it ends the loop (a signal to stop, for example).
    package func watch(_ descriptor: Descriptor, _ body: @escaping () -> Bool) {
        precondition(ready.add(descriptor.raw), "a descriptor to wait for")
        watches[descriptor.raw] = (descriptor, body)
    }

    /// Adds a connection that exists already.
    package func adopt(_ descriptor: Descriptor, _ connection: any Connection) {
        guard ready.add(descriptor.raw) else { return farewell(connection) }
        clients[descriptor.raw] = Client(Channel(descriptor), connection)
    }

    /// Serves until a watch says stop.
    package func run() {
        while round() {}
    }

    /// One turn of the loop. False: stop.
    private func round() -> Bool {
        var knocks = false
        for raw in ready.wait(milliseconds: queue.isEmpty ? -1 : pause) {
            if let client = clients[raw] {
                if !serve(client) { drop(client) }
            } else if let watch = watches[raw] {
                guard watch.1() else { return false }
            } else if raw == listener.raw {
                knocks = true
            }
        }
        // Now, so that no new connection has the number of one that this round still speaks of.
        if knocks { acceptOne() }
        if !queue.isEmpty { takeTurn() }
        return true
    }

    private func drop(_ client: Client) {
        let raw = client.channel.descriptor.raw
        ready.remove(raw)
        clients[raw] = nil
        queue.removeAll { $0 === client }
        farewell(client.connection)
    }

    /// Serves whoever's turn it is.
    private func takeTurn() {
        guard let turns else { return }
        switch turns.next(queue.map { $0.connection }) {
        case .later(let milliseconds): pause = max(1, milliseconds)
        case .serve(let index):
            pause = 0
            let client = queue.remove(at: index)
            guard let request = client.request else { return }
            client.request = nil
            let stays = reply(to: request, client)
            turns.served(client.connection)
            if !stays { drop(client) }
        }
    }

    private func acceptOne() {
        let raw = csystem_accept(listener.raw, 0)
        guard raw >= 0 else { return }
        let descriptor = Descriptor(owning: raw)
        guard clients.count < limits.connections, let peer = Peer(of: raw), let connection = welcome(peer) else { return }
        adopt(descriptor, connection)
    }

    /// Takes one message, and answers it if it need not wait. False: the connection is over.
    private func serve(_ client: Client) -> Bool {
        guard let bytes = try? client.channel.receiveBytes(flags: Int32(MSG_DONTWAIT)) else { return false }
        guard let turns, let number = number(of: bytes) else { return reply(to: bytes, client) }
        switch turns.arrival(number, client.connection) {
        case .withdraws: return withdraw(client)
        case _ where client.request != nil: return false
        case .answered: return reply(to: bytes, client)
        case .waits:
            client.request = bytes
            queue.append(client)
            return true
        }
    }

    private func withdraw(_ client: Client) -> Bool {
        guard client.request != nil else { return true }
        client.request = nil
        queue.removeAll { $0 === client }
        return send(Outcome(.withdrawn), client)
    }

    private func reply(to bytes: [UInt8], _ client: Client) -> Bool { send(answer(bytes, client.connection), client) }

    private func send(_ outcome: Outcome, _ client: Client) -> Bool {
        if outcome.isSilent { return true }
        var writer = WireWriter(capacity: outcome.body.count + 4)
        writer.u32(outcome.status.rawValue)
        writer.raw(outcome.body)
        let raws = outcome.descriptors.map(\.raw)
        // A peer that does not read its replies is dropped: nobody waits for it.
        let sent = csystem_send(client.channel.descriptor.raw, writer.bytes, writer.bytes.count, raws, Int32(raws.count),
                                Int32(MSG_DONTWAIT))
        guard sent == writer.bytes.count else {
            if let (_, connection) = outcome.adopted { farewell(connection) }
            return false
        }
        if let (descriptor, connection) = outcome.adopted { adopt(descriptor, connection) }
        return true
    }

    private func answer(_ bytes: [UInt8], _ connection: any Connection) -> Outcome {
        guard let number = number(of: bytes) else { return Outcome(.malformed) }
        guard let route = routes[number] else { return Outcome(.unknownCall) }
        guard !route.callers.isDisjoint(with: connection.rights) else { return Outcome(.notPermitted) }
        return route.run(Array(bytes.dropFirst(2)), connection)
    }

    private func number(of bytes: [UInt8]) -> UInt16? {
        var reader = WireReader(bytes)
        return try? reader.u16()
    }
}

/// A SOCK_SEQPACKET socket at `path`, replacing a stale one; `listen(on:)` lets callers in. Mode in octal, as chmod takes it.
package func bindSocket(at path: String, mode: mode_t) throws(IPCError) -> Descriptor {
    let raw = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard raw >= 0 else { throw .system(errno) }
    let descriptor = Descriptor(owning: raw)
    unlink(path)
    let old = umask(0o777 & ~mode)
    defer { umask(old) }
    guard let bound = withUnixAddress(path, { bind(raw, $0, $1) }) else { throw .system(ENAMETOOLONG) }
    guard bound == 0 else { throw .system(errno) }
    return descriptor
}

package func listen(on socket: Descriptor) throws(IPCError) {
    guard Glibc.listen(socket.raw, 128) == 0 else { throw .system(errno) }
}
