// What ends a program: a sentence that names the file or peer and what to do, and the exit code that goes with it.
import Glibc
import SystemMap

/// The codes of sysexits.h, as far as paratpm's programs end with them.
package enum ExitCode: Int32, CaseIterable, Sendable {
    case usage = 64
    case dataError = 65
    case noInput = 66
    case unavailable = 69
    case software = 70
    case cannotCreate = 73
    case io = 74
    case noPermission = 77
    case config = 78

    /// For manuals.
    package var meaning: String {
        switch self {
        case .usage: "the command line is not understood"
        case .dataError: "a file is damaged, or not what it should be"
        case .noInput: "there is no such guest or file"
        case .unavailable: "something that is needed is not there, such as a service"
        case .software: "a failure of our own"
        case .cannotCreate: "something cannot be created"
        case .io: "input or output failed"
        case .noPermission: "only another user may do this"
        case .config: "the configuration is wrong"
        }
    }
}

package struct Failure: Error, Sendable, CustomStringConvertible {
    package let exit: ExitCode
    package let message: String
    package var description: String { message }

    package init(_ exit: ExitCode, _ message: String) {
        self.exit = exit
        self.message = message
    }

    /// A system call on a file that failed: "cannot open /path: Permission denied".
    static func system(_ exit: ExitCode, _ doing: String, _ path: String, errno code: Int32 = errno) -> Failure {
        Failure(exit, "cannot \(doing) \(path): \(describe(errno: code))")
    }
}
