// What a door tells its proxy, over the socket pair the proxy is born with. The proxy answers each call; it never calls.
import IPC
import Wire

package enum ProxyCalls {
    /// The descriptors a proxy is born with.
    package enum Inherited {
        /// The socket to its door.
        package static let door: Int32 = 3
        /// The guest's state file, open for reading and writing, locked by the door.
        package static let state: Int32 = 4
    }

    /// A channel to a service, new or after the service came back. The request brings its descriptor (and for pcr a second,
    /// the vPCR page).
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
            package init(startup: Startup) { self.startup = startup }
            package init(from reader: inout WireReader) throws(WireError) {
                guard let startup = Startup(rawValue: try reader.u8()) else { throw .invalid(0) }
                self.startup = startup
            }
            package func encode(to writer: inout WireWriter) { writer.u8(startup.rawValue) }
        }
        package typealias Reply = Nothing
    }

    /// Power goes off: flush what lasts (an implicit TPM2_Shutdown only where the request says so).
    package enum PowerOff: Call {
        package static let number: UInt16 = 18
        package static let callers: Caller = [.door]
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    /// A data connection of the guest: TPM commands, one after another. The request brings its descriptor. A new one takes
    /// the place of the old; when the client closes, the proxy drops it.
    package enum AttachData: Call {
        package static let number: UInt16 = 19
        package static let callers: Caller = [.door]
        package struct Request: WireCodable, Sendable {
            /// Commands come behind the mssim header: TPM_SEND_COMMAND, locality, length.
            package var commandHeader: Bool
            /// Tell the door, by closing `done` (the request's second descriptor), when the client is gone.
            package init(commandHeader: Bool) { self.commandHeader = commandHeader }
            package init(from reader: inout WireReader) throws(WireError) { commandHeader = try reader.flag() }
            package func encode(to writer: inout WireWriter) { writer.flag(commandHeader) }
        }
        package typealias Reply = Nothing
    }

    /// The largest command and response, in bytes: 0 asks. The reply is the size in force.
    package enum SetBufferSize: Call {
        package static let number: UInt16 = 20
        package static let callers: Caller = [.door]
        package typealias Request = UInt32
        package typealias Reply = UInt32
        package static let smallest: UInt32 = 2 * 1024
        package static let largest: UInt32 = 4096
    }
}
