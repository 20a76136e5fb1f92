// A kernel that cannot confine a process gets none to run, unless it is told so in so many words.
import CSystem
import Glibc
import RunningService
import Testing

@Suite struct RefusalTests {
    @Test(arguments: ["landlock_create_ruleset", "seccomp"])
    func `a service does not start where the kernel lacks something`(_ call: String) throws {
        let confined = try Confined()
        let (status, output) = try confined.run(["without", call, Confined.program("paratpm-pcr"), "--dir", confined.directory.path])
        #expect(status == EX_UNAVAILABLE)
        #expect(output.contains("--allow-unconfined"))
    }
}
