// swtpm_ioctl's command line (swtpm_ioctl(8), version 0.7.1, and --lock-storage of later ones).
import SystemMap

package struct IoctlArguments: Equatable, Sendable {
    package enum Target: Equatable, Sendable {
        case unix(String)
        case tcp(host: String, port: UInt16)
    }

    package enum Command: Equatable, Sendable {
        case getCapability, initialize(flags: UInt32), stop, shutdown, getEstablished, storeVolatile, cancel, getConfig
        case resetEstablished(UInt8), setLocality(UInt8)
        /// nil: what standard input holds
        case hash(String?)
        case setBufferSize(UInt32)
        case getInfo(UInt64)
        case lockStorage(retries: UInt32)
        case print(String)
    }

    package let command: Command
    package let target: Target

    private static let known = [
        OptionSpec("tpm-device", values: 1), OptionSpec("tcp", values: 1), OptionSpec("unix", values: 1), OptionSpec("stop"),
        OptionSpec("save", values: 2), OptionSpec("load", values: 2), OptionSpec("info", values: 1), OptionSpec("version"),
        OptionSpec("help"), OptionSpec("lock-storage", values: 1), OptionSpec("capability", "c"), OptionSpec("init", "i"),
        OptionSpec("shutdown", "s"), OptionSpec("established", "e"), OptionSpec("reset", "r", values: 1),
        OptionSpec("volatile", "v"), OptionSpec("cancel", "C"), OptionSpec("locality", "l", values: 1),
        OptionSpec("hash", "h", values: 1), OptionSpec("config", "g"), OptionSpec("buffer", "b", values: 1),
    ]
    private static let targets = ["tpm-device", "tcp", "unix"]

    /// - Parameters:
    ///   - arguments: without the program's name.
    ///   - environment: TCSD_TCP_DEVICE_HOSTNAME and the like, where they are set.
    package init(_ arguments: [String]) throws(ToolError) {
        let options = try LongOptions(arguments, Self.known)
        let commands = options.given.filter { !Self.targets.contains($0.name) }
        guard let first = commands.first else { throw ToolError("No valid command.") }
        guard commands.count == 1 else { throw ToolError("Only one command may be given.") }
        command = try Self.command(first.name, first.values, options.words)
        if case .print = command {
            target = .unix("")
            return
        }
        target = try Self.target(options)
    }

    private static func target(_ options: LongOptions) throws(ToolError) -> Target {
        if let path = options.value("unix") { return .unix(path) }
        if let text = options.value("tcp") {
            // [HOST]:[PORT], as swtpm has its defaults
            let colon = text.lastIndex(of: ":")
            let host = colon.map { String(text[..<$0]) } ?? text
            let port = colon.map { String(text[text.index(after: $0)...]) } ?? ""
            guard let number = port.isEmpty ? 6546 : UInt16(port) else { throw ToolError("Invalid port '\(port)'.") }
            return .tcp(host: host.isEmpty ? "127.0.0.1" : host, port: number)
        }
        throw ToolError("There is no character device to control: paratpm's guests have control sockets; give --unix or --tcp.")
    }

    private static func command(_ name: String, _ values: [String], _ words: [String]) throws(ToolError) -> Command {
        let value = values.first ?? ""
        switch name {
        case "capability": return .getCapability
        case "init": return .initialize(flags: words.first.flatMap { number($0) } ?? 0)
        case "stop": return .stop
        case "shutdown": return .shutdown
        case "established": return .getEstablished
        case "volatile": return .storeVolatile
        case "cancel": return .cancel
        case "config": return .getConfig
        case "reset": return .resetEstablished(try locality(value))
        case "locality": return .setLocality(try locality(value))
        case "hash": return .hash(value == "-" ? nil : value)
        case "buffer":
            guard let size: UInt32 = number(value) else { throw ToolError("Invalid buffer size '\(value)'.") }
            return .setBufferSize(size)
        case "info":
            guard let flags: UInt64 = number(value) else { throw ToolError("Invalid flags '\(value)'.") }
            return .getInfo(flags)
        case "lock-storage":
            guard let retries: UInt32 = number(value) else { throw ToolError("Invalid number of retries '\(value)'.") }
            return .lockStorage(retries: retries)
        case "version": return .print("TPM emulator control tool version \(Followed.version), provided by paratpm")
        case "help": return .print(usage)
        default: throw ToolError("A guest's state does not leave its host: there is nothing to \(name).")
        }
    }

    private static func locality(_ text: String) throws(ToolError) -> UInt8 {
        guard let number: UInt8 = number(text), number <= 4 else { throw ToolError("Locality outside valid range of [0..4].") }
        return number
    }

    /// Decimal, or hexadecimal behind 0x.
    private static func number<N: FixedWidthInteger>(_ text: String) -> N? {
        text.hasPrefix("0x") ? N(text.dropFirst(2), radix: 16) : N(text)
    }

    static let usage = """
        TPM emulator control tool version \(Followed.version), provided by paratpm

        Usage: swtpm_ioctl --unix <path> | --tcp [<host>]:[<port>] <command>

        -c              : the control channel's capabilities
        -i [<flags>]    : the TPM's power comes on
        --stop          : the TPM's power goes
        -s              : the same, and the process ends
        -e              : the tpmEstablished bit
        -r <locality>   : reset the tpmEstablished bit
        -l <locality>   : set the locality, 0 to 4
        -h <data>       : hash the data as a DRTM does; '-' reads standard input
        -C              : cancel a command
        -v              : store the volatile state
        -g              : which keys encrypt the state
        -b <size>       : set the size of the TPM's buffer; 0 shows it
        --info <flags>  : what the TPM says of itself
        --lock-storage <retries>
        --version, --help
        """
}
