// `paratpmctl guest prune`: guests that were made by starting swtpm, and whose directories are gone.
import ArgumentParser
import Glibc
import GuestIdentity
import SystemMap

extension Guest {
    struct Prune: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove the guests that were made by starting swtpm and whose directories are gone.",
            discussion: """
                Software that starts swtpm deletes a guest by deleting its directory, and paratpm is not told. A directory on a file \
                system that is not mounted looks the same, so look at the list before you say yes: their keys are destroyed for ever.
                """)

        @OptionGroup var options: InstanceOptions
        @Flag(help: "Do not ask.")
        var yes = false
        @Flag(help: "Only list them.")
        var dryRun = false
        @OptionGroup var output: OutputOptions

        func run() throws {
            let instance = options.instance
            let lost = try instance.lostGuests()
            if !output.json { for guest in lost { print("\(guest.name)\t\(guest.home)") } }
            let removes = !dryRun && !lost.isEmpty
            if removes {
                if instance.isSystem && geteuid() != 0 { throw Failure(.noPermission, "only root removes guests of the system-wide instance") }
                if !yes { try confirm("Remove these \(lost.count) guests? Their keys are lost for ever.", otherwise: "nothing was removed") }
                for guest in lost { try GuestRemoval(guest, instance).destroy() }
            }
            guard output.json else { return }
            let guests = lost.map { [("name", JSON.string($0.name.text)), ("directory", JSON.string($0.home))] }
            print(JSON.object([("removed", .bool(removes)), ("guests", .array(guests.map { .object($0) }))]))
        }
    }
}

extension Instance {
    /// Guests whose own directory, with their identity, is gone: they can never start again. Not those that run still.
    func lostGuests() throws(Failure) -> [Registration] {
        let pcr = ServiceState(.pcr, self)
        return try GuestEnrolment.list(self).filter { guest in
            !guest.home.isEmpty && access(guest.home, F_OK) != 0 && errno == ENOENT && GuestState(guest, [pcr]).door == nil
        }
    }
}

/// Asks at the terminal; where there is none, it takes --yes.
func confirm(_ question: String, otherwise: String) throws(Failure) {
    guard isatty(STDIN_FILENO) == 1 else { throw Failure(.usage, "\(question) Say --yes; \(otherwise)") }
    print("\(question) [y/N] ", terminator: "")
    fflush(nil)
    guard let answer = readLine(), ["y", "yes"].contains(answer.lowercased()) else { throw Failure(.usage, otherwise) }
}
