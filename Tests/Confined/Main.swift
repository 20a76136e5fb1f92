// For SandboxTests: a process that enters a profile and tries something, once for each thing that there is to try.
//
//   paratpm-confined permitted ROLE DIR      every call that the profile permits: "call outcome"
//   paratpm-confined forbidden ROLE DIR      many that it may not: "attempt outcome"
//   paratpm-confined without CALL PROGRAM …  the program, on a kernel that lacks a system call
//
// An outcome is "returned", an errno's number, or "signal N".
import CAttempts
import CSystem
import Glibc
import Sandbox
import SystemMap

@main
enum Main {
    static func main() {
        let arguments = CommandLine.arguments
        guard arguments.count >= 4 else { exit(EX_USAGE) }
        if arguments[1] == "without" { return runWithout(arguments[2], Array(arguments[3...])) }
        guard let role = ConfinedRole(rawValue: arguments[2]) else { exit(EX_USAGE) }
        let profile = profile(role, arguments[3])
        let attempts = arguments[1] == "permitted" ? profile.calls.map(Attempt.init(permitted:)) : Attempt.forbidden(arguments[3])
        for attempt in attempts { print(attempt.name, outcome(of: attempt, under: profile)) }
    }

    /// With the real files of a directory made for the test.
    private static func profile(_ role: ConfinedRole, _ directory: String) -> Profile {
        let instance = Instance(directory: directory)
        return switch role {
        case .device: .device(instance, chip: .node(directory + "/chip-node"))
        case .guest: .guest(removing: [directory + "/sockets"])
        case .spawner: .spawner(proxy: directory + "/proxy")
        default: role.profile(instance)
        }
    }

    /// In a child. A bystander is there to be killed.
    private static func outcome(of attempt: Attempt, under profile: Profile) -> String {
        let bystander = csystem_fork()
        if bystander == 0 { while true { pause() } }
        let child = csystem_fork()
        if child == 0 {
            guard (try? profile.enter()) != nil else { _exit(Attempt.notConfined) }
            _exit(Int32(clamping: attempt.run(bystander)))
        }
        var status: Int32 = 0
        waitpid(child, &status, 0)
        kill(bystander, SIGKILL)
        waitpid(bystander, nil, 0)
        if status & 0x7F != 0 { return "signal \(status & 0x7F)" }
        let code = status >> 8 & 0xFF
        return code == 0 ? "returned" : "\(code)"
    }

    private static func runWithout(_ call: String, _ command: [String]) {
        guard let number = Attempt.number(call), attempt_remove_call(number) == 0 else { exit(EX_USAGE) }
        let argv = command.map { strdup($0) } + [nil]
        execv(command[0], argv)
        exit(EX_OSERR)
    }
}
