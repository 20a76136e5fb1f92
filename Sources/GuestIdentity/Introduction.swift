// The introduction, both sides: how a door proves its guest to a service, and what a service keeps for a connection.
import Glibc
import HostPolicy
import IPC
import SystemMap
import CryptoBase

/// The door's side: proves the guest's identity; from then on the channel has a door's rights.
package func introduce(
    _ channel: Channel, as name: GuestName, key: IdentityKey, to service: ServiceName
) throws(IPCError) {
    let challenge = try channel.call(Introduction.Hello.self, .init(name: name.text)).bytes
    guard challenge.count == Introduction.challengeSize else { throw .malformed }
    let message = Introduction.message(service: service, challenge: challenge, guest: GuestID(publicKey: key.publicKey))
    _ = try channel.call(Introduction.Prove.self, Blob(key.sign(message)))
}

/// A guest that proved its identity.
package struct KnownGuest: Sendable, Hashable {
    package let id: GuestID
    package let name: GuestName

    package init(id: GuestID, name: GuestName) {
        self.id = id
        self.name = name
    }
}

/// A connection of device, pcr or policy, with whatever state the service keeps beside it.
package final class ServiceConnection<State>: Connection {
    package private(set) var rights: Caller
    package let peer: Peer
    /// Set for doors and proxies.
    package private(set) var guest: KnownGuest?
    package var state: State
    private var pending: Pending?

    private struct Pending {
        let name: GuestName?
        let challenge: [UInt8]
    }

    /// A stranger.
    /// - Parameters:
    ///   - trusted: what root and the service's own user may do besides.
    ///   - policyUser: the user of paratpm-policy, where that is another.
    package init(_ peer: Peer, trusted: Caller = .admin, policyUser: uid_t? = nil, state: State) {
        self.peer = peer
        self.state = state
        rights = .stranger
        if peer.uid == 0 || peer.uid == geteuid() { rights.formUnion(trusted) }
        if peer.uid == policyUser { rights.formUnion(.policy) }
    }

    /// The proxy's end of a channel that a door asked for.
    package init(proxyOf door: KnownGuest, peer: Peer, state: State) {
        self.peer = peer
        self.state = state
        guest = door
        rights = .proxy
    }

    /// The guest of a door or a proxy; a connection without one is refused.
    package func knownGuest() throws(CallStatus) -> KnownGuest {
        guard let guest else { throw .notPermitted }
        return guest
    }

    /// Hello: a fresh challenge, whether or not there is such a guest.
    fileprivate func hello(_ name: String) -> [UInt8] {
        let challenge = randomBytes(Introduction.challengeSize)
        pending = Pending(name: GuestName(name), challenge: challenge)
        return challenge
    }

    /// Prove: one try for each challenge.
    fileprivate func prove(
        _ signature: [UInt8], _ service: ServiceName, _ instance: Instance, _ book: PolicyBook
    ) throws(CallStatus) {
        guard let pending else { throw .identityRefused }
        self.pending = nil
        guard let name = pending.name, let known = registered(name, instance), known.admits(peer.uid) else {
            throw .identityRefused
        }
        let message = Introduction.message(service: service, challenge: pending.challenge, guest: known.guest)
        guard IdentityKey.verify(signature, message: message, publicKey: known.publicKey) else { throw .identityRefused }
        guard book.policy(of: name).connect.admits(user: peer.uid, groups: peer.groups) else {
            book.refusals.log(.warning, Failure.role, .doorRefused, guest: name, [("uid", String(peer.uid))])
            throw .identityRefused
        }
        // A guest with a home of its own was made by starting swtpm.
        guard known.home.isEmpty || book.current.enrol.admits(user: known.uid ?? peer.uid, groups: peer.groups) else {
            book.refusals.log(.warning, Failure.role, .enrolmentRefused, guest: name, [("uid", String(peer.uid))])
            throw .identityRefused
        }
        guest = KnownGuest(id: known.guest, name: name)
        rights = .door
    }

    private func registered(_ name: GuestName, _ instance: Instance) -> Registration? {
        do {
            return try GuestEnrolment.load(name, instance)
        } catch {
            Failure.report(error)
            return nil
        }
    }
}

/// Hello and Prove, as every service answers them.
package func introductionRoutes<State>(
    _ service: ServiceName, _ instance: Instance, _ book: PolicyBook
) -> [Route<ServiceConnection<State>>] {
    [
        .on(Introduction.Hello.self) { (request, connection: ServiceConnection<State>) throws(CallStatus) in
            Blob(connection.hello(request.name))
        },
        .on(Introduction.Prove.self) { (request, connection: ServiceConnection<State>) throws(CallStatus) in
            try connection.prove(request.bytes, service, instance, book)
            return Nothing()
        },
    ]
}

/// OpenProxyChannel: a new connection with a proxy's rights for the door's guest.
/// - Parameter make: the state of the new connection, and descriptors that travel behind the channel's own; given the guest and
///   its door.
package func proxyChannelRoute<State>(
    _ make: @escaping (KnownGuest, _ door: Peer) throws(CallStatus) -> (state: State, descriptors: [Descriptor])
) -> Route<ServiceConnection<State>> {
    .full(Introduction.OpenProxyChannel.self) { (_, door: ServiceConnection<State>) throws(CallStatus) in
        let guest = try door.knownGuest()
        guard let (ours, theirs) = try? Descriptor.pair() else { throw .unavailable }
        let (state, descriptors) = try make(guest, door.peer)
        let proxy = ServiceConnection(proxyOf: guest, peer: door.peer, state: state)
        return Outcome(Nothing(), descriptors: [theirs] + descriptors, adopted: (ours, proxy))
    }
}
