// paratpm-pcr holds the virtual PCRs of all guests. It has no keys and calls nobody.
import GuestIdentity
import IPC
import PCRStore

@main enum Main {
    static func main() {
        Daemon(.pcr, .pcr, summary: "Holds the virtual PCRs of all guests.", options: [.policyUser]).main(
            profile: { .pcr($0.instance) }
        ) { (arguments) throws(Failure) in
            let policy = try PolicyBook(arguments.instance, manager: arguments.manager)
            return PCRServer(
                arguments.instance, policy: policy, policyUser: try arguments.policyUser(), manager: arguments.manager,
                passed: ServiceManager.takePassed()
            ).service
        }
    }
}
