// What the door prints when it is asked as swtpm.
import GuestIdentity

enum SwtpmTexts {
    /// The version whose command line and control channel the door follows.
    static let followed = "0.7.1"
    static let version = "TPM emulator version \(followed), provided by paratpm \(paratpmVersion)"

    static let usage = """
        TPM emulator with choice of interface.

        Usage: swtpm socket [options]
               swtpm chardev [options]
               swtpm -v|--version

        Use the --help option to see the help screen for each interface type.
        Use the --version options to see version information.
        """

    /// In swtpm's order. A program that probes for a feature finds what the door does, and no more.
    private static let features = [
        "tpm-2.0", "tpm-send-command-header", "flags-opt-startup", "cmdarg-seccomp", "cmdarg-key-fd", "cmdarg-pwd-fd",
        "cmdarg-print-states", "nvram-backend-dir", "nvram-backend-file", "rsa-keysize-2048",
    ]
    static var capabilities: String {
        let list = features.map { #""\#($0)""# }.joined(separator: ", ")
        return #"{ "type": "swtpm", "features": [ \#(list) ], "version": "\#(followed)" }"#
    }

    /// - Parameter size: of the state file in bytes; nil: there is none.
    static func states(_ size: Int?) -> String {
        let states = size.map { #" {"name": "permall", "size": \#($0)} "# } ?? ""
        return #"{ "type": "swtpm", "states": [\#(states)] }"#
    }

    static let socketUsage = """
        Usage: swtpm socket [options]

        The TPM is a guest of the paratpm broker that PARATPM_DIR names.
        The following options are supported:

        -p|--port <port> : use the given port; disconnects after each response
        -f|--fd <fd>     : use the given socket file descriptor
        -t|--terminate   : terminate the TPM once a connection has been lost
        -d|--daemon      : daemonize the TPM
        --ctrl type=unixio|tcp[,path=<path>][,port=<port>[,bindaddr=<address>[,ifname=<ifname>]]]
               [,fd=<fd>|clientfd=<fd>][,mode=0...][,uid=<uid>][,gid=<gid>]
                         : the control channel
        --server [type=tcp][,port=<port>[,bindaddr=<address>[,ifname=<ifname>]]][,fd=<fd>][,disconnect]
        --server type=unixio[,path=<path>][,fd=<fd>][,mode=0...][,uid=<uid>][,gid=<gid>]
                         : where TPM commands come from
        \(common)
        -h|--help
        """

    static let deviceUsage = """
        Usage: swtpm chardev [options]

        The TPM is a guest of the paratpm broker that PARATPM_DIR names.
        The following options are supported:

        -c|--chardev <path> : the character device on which TPM commands come
        -f|--fd <fd>        : the same, as a file descriptor
        --vtpm-proxy        : a new device /dev/tpmN, made by the kernel (module tpm_vtpm_proxy)
        -d|--daemon         : daemonize the TPM
        --ctrl type=unixio|tcp[,path=<path>][,port=<port>[,bindaddr=<address>[,ifname=<ifname>]]]
               [,fd=<fd>|clientfd=<fd>][,mode=0...][,uid=<uid>][,gid=<gid>]
                            : the control channel
        \(common)
        -h|--help
        """

    private static let common = """
        --tpmstate dir=<dir>[,mode=0...]|backend-uri=dir://<dir>|backend-uri=file://<file>
                         : where the TPM's state is kept (default: the directory TPM_PATH)
        --flags [not-need-init][,startup-clear|startup-state|startup-none][,disable-auto-shutdown]
        --locality [reject-locality-4][,allow-set-locality]
        --log file=<path>|fd=<fd>[,level=<n>][,prefix=<prefix>][,truncate]
        --pid file=<path>|fd=<fd>
        --key, --migration-key file=<path>|fd=<fd>|pwdfile=<path>|pwdfd=<fd>[,mode=aes-cbc|aes-128-cbc|aes-256-cbc]
               [,format=hex|binary][,kdf=sha512|pbkdf2][,remove]
                         : accepted, and the file removed where that is asked; the state is always encrypted, under a key that the hardware guards
        --seccomp action=none|log|kill, --migration <...>, --profile <...>
                         : accepted, without effect
        -r|--runas <user>
        --tpm2           : required: there is no TPM 1.2
        --print-capabilities, --print-states
        """
}
