// The device owner's interface as routes, and each connection's table of twins.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// The twins of one connection, by handle.
package struct TwinTable {
    private var twins: [UInt32: Twin] = [:]
    private var last: UInt32 = 0
    /// The policy checker's session on its connection.
    var session: CarriedSession?
    /// A proxy's guest's.
    let account: FairShare.Account?

    package init(_ account: FairShare.Account? = nil) { self.account = account }

    mutating func add(_ twin: Twin) throws(CallStatus) -> UInt32 {
        guard twins.count < DeviceCalls.Load.tableMax else { throw .quota }
        // Handles are not used again until the numbers have gone round.
        repeat { last &+= 1 } while last == 0 || twins[last] != nil
        twins[last] = twin
        return last
    }
    mutating func remove(_ handle: UInt32) throws(CallStatus) {
        guard twins.removeValue(forKey: handle) != nil else { throw .unknownHandle }
    }
    subscript(_ handle: UInt32) -> Twin {
        get throws(CallStatus) {
            guard let twin = twins[handle] else { throw .unknownHandle }
            return twin
        }
    }
}

package final class DeviceService {
    package typealias Connection = ServiceConnection<TwinTable>
    let device: Device
    private let instance: Instance
    private let book: PolicyBook
    private let policyUser: uid_t?
    private let shares: ChipShares
    private var connections = 0

    /// - Parameter policyUser: the user of paratpm-policy, where that is neither root nor our own.
    package init(_ device: Device, _ instance: Instance, policy: PolicyBook = PolicyBook(), policyUser: uid_t? = nil) {
        self.device = device
        self.instance = instance
        book = policy
        shares = ChipShares(device.chip, policy)
        self.policyUser = policyUser
    }

    /// What the daemon's loop serves. It keeps this object alive.
    package var service: Service<TwinTable> {
        Service(routes: routes, turns: shares.turns, welcome: { peer in
            self.connections += 1
            return Connection(peer, trusted: [.admin, .policy], policyUser: self.policyUser, state: TwinTable())
        }, farewell: { connection in
            self.connections -= 1
            self.shares.close(connection)
            if let session = connection.state.session { self.device.end(session) }
        })
    }

    private var routes: [Route<Connection>] {
        introductionRoutes(.device, instance, book) + (guestRoutes + twinRoutes + useRoutes).map { $0.around(charged) } + carryRoutes
            + hostRoutes + certificateRoutes + bindingRoutes + [
                book.route(),
                .on(StatusCall.self) { (_, _) throws(CallStatus) in self.device.status(connections: self.connections, queued: self.shares.queued.values.reduce(0, +)) },
                .on(GuestStatusCall.self) { (former, _) in self.device.guestStatus(after: former.bytes, queued: self.shares.queued) },
            ]
    }

    /// A guest's request, on its account.
    private func charged(_ connection: Connection, _ request: () -> Outcome) -> Outcome {
        guard let guest = connection.guest else { return request() }
        return device.charge(guest.id, request)
    }

    private var guestRoutes: [Route<Connection>] {
        [
            proxyChannelRoute { (guest, _) throws(CallStatus) in
                try self.device.ensureGuest(guest.id)
                let account = try self.shares.open(guest)
                self.connections += 1
                return (TwinTable(account), [])
            },
            .on(DeviceCalls.GuestSecret.self) { (_, proxy) throws(CallStatus) in
                Blob(try self.device.guestSecret(try proxy.knownGuest().id))
            },
            .on(DeviceCalls.ForgetGuest.self) { (request, _) throws(CallStatus) in
                guard let guest = GuestID(request.bytes) else { throw .malformed }
                try self.device.forgetGuest(guest)
                self.shares.forget(guest)
                return Nothing()
            },
            .on(DeviceCalls.Describe.self) { (_, _) throws(CallStatus) in try self.device.describe() },
            .on(DeviceCalls.Random.self) { (count, _) throws(CallStatus) in
                guard count <= DeviceCalls.Random.countMax else { throw .malformed }
                return Blob(try self.device.random(Int(count)))
            },
        ]
    }

    private var twinRoutes: [Route<Connection>] {
        [
            .on(DeviceCalls.Create.self) { (request, proxy) throws(CallStatus) in
                let guest = try proxy.knownGuest().id
                if request.spec.isKeyPair { try self.shares.admitKey(guest) }
                return try self.device.create(request.spec, data: request.data, for: guest)
            },
            .on(DeviceCalls.Import.self) { (request, proxy) throws(CallStatus) in
                try self.device.importTwin(
                    request.spec, request.unique, request.sensitive, for: try proxy.knownGuest().id)
            },
            .on(DeviceCalls.Duplicate.self) { (handle, proxy) throws(CallStatus) in
                try self.device.duplicate(try proxy.state[handle])
            },
            .on(DeviceCalls.Load.self) { (blob, proxy) throws(CallStatus) in
                try proxy.state.add(Twin(blob, of: try proxy.knownGuest().id))
            },
            .on(DeviceCalls.Release.self) { (handle, proxy) throws(CallStatus) in
                try proxy.state.remove(handle)
                return Nothing()
            },
        ]
    }

    private var carryRoutes: [Route<Connection>] {
        [
            .on(CarryCalls.HostRoot.self) { (_, _) in self.device.hostRoot },
            .on(CarryCalls.GuestRoot.self) { (request, _) throws(CallStatus) in
                guard let guest = GuestID(request.bytes) else { throw .malformed }
                return Sized(try self.device.guestRoot(guest))
            },
            .on(CarryCalls.StartSession.self) { (request, checker) throws(CallStatus) in
                if let old = checker.state.session { self.device.end(old) }
                checker.state.session = nil
                let (session, nonceTPM) = try self.device.startSession(request)
                checker.state.session = session
                return .init(handle: session.handle, nonceTPM: nonceTPM)
            },
            .on(CarryCalls.Run.self) { (request, checker) throws(CallStatus) in
                guard request.target.allowed.contains(request.code) else { throw .notPermitted }
                guard let session = checker.state.session else { throw .sessionLost }
                guard let guest = request.target.guest else { return try self.device.carry(request, in: session) }
                return try self.shares.carry(for: guest, makesKey: request.makesKeyPair) { () throws(CallStatus) in
                    try self.device.charge(guest) { () throws(CallStatus) in try self.device.carry(request, in: session) }
                }
            },
        ]
    }

    private var useRoutes: [Route<Connection>] {
        [
            .on(DeviceCalls.Sign.self) { (request, proxy) throws(CallStatus) in
                try self.device.sign(request.digest, request.scheme, with: try proxy.state[request.handle])
            },
            .on(DeviceCalls.DecryptRSA.self) { (request, proxy) throws(CallStatus) in
                // Who may recover seeds, and which, RecoverSeed decides.
                let twin = try proxy.state[request.handle]
                guard !twin.isStorageKey, request.label != SeedUse.identity.labelBytes else { throw .notPermitted }
                return Blob(try self.device.decryptRSA(request.cipherText, request.scheme, label: request.label, with: twin))
            },
            .on(DeviceCalls.RecoverSeed.self) { (request, caller) throws(CallStatus) in
                guard DeviceCalls.RecoverSeed.uses.contains(request.use) else { throw .notPermitted }
                return Blob(try self.device.recoverSeed(
                    request.use, request.hash, request.secret, with: try caller.state[request.handle]))
            },
            .on(DeviceCalls.Agree.self) { (request, proxy) throws(CallStatus) in
                let twin = try proxy.state[request.handle]
                guard !twin.isStorageKey else { throw .notPermitted }
                return try self.device.agree(request.point, with: twin)
            },
            .on(DeviceCalls.Unseal.self) { (handle, proxy) throws(CallStatus) in
                Blob(try self.device.unseal(try proxy.state[handle]))
            },
            .on(DeviceCalls.HMAC.self) { (request, proxy) throws(CallStatus) in
                Blob(try self.device.hmac(request.hash, request.data, with: try proxy.state[request.handle]))
            },
            .on(DeviceCalls.HMACStep.self) { (request, proxy) throws(CallStatus) in
                Blob(try self.device.hmacStep(request, with: try proxy.state[request.handle]))
            },
        ]
    }
}
