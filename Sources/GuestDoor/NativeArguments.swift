// paratpm-guest's own command line.
import Glibc
import GuestIdentity
import IPC
import SystemMap

package enum NativeArguments {
    static let usage = """
        usage: paratpm-guest --name NAME [options]
        Runs one guest's TPM, for a hypervisor that connects to its control socket as to swtpm's.

          --name NAME      the guest, as paratpmctl guest add made it
          --dir DIR        the instance's directory (else PARATPM_DIR, else the system's)
          --ctrl PATH      the control socket (default: control.sock in the guest's directory,
                           or the socket that the service manager passes)
          --allow-unconfined
                           start even where the kernel cannot confine the process
          --help, --version
        """

    /// - Parameters:
    ///   - arguments: without the program's name.
    ///   - activated: whether the service manager passed a listening socket (LISTEN_FDS).
    package static func parse(_ arguments: [String], activated: Bool) throws(UsageError) -> DoorCommand {
        var values: [String: String] = [:]
        var allowsUnconfined = false
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--help" { return .print(usage) }
            if argument == "--version" { return .print("\(Role.guest.rawValue) \(paratpmVersion)") }
            if argument == allowUnconfinedOption {
                allowsUnconfined = true
                continue
            }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let name = parts.first, ["--name", "--dir", "--ctrl"].contains(name) else {
                throw refused("unknown argument \(printable(argument))")
            }
            guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else { throw refused("\(name) needs a value") }
            guard values.updateValue(value, forKey: name) == nil else { throw refused("\(name) is given twice") }
        }
        guard let text = values["--name"] else { throw refused("--name is missing") }
        guard let name = GuestName(text) else { throw refused("\(printable(text)) is not a guest's name") }
        var options = options(name, values, activated: activated)
        options.allowsUnconfined = allowsUnconfined
        return .run(options)
    }

    private static func options(_ name: GuestName, _ values: [String: String], activated: Bool) -> DoorOptions {
        var options = DoorOptions(guest: .named(name))
        options.directory = values["--dir"]
        let instance = Instance.chosen(options.directory)
        let path = values["--ctrl"] ?? instance.controlSocket(name)
        options.control = activated && values["--ctrl"] == nil
            ? .listening(ServiceManager.firstDescriptor) : .unix(path: path, mode: 0o600, uid: nil, gid: nil)
        return options
    }

    private static func refused(_ what: String) -> UsageError {
        UsageError(message: what + "; see --help", exit: ExitCode.usage.rawValue)
    }
}
