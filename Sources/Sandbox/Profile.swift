// What one process may do, as a value: system calls, files and limits, each with its reason. Entering it is in Enter.swift.

package struct Profile: Sendable {
    /// Any other system call ends the process.
    package var calls: [PermittedCall]
    /// Any other access to a file by its name is refused. What is open already is not asked about.
    package var files: [PermittedFiles]
    package var limits: [ResourceLimit]

    package init(calls: [PermittedCall], files: [PermittedFiles] = [], limits: [ResourceLimit]) {
        self.calls = calls
        self.files = files
        self.limits = limits
    }

    /// The distinct system calls.
    package var callNames: [String] { Set(calls.map(\.name)).sorted() }
}

/// A system call that the process may make, where all conditions hold. A call may have several of these.
package struct PermittedCall: Sendable {
    /// As in section 2 of the manual.
    package let name: String
    package let conditions: [ArgumentCondition]
    package let because: String

    package init(_ name: String, _ conditions: ArgumentCondition..., because: String) {
        self.name = name
        self.conditions = conditions
        self.because = because
    }
}

/// What one argument of a system call must be. The kernel's filter sees numbers only: no paths, nothing behind a pointer.
package struct ArgumentCondition: Sendable {
    package enum Test: Sendable {
        /// The low 32 bits are one of these.
        case isOneOf([Int32])
        /// None of these bits is set.
        case lacks(Int32)
        /// All of these bits are set.
        case has(Int32)
    }
    /// From 0.
    package let argument: UInt32
    package let test: Test
    /// For people: "AF_UNIX only".
    package let text: String

    package init(_ argument: UInt32, _ test: Test, _ text: String) {
        self.argument = argument
        self.test = test
        self.text = text
    }
}

/// Access rights of Landlock, LANDLOCK_ACCESS_FS_…
package struct FileRights: OptionSet, Sendable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package static let execute = FileRights(rawValue: 1 << 0)
    package static let write = FileRights(rawValue: 1 << 1)
    package static let read = FileRights(rawValue: 1 << 2)
    package static let readDirectory = FileRights(rawValue: 1 << 3)
    package static let removeFile = FileRights(rawValue: 1 << 5)
    package static let makeDirectory = FileRights(rawValue: 1 << 7)
    package static let makeFile = FileRights(rawValue: 1 << 8)

    private static let names: [(FileRights, String)] = [
        (.execute, "execute"), (.read, "read"), (.readDirectory, "list"), (.write, "write"), (.makeFile, "create"),
        (.removeFile, "remove"), (.makeDirectory, "make directories"),
    ]

    /// "read, write"
    package var text: String { Self.names.filter { contains($0.0) }.map(\.1).joined(separator: ", ") }
}

/// A file, or a directory with everything below it. It must be there when the profile is entered, and what takes its place
/// later is another file.
package struct PermittedFiles: Sendable {
    package let path: String
    package let rights: FileRights
    package let because: String

    package init(_ path: String, _ rights: FileRights, because: String) {
        self.path = path
        self.rights = rights
        self.because = because
    }
}

/// RLIMIT_…, soft and hard.
package struct ResourceLimit: Sendable {
    package enum Resource: String, Sendable {
        case core = "core file"
        case data = "memory"
        case descriptors = "descriptors"
    }
    package let resource: Resource
    /// In the unit of setrlimit(2).
    package let most: UInt64
    package let because: String

    package init(_ resource: Resource, _ most: UInt64, because: String) {
        self.resource = resource
        self.most = most
        self.because = because
    }
}
