// What a door is told to do, whichever command line it was told with.
import Glibc
import SystemMap

/// Where a socket is, or which descriptor it is already.
package enum Endpoint: Equatable, Sendable {
    /// mode in octal, as chmod takes it; nil leaves the owner as it is.
    case unix(path: String, mode: mode_t, uid: uid_t?, gid: gid_t?)
    case tcp(address: String, port: UInt16, interface: String?)
    /// A listening socket that was inherited.
    case listening(Int32)
    /// A connection that was inherited.
    case connected(Int32)
}

package struct DoorOptions: Equatable, Sendable {
    /// Who the guest is, and where its files are.
    package enum Guest: Equatable, Sendable {
        case named(GuestName)
        /// The guest that lives in a directory; made when first met.
        case directory(String)
        /// The guest whose state is one file or block device; made when first met.
        case file(String)
    }
    package enum Target: Equatable, Sendable {
        case path(String)
        case descriptor(Int32)
    }
    package struct LogFile: Equatable, Sendable {
        package var target: Target
        package var truncates: Bool
        package init(target: Target, truncates: Bool) {
            self.target = target
            self.truncates = truncates
        }
    }

    package struct KeyFile: Equatable, Sendable {
        package var path: String
        package var isRemoved: Bool
        package init(path: String, isRemoved: Bool) {
            self.path = path
            self.isRemoved = isRemoved
        }
    }
    /// A character device on which TPM commands come, one with each read.
    package enum Device: Equatable, Sendable {
        case path(String)
        case descriptor(Int32)
        /// A new one, of the kernel's making (tpm_vtpm_proxy).
        case virtual
    }

    package var guest: Guest
    /// `--dir`; nil takes PARATPM_DIR, or where that is allowed the system's instance.
    package var directory: String?
    package var control: Endpoint?
    package var data: Endpoint?
    /// In place of `data`
    package var device: Device?
    /// Close a data connection behind its first response.
    package var disconnects = false
    /// End with the first data client.
    package var terminates = false
    package var needsInit = true
    package var startup = ProxyCalls.PowerOn.Request.Startup.none
    package var rejectsLocality4 = false
    /// TPM2_Shutdown on the guest's behalf when its power goes.
    package var shutsDown = true
    package var stateMode: mode_t = 0o600
    package var pidFile: Target?
    package var logFile: LogFile?
    /// Stands before each line of the log.
    package var logPrefix = ""
    package var isDaemon = false
    package var runAs: String?
    /// PTM_CONFIG_FLAG_…: keys for the state that swtpm's user named.
    package var keyFlags: UInt32 = 0
    /// The files that they are in, and whether those shall go once they were read.
    package var keyFiles: [KeyFile] = []
    /// Told so in so many words: to start where the kernel cannot confine the process.
    package var allowsUnconfined = false

    package init(guest: Guest) { self.guest = guest }
}

/// A command line, understood.
package enum DoorCommand: Equatable, Sendable {
    case run(DoorOptions)
    /// Text for standard output, and a successful end.
    case print(String)
    /// `--print-states`
    case printStates(DoorOptions.Guest)
}

/// A command line that is not understood: text for standard error, and the exit code.
package struct UsageError: Error, Equatable {
    package let message: String
    package let exit: Int32
    package init(message: String, exit: Int32) {
        self.message = message
        self.exit = exit
    }
}
