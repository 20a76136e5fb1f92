// paratpm-policy checks the guests' policy sessions. It holds the key of their tokens, and no session.
import GuestIdentity
import PolicyChecker

@main enum Main {
    static func main() {
        Daemon(.policy, .policy, summary: "Checks the guests' policy sessions.").main { (arguments) throws(Failure) in
            PolicyServer(arguments.instance, keys: try TokenKeys.acquire(arguments.instance)).service
        }
    }
}
