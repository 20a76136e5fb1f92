// The guests' shares of the chip, as their policies say (docs/policy.md): turns, rates, key generations, connections.
import GuestIdentity
import HostPolicy
import IPC
import SystemMap
import TPMWire
import Wire

final class ChipShares {
    typealias Connection = ServiceConnection<TwinTable>
    /// Proxies of one guest at once: one lives, and some may be dying.
    static let proxiesMax = 8

    private let chip: Chip
    private let book: PolicyBook
    private var fair = FairShare()
    /// What the running call began with.
    private var chipTime = 0
    private var proxies: [GuestID: Int] = [:]
    private var names: [GuestID: GuestName] = [:]
    private var refusals = LogLimiter()
    /// Whose calls wait for their turn, as of the last turn.
    private var waiting: [FairShare.Account] = []
    /// Of the policy that the accounts obey.
    private var policyVersion = -1

    init(_ chip: Chip, _ book: PolicyBook) {
        self.chip = chip
        self.book = book
    }

    // MARK: Connections

    /// - Returns: the guest's account, for the connection to keep.
    func open(_ guest: KnownGuest) throws(CallStatus) -> FairShare.Account {
        names[guest.id] = guest.name
        guard proxies[guest.id, default: 0] < Self.proxiesMax else {
            refuse(guest.id, "connections")
            throw .quota
        }
        proxies[guest.id, default: 0] += 1
        let account = account(of: guest.id)
        account.obey(share(of: guest.id), at: nanoseconds())
        return account
    }

    func close(_ connection: Connection) {
        guard connection.rights == .proxy, let guest = connection.guest?.id, let count = proxies[guest] else { return }
        proxies[guest] = count > 1 ? count - 1 : nil
    }

    func forget(_ guest: GuestID) {
        fair.forget(guest)
        names[guest] = nil
    }

    // MARK: Turns

    var turns: Turns<Connection> {
        Turns(
            arrival: { number, connection in
                guard connection.rights == .proxy else { return .answered }
                return switch number {
                // These two only read and write a table.
                case DeviceCalls.Load.number, DeviceCalls.Release.number: .answered
                case DeviceCalls.Withdraw.number: .withdraws
                default: .waits
                }
            },
            next: { [self] connections in
                chipTime = chip.statistics.nanoseconds
                obeyPolicy()
                waiting = connections.compactMap { $0.state.account }
                return fair.next(waiting, at: nanoseconds())
            },
            served: { [self] connection in
                guard let account = connection.state.account else { return }
                if let index = waiting.firstIndex(where: { $0 === account }) { waiting.remove(at: index) }
                fair.end(account, took: chip.statistics.nanoseconds - chipTime, at: nanoseconds(), inTurn: true)
            })
    }

    /// Calls that wait for their turn.
    var queued: [GuestID: Int] { waiting.reduce(into: [:]) { $0[$1.guest, default: 0] += 1 } }

    /// A call that the policy checker makes for a guest. The checker serves all guests and does not wait for one's turn, so what is
    /// beyond the guest's rate is refused.
    func carry<R>(for guest: GuestID, makesKey: Bool, _ body: () throws(CallStatus) -> R) throws(CallStatus) -> R {
        if makesKey { try admitKey(guest) }
        obeyPolicy()
        let account = account(of: guest)
        guard fair.takeOperation(account, at: nanoseconds()) else {
            refuse(guest, PolicyKey.operationsPerSecond.rawValue)
            throw CallStatus(rawValue: TPMRC.retry.rawValue)
        }
        let before = chip.statistics.nanoseconds
        defer { fair.end(account, took: chip.statistics.nanoseconds - before, at: nanoseconds(), inTurn: false) }
        return try body()
    }

    // MARK: Key generation

    func admitKey(_ guest: GuestID) throws(CallStatus) {
        obeyPolicy()
        guard fair.takeKey(account(of: guest), at: nanoseconds()) else {
            refuse(guest, PolicyKey.keyGenerationsPerMinute.rawValue)
            throw CallStatus(rawValue: TPMRC.retry.rawValue)
        }
    }

    // MARK: Policy

    private func account(of guest: GuestID) -> FairShare.Account {
        fair.account(of: guest, at: nanoseconds()) { share(of: guest) }
    }

    /// Accounts obey the policy as it is now.
    private func obeyPolicy() {
        guard policyVersion != book.version else { return }
        policyVersion = book.version
        fair.obey(at: nanoseconds()) { share(of: $0) }
    }

    private func share(of guest: GuestID) -> DeviceShare {
        names[guest].map { book.policy(of: $0).share } ?? book.current.standard.share
    }

    private func refuse(_ guest: GuestID, _ quota: String) {
        guard let name = names[guest] else { return }
        refusals.log(.warning, .device, .quotaReached, guest: name, [("quota", quota)])
    }
}

extension TwinSpec {
    /// Whether the chip makes a key pair for it.
    var isKeyPair: Bool {
        switch kind {
        case .rsa, .ecc: true
        case .hmac, .sealed: false
        }
    }
}

extension CarryCalls.Run.Request {
    /// TPM2_Create of a key pair. Its first parameter is encrypted, its second is not.
    var makesKeyPair: Bool {
        guard code == .create else { return false }
        var reader = WireReader(parameters)
        guard (try? reader.sized16()) != nil, (try? reader.u16()) != nil, let type = try? reader.value(TPMAlgorithm.self) else { return false }
        return type == .rsa || type == .ecc
    }
}
