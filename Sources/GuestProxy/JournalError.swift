// Why a state file is not used. Its text goes to the log: what, where, and what to do.
import SystemMap

package enum JournalError: Error, Equatable {
    /// The operating system refused; what was tried, and errno.
    case io(String, Int32)
    /// Not the size that a state file has, in bytes.
    case size(found: Int, expected: Int)
    /// It does not begin as a state file does.
    case notStateFile
    /// It begins as a state file, but does not open with this guest's key.
    case foreign
    /// Something that was once written whole is no longer what it was. The offset is from the start of the file, in bytes.
    case damaged(String, offset: Int)
}

extension JournalError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .io(let operation, let code):
            "cannot \(operation) the state file: \(SystemMap.describe(errno: code))"
        case .size(let found, let expected):
            "the state file has \(found) bytes instead of \(expected): it was cut or is another file; restore it from a backup, "
                + "or move it away to start with a new TPM"
        case .notStateFile:
            "the state file is not one of paratpm; move it away to start with a new TPM"
        case .foreign:
            "the state file belongs to another guest or another chip, or its first sector is damaged; put this guest's file in "
                + "its place, or move it away to start with a new TPM"
        case .damaged(let what, let offset):
            "the state file is damaged: \(what) at byte \(offset); it was left as it is: restore it from a backup, "
                + "or move it away to start with a new TPM"
        }
    }
}
