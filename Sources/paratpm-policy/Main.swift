// paratpm-policy checks the guests' policy sessions. It holds the gate secret, and no guest's session.
import GuestIdentity
import PolicyChecker

@main enum Main {
    static func main() {
        Daemon(.policy, .policy, summary: "Checks the guests' policy sessions.").main(
            profile: { .policy($0.instance) }
        ) { (arguments) throws(Failure) in
            let policy = try PolicyBook(arguments.instance, manager: arguments.manager)
            return PolicyServer(arguments.instance, try HostGate.acquire(arguments.instance), policy: policy).service
        }
    }
}
