// What a door tells its proxy, over the socket pair the proxy is born with. The proxy answers each call; it never calls.
import IPC
import TPMWire
import Wire

package enum ProxyCalls {
    /// The descriptors a proxy is born with.
    package enum Inherited {
        /// The socket to its door.
        package static let door: Int32 = 3
        /// The guest's state file, open for reading and writing, locked by the door.
        package static let state: Int32 = 4
        /// CommandMark
        package static let mark: Int32 = 5
    }

    /// A channel to a service, new or after the service came back. The request brings what
    /// OpenProxyChannel did.
    package enum UseChannel: Call {
        package static let number: UInt16 = 16
        package static let callers: Caller = [.door]
        /// Index in ServiceName.allCases
        package typealias Request = UInt8
        package typealias Reply = Nothing
    }

    /// _TPM_Init: the guest's power came on. The door has told paratpm-pcr already.
    package enum PowerOn: Call {
        package static let number: UInt16 = 17
        package static let callers: Caller = [.door]
        package struct Request: WireCodable, Sendable {
            /// Do TPM2_Startup(CLEAR) or (STATE) on the guest's behalf.
            package var startup: Startup
            package enum Startup: UInt8, Sendable { case none = 0, clear = 1, state = 2 }
            /// The event log of what is measured before the guest's firmware runs; empty: nothing is.
            package var hostEvents: [UInt8]
            package init(startup: Startup, hostEvents: [UInt8] = []) {
                self.startup = startup
                self.hostEvents = hostEvents
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guard let startup = Startup(rawValue: try reader.u8()) else { throw .invalid(0) }
                self.startup = startup
                hostEvents = try reader.sized16(max: NVPublic.dataMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.u8(startup.rawValue)
                writer.sized16(hostEvents)
            }
        }
        package typealias Reply = Nothing
    }

    /// The platform cancels the command that is being executed, if any. It has no answer, since the proxy may be busy for long.
    package enum Cancel: Call {
        package static let number: UInt16 = 22
        package static let callers: Caller = [.door]
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    /// Power goes off.
    package enum PowerOff: Call {
        package static let number: UInt16 = 18
        package static let callers: Caller = [.door]
        package struct Request: WireCodable, Sendable {
            /// Do TPM2_Shutdown(STATE), or else (CLEAR), on the guest's behalf, unless that was its last command.
            package var shutdown: Bool
            package init(shutdown: Bool) { self.shutdown = shutdown }
            package init(from reader: inout WireReader) throws(WireError) { shutdown = try reader.flag() }
            package func encode(to writer: inout WireWriter) { writer.flag(shutdown) }
        }
        package typealias Reply = Nothing
    }

    /// A data connection of the guest: TPM commands, one after another. The request brings its descriptor, and one on
    /// which the proxy sends a byte when the client is gone (its mere end says that the proxy died). A new connection takes the place of the old.
    package enum AttachData: Call {
        package static let number: UInt16 = 19
        package static let callers: Caller = [.door]
        package struct Request: WireCodable, Sendable {
            /// Commands may come behind swtpm's header (TPM_SEND_COMMAND, locality, length).
            package var allowsHeader: Bool
            /// A former proxy died over this connection: what waits in it is answered TPM_RC_RETRY.
            package var isRecovered: Bool
            package init(allowsHeader: Bool, isRecovered: Bool) {
                self.allowsHeader = allowsHeader
                self.isRecovered = isRecovered
            }
            package init(from reader: inout WireReader) throws(WireError) {
                allowsHeader = try reader.flag()
                isRecovered = try reader.flag()
            }
            package func encode(to writer: inout WireWriter) {
                writer.flag(allowsHeader)
                writer.flag(isRecovered)
            }
        }
        package typealias Reply = Nothing
    }

    /// A listening socket from which the proxy takes data connections itself, one after another: TSS clients connect anew for
    /// every command, and the door would cost each of them a hop. The request brings its descriptor, and one on which the
    /// proxy sends a byte whenever a client is gone.
    package enum ServeData: Call {
        package static let number: UInt16 = 21
        package static let callers: Caller = [.door]
        package struct Request: WireCodable, Sendable {
            /// Close each connection behind its first response.
            package var disconnects: Bool
            package init(disconnects: Bool) { self.disconnects = disconnects }
            package init(from reader: inout WireReader) throws(WireError) { disconnects = try reader.flag() }
            package func encode(to writer: inout WireWriter) { writer.flag(disconnects) }
        }
        package typealias Reply = Nothing
    }

    /// The largest command and response, in bytes. The reply is the size in force.
    package enum SetBufferSize: Call {
        package static let number: UInt16 = 20
        package static let callers: Caller = [.door]
        package typealias Request = UInt32
        package typealias Reply = UInt32
        /// As in stock swtpm.
        package static let smallest: UInt32 = 2808
        package static let largest: UInt32 = 4096
    }
}
