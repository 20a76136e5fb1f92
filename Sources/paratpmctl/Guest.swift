// `paratpmctl guest …`: who may be a guest of this broker.
import ArgumentParser
import Glibc
import GuestIdentity
import IPC
import SystemMap

struct Guest: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Add, list, remove and run guests.", subcommands: [Add.self, List.self, Show.self, Remove.self, Prune.self, RunDoor.self, Bind.self, Certify.self, ShowCertificate.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the guests: name and id.")

        @OptionGroup var options: InstanceOptions
        @OptionGroup var output: OutputOptions

        func run() throws {
            let guests = try GuestEnrolment.list(options.instance)
            if output.json {
                let fields = guests.map { [("name", JSON.string($0.name.text)), ("id", JSON.string($0.guest.hex))] }
                print(JSON.array(fields.map { .object($0) }))
            } else {
                for guest in guests { print("\(guest.name)\t\(guest.guest.hex)") }
            }
        }
    }

    struct RunDoor: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run", abstract: "Run a guest's TPM in the foreground, for a hypervisor to connect to.")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @Option(help: ArgumentHelp(
            "The control socket that QEMU connects to (default: control.sock in the guest's directory).", valueName: "path"))
        var ctrl: String?
        @Flag(help: "Start even where the kernel cannot confine the processes.")
        var allowUnconfined = false

        func run() throws {
            guard !options.instance.isSystem else {
                throw Failure(.usage, "in the system-wide instance the service manager runs guests: systemctl start paratpm-guest@\(name).socket")
            }
            let door = try Programs.own(.guest)
            let arguments = options.arguments + ["--name", name.text] + (ctrl.map { ["--ctrl", $0] } ?? [])
                + (allowUnconfined ? [allowUnconfinedOption] : [])
            _ = withCStrings([door] + arguments) { execv(door, $0) }
            throw Failure.system(.unavailable, "cannot start \(door)")
        }
    }
}

extension GuestName: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}
