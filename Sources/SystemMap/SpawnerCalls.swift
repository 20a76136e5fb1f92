// What a door tells its spawner, over the socket pair between them. The spawner answers each call; it never calls.
import IPC
import Wire

package enum SpawnerCalls {
    /// Starts a proxy. The request brings the descriptors that it is born with, in the order of ProxyCalls.Inherited.
    package enum Start: Call {
        package static let number: UInt16 = 32
        package static let callers: Caller = [.door]
        package typealias Request = Nothing
        /// The proxy's pid.
        package typealias Reply = UInt32
    }

    /// Ends a proxy, however it does.
    package enum Bury: Call {
        package static let number: UInt16 = 33
        package static let callers: Caller = [.door]
        package struct Request: WireCodable, Sendable {
            package var pid: UInt32
            /// It is dying already: its own end is waited for a little.
            package var isDying: Bool
            package init(pid: UInt32, isDying: Bool) {
                self.pid = pid
                self.isDying = isDying
            }
            package init(from reader: inout WireReader) throws(WireError) {
                pid = try reader.u32()
                isDying = try reader.flag()
            }
            package func encode(to writer: inout WireWriter) {
                writer.u32(pid)
                writer.flag(isDying)
            }
        }
        /// The status of wait(2).
        package typealias Reply = UInt32
    }
}
