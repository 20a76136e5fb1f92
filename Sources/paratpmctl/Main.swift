// paratpmctl: the administrator's tool, and the embedded broker (`paratpmctl run`).
import ArgumentParser
import Glibc
import GuestIdentity
import SystemMap

@main
struct Paratpmctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: Role.control.rawValue,
        abstract: "Run and manage paratpm, which gives every virtual machine a TPM 2.0 backed by one hardware TPM.",
        discussion: """
            --dir, or the environment variable PARATPM_DIR, names the instance: the directory that holds its state and its \
            sockets. Without either it is the system-wide instance.
            Exit status: 0, or a value of sysexits.h: \(GuestIdentity.ExitCode.allCases.map { "\($0.rawValue) \($0.meaning)" }.joined(separator: "; ")).
            """,
        version: "\(Role.control.rawValue) \(paratpmVersion)",
        subcommands: [
            Run.self, Guest.self, Host.self, Policy.self, PCRCommand.self, LogCommand.self, Quote.self, Attest.self, Status.self,
            Doctor.self, SandboxCommand.self,
        ])

    static func main() {
        LogSink.look()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as Failure {
            Failure.report(failure)
            Glibc.exit(failure.exit.rawValue)
        } catch {
            exit(withError: error)
        }
    }
}

extension Failure {
    /// A system call just failed: "cannot make the directory /path: Permission denied".
    static func system(_ exit: GuestIdentity.ExitCode, _ what: String, errno code: Int32 = errno) -> Failure {
        Failure(exit, "\(what): \(describe(errno: code))")
    }
}

/// `--dir`, as every subcommand has it.
struct InstanceOptions: ParsableArguments {
    @Option(
        name: .customLong("dir"),
        help: ArgumentHelp("The instance's directory (default: $PARATPM_DIR, else the system-wide instance).", valueName: "dir"),
        completion: .directory)
    var directory: String?

    var instance: Instance { Instance.chosen(directory) }

    /// How our other programs are told which instance it is.
    var arguments: [String] {
        instance.stateDirectory == Instance.system.stateDirectory ? [] : ["--dir", instance.stateDirectory]
    }
}
