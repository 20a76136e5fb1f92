// Every process can do what its profile permits, and dies of anything else.
import CSystem
import Glibc
import RunningService
import Sandbox
import SystemMap
import Testing

private let killed = "signal \(SIGSYS)"

@Suite struct ProfileTests {
    @Test(arguments: ConfinedRole.allCases)
    func `each permitted call gets through the filter`(_ role: ConfinedRole) throws {
        let profile = role.profile(.system)
        let outcomes = try Confined().outcomes("permitted", role)
        #expect(outcomes.map(\.name) == profile.calls.map(\.name))
        for (name, outcome) in outcomes { #expect(!outcome.hasPrefix("signal") && outcome != "200", "\(name): \(outcome)") }
    }

    @Test(arguments: ConfinedRole.allCases)
    func `what is not permitted ends the process, or is refused`(_ role: ConfinedRole) throws {
        for (name, outcome) in try Confined().outcomes("forbidden", role) {
            #expect(outcome == Self.exceptions[role]?[name] ?? killed, "\(role.rawValue): \(name)")
        }
    }

    /// What the filter cannot tell apart Landlock refuses, and some of what the others may not is a role's work.
    private static let exceptions: [ConfinedRole: [String: String]] = [
        .device: ["open": "\(EACCES)", "create": "\(EACCES)", "unlink": "\(EACCES)", "print": "returned", "hand descriptors on": "\(EBADF)"],
        .pcr: ["open": "\(EACCES)", "hand descriptors on": "\(EBADF)"],
        .policy: ["open": "\(EACCES)", "socket": "returned", "hand descriptors on": "\(EBADF)"],
        .guest: ["unlink": "\(EACCES)", "socket": "returned", "hand descriptors on": "\(EBADF)"],
        .spawner: ["open": "\(EACCES)", "execve": "\(EACCES)", "fork": "returned", "kill": "\(EPERM)"].merging(debugOnly) { $1 },
    ]

    /// The dynamic loader's, and the hostile proxy's.
    private static var debugOnly: [String: String] {
        #if DEBUG
        ["hand descriptors on": "\(EBADF)", "open": "returned", "mmap PROT_EXEC": "returned", "mprotect PROT_EXEC": "returned"]
        #else
        [:]
        #endif
    }

    @Test func `the proxy has at most 20 system calls, and no way to a file, a connection or a program`() {
        let calls = Profile.proxy.callNames
        #expect(calls.count <= 20)
        #expect(Set(calls).isDisjoint(with: [
            "open", "openat", "openat2", "creat", "socket", "socketpair", "connect", "bind", "execve", "execveat", "clone", "clone3",
            "fork", "vfork", "kill", "ptrace", "fcntl", "ioctl", "mprotect",
        ]))
        #expect(Profile.proxy.files.isEmpty)
    }

    @Test(arguments: ConfinedRole.allCases)
    func `each permission has its reason`(_ role: ConfinedRole) {
        let profile = role.profile(.system)
        let reasons = profile.calls.map(\.because) + profile.files.map(\.because) + profile.limits.map(\.because)
        #expect(!reasons.isEmpty && reasons.allSatisfy { !$0.isEmpty })
    }
}
