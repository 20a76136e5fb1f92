// What an interface is made of: a call is one declaration.
import Wire

/// Who may be at the other end of a connection. A connection's rights are a set of these.
public struct Caller: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// Nobody in particular yet: may only introduce itself.
    public static let stranger = Self(rawValue: 1 << 0)
    /// A guest's door, which proved the guest's identity.
    public static let door = Self(rawValue: 1 << 1)
    /// A guest's proxy, on a channel that the service made for it.
    public static let proxy = Self(rawValue: 1 << 2)
    /// The policy checker.
    public static let policy = Self(rawValue: 1 << 3)
    /// root, or the service's own user.
    public static let admin = Self(rawValue: 1 << 4)
}

/// One call of one interface.
public protocol Call {
    associatedtype Request: WireCodable
    associatedtype Reply: WireCodable
    static var number: UInt16 { get }
    static var callers: Caller { get }
    /// Whether a caller that lost the connection may simply ask again.
    static var repeatable: Bool { get }
    /// Nobody waits for its reply, and it has none (but for what does not decode, or may not be asked).
    static var isSilent: Bool { get }
    /// A change that shall happen once, however often it is asked for: the request carries the caller's number for it, and the
    /// service answers a number that it knows as before. 0: this caller does not ask again.
    static var isNumbered: Bool { get }
}

extension Call {
    public static var repeatable: Bool { isNumbered }
    public static var isSilent: Bool { false }
    public static var isNumbered: Bool { false }
}

/// No fields.
public struct Nothing: WireCodable, Sendable, Equatable {
    public init() {}
    public init(from reader: inout WireReader) throws(WireError) {}
    public func encode(to writer: inout WireWriter) {}
}

/// Bytes behind a 32-bit length, bounded by the frame.
public struct Blob: WireCodable, Sendable, Equatable {
    public var bytes: [UInt8]
    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public init(from reader: inout WireReader) throws(WireError) { bytes = try reader.sized32(max: Frame.largest) }
    public func encode(to writer: inout WireWriter) { writer.sized32(bytes) }
}

/// The status of a reply: 0, a TPM response code as the chip or the service gave it, or one of these.
public struct CallStatus: RawRepresentable, Hashable, Sendable, Error {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    private init(_ rawValue: UInt32) { self.rawValue = rawValue }
    public static let ok = Self(0)
    /// The request does not decode.
    public static let malformed = Self(0x8000_0001)
    /// This caller may not make this call.
    public static let notPermitted = Self(0x8000_0002)
    /// No call has this number.
    public static let unknownCall = Self(0x8000_0003)
    /// The handle is not in this connection's table.
    public static let unknownHandle = Self(0x8000_0004)
    /// A quota of this connection or this guest is used up.
    public static let quota = Self(0x8000_0005)
    /// No such guest, or a wrong proof of identity (which of them is not said).
    public static let identityRefused = Self(0x8000_0006)
    /// What the call needs is not there now; ask again later.
    public static let unavailable = Self(0x8000_0007)
    /// The service could not do it; its log says why.
    public static let failed = Self(0x8000_0008)
    /// The chip does not know the session that a call relies on; start another and ask again.
    public static let sessionLost = Self(0x8000_0009)

    /// TPM_RC_CANCELED: the caller took the request back before it was begun.
    public static let withdrawn = Self(0x909)

    /// Whether the status is a TPM response code.
    public var isTPM: Bool { rawValue != 0 && rawValue < 0x1000 }
}

/// One message on a SOCK_SEQPACKET socket: a number and a body.
/// Request: u16 call number, u64 number of the change (of numbered calls), body. Reply: u32 status, body.
public enum Frame {
    /// The largest message, in bytes.
    public static let largest = 16 * 1024
}

public enum IPCError: Error, Equatable {
    /// The other side is gone; for repeatable calls, connect and ask again.
    case disconnected
    /// The reply does not decode: the peers are of different versions, or the peer is hostile.
    case malformed
    /// The service said no.
    case status(CallStatus)
    /// A system call failed with this errno.
    case system(Int32)
    /// The reply did not come in time.
    case timeout
}
