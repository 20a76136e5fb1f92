// The guest's policy as its proxy obeys it: read from paratpm-policy's page whenever that changed, and what it refuses logged.
import HostPolicy
import IPC
import SystemMap
import TPMWire
import VirtualTPM

final class PolicyReader {
    private var page: PolicyPage?
    /// Of the page, when it was read last; 0: not yet.
    private var generation: UInt32 = 0
    private var guest: GuestName?
    /// nil: none was read yet.
    private(set) var rules: Rules?
    private var refusals = LogLimiter()

    /// A page that paratpm-policy made, perhaps after it came back.
    /// - Returns: false: the guest's policy is not known at all.
    func use(_ descriptor: Descriptor) -> Bool {
        guard let page = PolicyPage(descriptor) else { return false }
        self.page = page
        generation = 0
        _ = refresh()
        return rules != nil
    }

    /// Looks whether the policy changed: what every command asks.
    /// - Returns: the rules, if they are others now.
    func refresh() -> Rules? {
        guard let page, page.generation != generation else { return nil }
        generation = page.generation
        guard let (guest, policy) = page.read() else {
            log(.error, .proxy, .policyRejected, guest: guest, [("reason", "it is of another version")])
            return nil
        }
        let new = Rules(policy)
        guard new != rules else { return nil }
        self.guest = guest
        rules = new
        return new
    }

    // MARK: The log

    /// What the guest keeps although its policy would not give it now.
    func note(_ excess: [(limit: Limits.Kind, held: Int)]) {
        guard let rules else { return }
        for (limit, held) in excess {
            log(.notice, .proxy, .quotaExceeded, guest: guest, [
                ("quota", limit.key.rawValue), ("held", String(held)), ("allowed", String(rules.limits[limit])),
            ])
        }
    }

    func note(_ refusal: Refusal) {
        guard let guest else { return }
        switch refusal {
        case .command(let code):
            let name = CommandTable.row(code)?.name ?? ""
            refusals.log(.warning, .proxy, .commandRefused, guest: guest, [("command", name)])
        case .vocabulary(let word):
            let (key, name) = PolicyWords.name(of: word)
            refusals.log(.warning, .proxy, .algorithmRefused, guest: guest, [(key.rawValue, name)])
        case .limit(let limit):
            refusals.log(.warning, .proxy, .quotaReached, guest: guest, [("quota", limit.key.rawValue)])
        }
    }
}

extension Rules {
    init(_ policy: GuestPolicy) {
        var limits = Limits()
        limits.transientObjects = policy.quotas.transientObjects
        limits.sessions = policy.quotas.sessions
        limits.nvBytes = policy.quotas.nvBytes
        limits.nvIndices = policy.quotas.nvIndices
        limits.persistentObjects = policy.quotas.persistentObjects
        limits.primaries = policy.quotas.primaries
        self.init(commands: CommandSet(policy.commands), vocabulary: policy.vocabulary, limits: limits)
    }
}

extension Limits.Kind {
    fileprivate var key: PolicyKey {
        switch self {
        case .transientObjects: .transientObjects
        case .sessions: .sessions
        case .nvBytes: .nvBytes
        case .nvIndices: .nvIndices
        case .persistentObjects: .persistentObjects
        case .primaries: .primaries
        }
    }
}
