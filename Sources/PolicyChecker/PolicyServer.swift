// paratpm-policy: takes the steps of policy sessions and keeps none of them (docs/architecture.md, D8).
import CryptoBase
import EnhancedAuthorization
import GuestIdentity
import HostPolicy
import IPC
import SystemMap
import TPMWire
import Wire

package final class PolicyServer {
    /// What a proxy's connection keeps: its guest's page, and the commitments that are under way.
    package struct ProxyShare {
        let page: PolicyPage
        let commitments = RestrictedCommitments()
    }
    package typealias Connection = ServiceConnection<ProxyShare?>

    private let instance: Instance
    private let gate: HostGate
    private let vpcrs: VPCRReader
    private let deepQuotes: DeepQuotes
    private let book: PolicyBook
    /// Proxies' calls so far
    private var requests = 0
    private var pages: [(guest: GuestName, page: PolicyPage)] = []

    package init(_ instance: Instance, _ gate: HostGate, policy: PolicyBook = PolicyBook()) {
        self.instance = instance
        book = policy
        self.gate = gate
        vpcrs = VPCRReader(instance)
        deepQuotes = DeepQuotes(instance, vpcrs) { HostRule(policy.policy(of: $0.name)) }
        policy.changed = { [unowned self] _ in
            for (guest, page) in pages { page.write(policy.policy(of: guest), of: guest) }
        }
    }

    package var service: Service<ProxyShare?> {
        Service(
            routes: introductionRoutes(.policy, instance, book) + [
                book.route(announce: announce),
                proxyChannelRoute { [self] (guest, _) throws(CallStatus) in try openPage(guest.name) },
                .on(PolicyCalls.Start.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                    Blob(try start(request, for: try guest(of: proxy).id))
                },
                .on(PolicyCalls.Step.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                    try step(request, of: try guest(of: proxy).id)
                },
                .on(PolicyCalls.Verify.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                    try verify(request, of: try guest(of: proxy).id)
                },
                .on(DeepQuoteCalls.Own.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                    Blob(try deepQuotes.quote(request.bytes, for: try guest(of: proxy)))
                },
                .on(HostBindingCalls.Event.self) { [self] (_, door: Connection) throws(CallStatus) in
                    try deepQuotes.firstEvent(of: try door.knownGuest())
                },
                .on(DeepQuoteCalls.OfGuest.self) { [self] (request, _: Connection) throws(CallStatus) in
                    guard let guest = GuestID(request.guest) else { throw .malformed }
                    return Blob(try deepQuotes.quote(request.request, of: KnownGuest(id: guest, name: request.name)))
                },
                .on(GateSealCalls.Seal.self) { [self] (request, _: Connection) throws(CallStatus) in
                    Blob(try gate.sealed(under: request.selection).wire)
                },
                .on(GateSealCalls.Open.self) { [self] (record, _: Connection) throws(CallStatus) in
                    try gate.open(record.bytes)
                },
            ] + gateRoutes + [
                .on(StatusCall.self) { [self] (_, _: Connection) in
                    StatusReport([
                        ("gate", gate.gate == nil ? GateSealCalls.noSecret : "open"), ("sessions", "kept by the guests' proxies"),
                        ("requests", String(requests)),
                    ])
                },
            ],
            welcome: { Connection($0, state: nil) },
            farewell: { [self] connection in
                if let share = connection.state { pages.removeAll { $0.page === share.page } }
            })
    }

    /// The guest's policy, for its proxy.
    private func openPage(_ guest: GuestName) throws(CallStatus) -> (ProxyShare?, [Descriptor]) {
        guard let (page, file) = PolicyPage.make() else { throw .unavailable }
        page.write(book.policy(of: guest), of: guest)
        pages.append((guest, page))
        return (ProxyShare(page: page), [file])
    }

    private func guest(of proxy: Connection) throws(CallStatus) -> KnownGuest {
        requests += 1
        return try proxy.knownGuest()
    }

    private func announce(_ change: PolicyChange) {
        log(.notice, .policy, .policyChanged, guest: change.guest, [("key", change.key.rawValue), ("change", change.text)])
    }

    /// D7: each with the guest that the channel was made for.
    private var gateRoutes: [Route<Connection>] {
        [
            .on(GateCalls.Create.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                try gatekeeper(proxy).create(request, for: try guest(of: proxy).id)
            },
            .on(GateCalls.Import.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                try gatekeeper(proxy).importTwin(request, for: try guest(of: proxy).id)
            },
            .on(GateCalls.CreateAnonymous.self) { [self] (template, proxy: Connection) throws(CallStatus) in
                try gatekeeper(proxy).createAnonymous(template, for: try guest(of: proxy).id)
            },
            .on(GateCalls.Use.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                Blob(try gatekeeper(proxy).use(request, of: try guest(of: proxy).id))
            },
            .on(GateCalls.RecoverSalt.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                Blob(try gatekeeper(proxy).recoverSalt(request, of: try guest(of: proxy).id))
            },
            .on(GateCalls.VerifyMAC.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                try gatekeeper(proxy).verifyMAC(request, of: try guest(of: proxy).id)
                return Nothing()
            },
            .on(GateCalls.Activate.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                Blob(try gatekeeper(proxy).activate(request, of: try guest(of: proxy).id))
            },
            .on(HashCalls.Step.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                try gatekeeper(proxy).hash(request, of: try guest(of: proxy).id)
            },
            .on(HashCalls.Check.self) { [self] (request, proxy: Connection) throws(CallStatus) in
                try gatekeeper(proxy).checkHash(request, of: try guest(of: proxy).id)
                return Nothing()
            },
        ]
    }

    private func gatekeeper(_ proxy: Connection) throws(CallStatus) -> Gatekeeper {
        let gate = try gate.opened()
        let commitments = proxy.state?.commitments ?? RestrictedCommitments()
        return Gatekeeper(keys: gate.keys, twins: gate.chip, vpcrs: vpcrs, commitments: commitments, clock: hostMilliseconds)
    }

    private func start(_ request: PolicyCalls.Start.Request, for guest: GuestID) throws(CallStatus) -> [UInt8] {
        let keys = try gate.opened().keys
        guard let time = GuestTime(epoch: request.epoch, now: hostMilliseconds()),
            let nonces = SessionNonces(size: request.nonceSize, hash: request.hash)
        else { throw .malformed }
        let state = PolicyState(hash: request.hash, isTrial: request.trial, startTime: time, nonces: nonces)
        return PolicyToken.seal(state, key: keys.token, guest: guest)
    }

    private func step(_ request: PolicyCalls.Step.Request, of guest: GuestID) throws(CallStatus) -> PolicyCalls.Step.Reply {
        let keys = try gate.opened().keys
        guard var state = PolicyToken.open(request.token, key: keys.token, guest: guest) else { throw .notPermitted }
        guard let time = GuestTime(epoch: request.moment.epoch, now: hostMilliseconds()) else { throw .malformed }
        let needed = state.pcrsNeeded(for: request.step)
        let pcrs: PCRReading? = if let needed { try vpcrs.read(guest, needed) } else { nil }
        let given: GivenTicket?
        do throws(TPMRC) {
            given = try state.apply(request.step, at: time, rolls: request.moment.rolls, mint: keys.mint(guest), pcrs: pcrs)
        } catch {
            throw CallStatus(rawValue: error.rawValue)
        }
        return PolicyCalls.Step.Reply(token: PolicyToken.seal(state, key: keys.token, guest: guest), timeout: given?.timeout ?? [], ticket: given?.ticket)
    }

    private func verify(_ request: PolicyCalls.Verify.Request, of guest: GuestID) throws(CallStatus) -> Ticket {
        let keys = try gate.opened().keys
        do throws(TPMRC) {
            try request.key.check(request.evidence) { _ in request.digest }
        } catch {
            throw CallStatus(rawValue: error.rawValue)
        }
        return keys.mint(guest).verified(request.hierarchy, digest: request.digest, keyName: request.key.name)
    }
}
