// paratpm-pcr: the vPCRs of all guests, and who may do what to them.
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire
import Wire

package final class PCRServer {
    /// Guests at once. Each takes four of 4096 descriptors: its page, its two connections, and where its proxy posts.
    package static let guestsMax = 256

    package typealias Connection = ServiceConnection<GuestPCRs?>

    private let instance: Instance
    private let book: PolicyBook
    private let policyUser: uid_t?
    private let guestsMax: Int
    private let manager: ServiceManager
    private var guests: [GuestID: GuestPCRs] = [:]
    private var refusals = LogLimiter()
    /// How long a restarted paratpm-pcr waits for guests to come back before they give way to others, in milliseconds.
    private static let patience = 60_000
    private let began = milliseconds()

    /// - Parameters:
    ///   - policyUser: the user of paratpm-policy, where that is neither root nor our own.
    ///   - manager: keeps the guests' pages.
    ///   - passed: what it kept for this service.
    package init(
        _ instance: Instance, policy: PolicyBook = PolicyBook(), policyUser: uid_t? = nil, guestsMax: Int = PCRServer.guestsMax,
        manager: ServiceManager = ServiceManager(), passed: [(name: String, descriptor: Descriptor)] = []
    ) {
        self.instance = instance
        book = policy
        self.policyUser = policyUser
        self.guestsMax = guestsMax
        self.manager = manager
        takeOver(passed.filter { $0.name.hasPrefix(GuestPCRs.pageNamePrefix) })
    }

    package var service: Service<GuestPCRs?> {
        Service(
            routes: introductionRoutes(.pcr, instance, book) + [channelRoute, book.route()] + platformRoutes + commandRoutes + readerRoutes,
            welcome: { Connection($0, trusted: [.admin, .policy], policyUser: self.policyUser, state: nil) })
    }

    // MARK: Guests

    /// The guests of a former paratpm-pcr, each from its latest page. Only the service manager can have kept what it passes.
    private func takeOver(_ passed: [(name: String, descriptor: Descriptor)]) {
        let pages = passed.compactMap { VPCRPage.saved(in: $0.descriptor) }.sorted { $0.madeAt > $1.madeAt }
        for saved in pages where guests[saved.guest] == nil {
            guard let guest = GuestPCRs(saved) else {
                log(.error, .pcr, "the vPCRs of guest \(saved.guest.hex) cannot be taken over")
                continue
            }
            add(guest)
        }
        // The new pages are kept; until then the old ones were.
        for page in passed { manager.forget(page.name) }
        if !guests.isEmpty { log(.notice, .pcr, "took over the vPCRs of \(guests.count) guests") }
    }

    private func add(_ guest: GuestPCRs) {
        guests[guest.id] = guest
        manager.keep(guest.readable, as: guest.pageName)
    }

    private func remove(_ id: GuestID) {
        guard let guest = guests.removeValue(forKey: id) else { return }
        guest.forget()
        manager.forget(guest.pageName)
    }

    /// A guest comes into being when its door first says something about it, without power.
    private func guest(of known: KnownGuest) throws(CallStatus) -> GuestPCRs {
        if let guest = guests[known.id] { return guest }
        if guests.count >= guestsMax { dropUnconnected() }
        guard guests.count < guestsMax else { throw .quota }
        guard let guest = GuestPCRs(known.id) else { throw .unavailable }
        add(guest)
        return guest
    }

    /// Guests whose proxy is gone have no power, and give way when there is no more room. (A proxy's connection holds its guest.)
    private func dropUnconnected() {
        let waits = milliseconds() - began < Self.patience
        for id in Array(guests.keys) where isKnownUniquelyReferenced(&guests[id]) {
            if let guest = guests[id], !(waits && guest.isAwaited) { remove(id) }
        }
    }

    private var channelRoute: Route<Connection> {
        proxyChannelRoute { [self] (known, door) throws(CallStatus) in
            let guest = try guest(of: known)
            guest.door = door.pid
            guest.isAwaited = false
            guard let posts = guest.acceptPosts() else { throw .unavailable }
            return (guest, [guest.readable, posts])
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
            platform(PCRCalls.MeasuredPowerOn.self) { (pcrs, event) in pcrs.powerOn(measuring: event) },
            platform(PCRCalls.HashStart.self, at: Self.dynamicLaunchLocality) { (pcrs, _) in pcrs.hashStart() },
            platform(PCRCalls.HashData.self) { (pcrs, data) in pcrs.hashData(data.bytes) },
            platform(PCRCalls.HashEnd.self) { (pcrs, _) in pcrs.hashEnd() },
            // These may be said twice.
            .on(PCRCalls.SetLocality.self) { [self] (locality, door: Connection) throws(CallStatus) in
                try checkLocality(locality, door)
                return try tell(0, door) { (pcrs) throws(TPMRC) in try pcrs.setLocality(locality) }
            },
            .on(PCRCalls.ResetEstablished.self) { [self] (locality, door: Connection) throws(CallStatus) in
                try tell(0, door) { (pcrs) throws(TPMRC) in try pcrs.resetEstablished(at: locality) }
            },
        ]
    }

    /// - Parameter locality: where the signal comes from, if the guest's policy has a say in it.
    private func platform<K: Call>(
        _ call: K.Type, at locality: UInt8? = nil, _ body: @escaping (inout VirtualPCRs, K.Request) -> Void
    ) -> Route<Connection> where K.Reply == Nothing {
        .numbered(call) { [self] (request, change, door: Connection) throws(CallStatus) in
            if let locality { try checkLocality(locality, door) }
            return try tell(change, door) { (pcrs) throws(TPMRC) in body(&pcrs, request) }
        }
    }

    private func tell(
        _ change: UInt64, _ door: Connection, _ body: (inout VirtualPCRs) throws(TPMRC) -> Void
    ) throws(CallStatus) -> Nothing {
        try guest(of: door.knownGuest()).change(change, by: .door, body)
        return Nothing()
    }

    // MARK: From the proxy

    private var commandRoutes: [Route<Connection>] {
        [
            command(PCRCalls.Startup.self) { (pcrs, startup) throws(TPMRC) in
                // Else whoever made us forget a guest could begin a boot of its own.
                guard pcrs.values.bootCount > 0 else { throw .initialize }
                try pcrs.startup(state: startup.state, isReset: startup.isReset, banks: startup.banks)
            },
            command(PCRCalls.Shutdown.self) { (pcrs, type) throws(TPMRC) in try pcrs.shutdown(state: type.state) },
            command(PCRCalls.Extend.self) { (pcrs, request) throws(TPMRC) in try pcrs.extend(request) },
            .silent(PCRCalls.TakePosted.self) { (_, proxy: Connection) in proxy.state?.takePosted() },
            command(PCRCalls.ResetPCR.self) { (pcrs, pcr) throws(TPMRC) in try pcrs.reset(Int(pcr)) },
            command(PCRCalls.CountClear.self) { (pcrs, _) throws(TPMRC) in try pcrs.countClear() },
            command(PCRCalls.AbortEvent.self) { (pcrs, _) in pcrs.abortEvent() },
        ]
    }

    /// A proxy's connection carries its guest, so that the hot commands look nothing up.
    private func command<K: Call>(
        _ call: K.Type, _ body: @escaping (inout VirtualPCRs, K.Request) throws(TPMRC) -> Void
    ) -> Route<Connection> where K.Reply == Nothing {
        .numbered(call) { (request, change, proxy: Connection) throws(CallStatus) in
            guard let guest = proxy.state, !guest.isForgotten else { throw .notPermitted }
            try guest.change(change, by: .proxy) { (pcrs) throws(TPMRC) in try body(&pcrs, request) }
            return Nothing()
        }
    }

    // MARK: From the policy checker and the administrator

    private var readerRoutes: [Route<Connection>] {
        [
            .on(PCRCalls.Values.self) { [self] (request, _: Connection) throws(CallStatus) in try values(request) },
            .on(PCRCalls.ForgetGuest.self) { [self] (request, _: Connection) throws(CallStatus) in
                guard let id = GuestID(request.bytes) else { throw .malformed }
                remove(id)
                return Nothing()
            },
            .on(StatusCall.self) { [self] (_, _: Connection) in StatusReport([("guests", "\(guests.count) of \(guestsMax)")]) },
            .on(GuestStatusCall.self) { [self] (former, _: Connection) in
                GuestReports(guests.keys, after: former.bytes) { id in guests[id].map(Self.status) ?? [] }
            },
        ]
    }

    private func values(_ request: PCRCalls.Values.Request) throws(CallStatus) -> PCRCalls.Values.Reply {
        guard let id = GuestID(request.guest), let guest = guests[id] else { throw .unavailable }
        // Each bank once, so that the reply fits a frame.
        guard Set(request.selection.map(\.hash)).count == request.selection.count else { throw .malformed }
        let pcrs = guest.pcrs
        let values = pcrs.values
        guard values.started else { throw CallStatus(rawValue: TPMRC.initialize.rawValue) }
        return PCRCalls.Values.Reply(
            generation: values.generation, bootCount: values.bootCount, updateCounter: values.updateCounter,
            locality: values.locality, digests: pcrs.digests(request.selection))
    }

    private static func status(_ guest: GuestPCRs) -> [(key: String, value: String)] {
        let values = guest.pcrs.values
        let numbers = [("boots", String(values.bootCount)), ("locality", String(values.locality)), ("changes", String(values.updateCounter))]
        return [("started", values.started ? "yes" : "no")] + numbers + (guest.door.map { [("door", String($0))] } ?? [])
    }
}
