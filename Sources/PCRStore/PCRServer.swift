// paratpm-pcr: the vPCRs of all guests, and who may do what to them.
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire
import Wire

package final class PCRServer {
    /// Guests at once. Each takes a descriptor for its page and one for each of its two connections, of 1024 in all.
    package static let guestsMax = 256

    package typealias Connection = ServiceConnection<GuestPCRs?>

    private let instance: Instance
    private let book: PolicyBook
    private let policyUser: uid_t?
    private let guestsMax: Int
    private var guests: [GuestID: GuestPCRs] = [:]
    private var refusals = LogLimiter()

    /// - Parameter policyUser: the user of paratpm-policy, where that is neither root nor our own.
    package init(
        _ instance: Instance, policy: PolicyBook = PolicyBook(), policyUser: uid_t? = nil, guestsMax: Int = PCRServer.guestsMax
    ) {
        self.instance = instance
        book = policy
        self.policyUser = policyUser
        self.guestsMax = guestsMax
    }

    package var service: Service<GuestPCRs?> {
        Service(
            routes: introductionRoutes(.pcr, instance, book) + [channelRoute, book.route()] + platformRoutes + commandRoutes + readerRoutes,
            welcome: { Connection($0, trusted: [.admin, .policy], policyUser: self.policyUser, state: nil) })
    }

    /// A guest comes into being when its door first says something about it, without power.
    private func guest(of known: KnownGuest) throws(CallStatus) -> GuestPCRs {
        if let guest = guests[known.id] { return guest }
        if guests.count >= guestsMax { dropUnconnected() }
        guard guests.count < guestsMax else { throw .quota }
        guard let guest = GuestPCRs() else { throw .unavailable }
        guests[known.id] = guest
        return guest
    }

    /// Guests whose proxy is gone have no power, and give way when there is no more room. (A proxy's connection holds its guest.)
    private func dropUnconnected() {
        for id in Array(guests.keys) where isKnownUniquelyReferenced(&guests[id]) { guests[id] = nil }
    }

    private var channelRoute: Route<Connection> {
        proxyChannelRoute { [self] (known) throws(CallStatus) in
            let guest = try guest(of: known)
            return (guest, [guest.readable])
        }
    }

    // MARK: From the door

    /// Where the DRTM hash comes from (Part 1, 34.3).
    private static let dynamicLaunchLocality: UInt8 = 4

    /// TPM_RC_LOCALITY for a locality that the guest's policy takes away.
    private func checkLocality(_ locality: UInt8, _ door: Connection) throws(CallStatus) {
        let name = try door.knownGuest().name
        // What is no locality at all, the vPCRs themselves refuse.
        guard locality <= 4, !book.policy(of: name).localities.allows(locality) else { return }
        refusals.log(.warning, .pcr, .localityRefused, guest: name, [("locality", String(locality))])
        throw CallStatus(rawValue: TPMRC.locality.rawValue)
    }

    private var platformRoutes: [Route<Connection>] {
        [
            platform(PCRCalls.PowerOn.self) { (pcrs, _) in pcrs.powerOn() },
            .on(PCRCalls.SetLocality.self) { [self] (locality, door: Connection) throws(CallStatus) in
                try checkLocality(locality, door)
                return try change(guest(of: door.knownGuest()), locality) { (pcrs, locality) throws(TPMRC) in try pcrs.setLocality(locality) }
            },
            .on(PCRCalls.HashStart.self) { [self] (request, door: Connection) throws(CallStatus) in
                try checkLocality(Self.dynamicLaunchLocality, door)
                return try change(guest(of: door.knownGuest()), request) { (pcrs, _) in pcrs.hashStart() }
            },
            platform(PCRCalls.HashData.self) { (pcrs, data) in pcrs.hashData(data.bytes) },
            platform(PCRCalls.HashEnd.self) { (pcrs, _) in pcrs.hashEnd() },
            platform(PCRCalls.ResetEstablished.self) { (pcrs, locality) throws(TPMRC) in
                try pcrs.resetEstablished(at: locality)
            },
        ]
    }

    private func platform<K: Call>(
        _ call: K.Type, _ body: @escaping (inout VirtualPCRs, K.Request) throws(TPMRC) -> Void
    ) -> Route<Connection> where K.Reply == Nothing {
        .on(call) { [self] (request, door: Connection) throws(CallStatus) in
            try change(guest(of: door.knownGuest()), request, body)
        }
    }

    // MARK: From the proxy

    private var commandRoutes: [Route<Connection>] {
        [
            command(PCRCalls.Startup.self) { (pcrs, startup) throws(TPMRC) in
                try pcrs.startup(state: startup.state, isReset: startup.isReset, banks: startup.banks)
            },
            command(PCRCalls.Shutdown.self) { (pcrs, type) throws(TPMRC) in try pcrs.shutdown(state: type.state) },
            command(PCRCalls.Extend.self) { (pcrs, extend) throws(TPMRC) in
                try pcrs.extend(Int(extend.pcr), extend.digests)
            },
            command(PCRCalls.ResetPCR.self) { (pcrs, pcr) throws(TPMRC) in try pcrs.reset(Int(pcr)) },
            command(PCRCalls.CountClear.self) { (pcrs, _) throws(TPMRC) in try pcrs.countClear() },
        ]
    }

    /// A proxy's connection carries its guest, so that the hot commands look nothing up.
    private func command<K: Call>(
        _ call: K.Type, _ body: @escaping (inout VirtualPCRs, K.Request) throws(TPMRC) -> Void
    ) -> Route<Connection> where K.Reply == Nothing {
        .on(call) { [self] (request, proxy: Connection) throws(CallStatus) in
            guard let guest = proxy.state, !guest.isForgotten else { throw .notPermitted }
            return try change(guest, request, body)
        }
    }

    private func change<Request>(
        _ guest: GuestPCRs, _ request: Request, _ body: (inout VirtualPCRs, Request) throws(TPMRC) -> Void
    ) throws(CallStatus) -> Nothing {
        do throws(TPMRC) {
            try guest.change { (pcrs) throws(TPMRC) in try body(&pcrs, request) }
        } catch {
            throw CallStatus(rawValue: error.rawValue)
        }
        return Nothing()
    }

    // MARK: From the policy checker and the administrator

    private var readerRoutes: [Route<Connection>] {
        [
            .on(PCRCalls.Values.self) { [self] (request, _: Connection) throws(CallStatus) in try values(request) },
            .on(PCRCalls.ForgetGuest.self) { [self] (request, _: Connection) throws(CallStatus) in
                guard let id = GuestID(request.bytes) else { throw .malformed }
                guests.removeValue(forKey: id)?.forget()
                return Nothing()
            },
            .on(StatusCall.self) { [self] (_, _: Connection) in status },
        ]
    }

    private func values(_ request: PCRCalls.Values.Request) throws(CallStatus) -> PCRCalls.Values.Reply {
        guard let id = GuestID(request.guest), let guest = guests[id] else { throw .unavailable }
        // Each bank once, so that the reply fits a frame.
        guard Set(request.selection.map(\.hash)).count == request.selection.count else { throw .malformed }
        let values = guest.values
        guard values.started else { throw CallStatus(rawValue: TPMRC.initialize.rawValue) }
        return PCRCalls.Values.Reply(
            generation: values.generation, bootCount: values.bootCount, updateCounter: values.updateCounter,
            locality: values.locality, digests: guest.digests(request.selection))
    }

    private var status: StatusReport {
        let lines = guests.map { (id, guest) in
            let values = guest.values
            let power = values.started ? "started" : "not started"
            return (key: "guest \(id.hex)", value: "boot \(values.bootCount), \(power), locality \(values.locality), \(values.updateCounter) changes")
        }
        return StatusReport([("guests", "\(guests.count) of \(guestsMax)")] + lines.sorted { $0.key < $1.key })
    }
}
