// How a door introduces itself to a service, and asks for its proxy's channel: the same calls at every service.
import IPC
import Wire

package enum Introduction {
    /// What the door signs, behind the service's name, the challenge and the guest's id.
    package static let domain = "paratpm door v1"
    package static let challengeSize = 32

    /// "I am the door of this guest": answered by a challenge, whether or not the guest exists.
    package enum Hello: Call {
        package static let number: UInt16 = 1
        package static let callers: Caller = [.stranger]
        package struct Request: WireCodable, Sendable {
            package var name: String
            package init(name: String) { self.name = name }
            package init(from reader: inout WireReader) throws(WireError) {
                name = try reader.text(max: 63)
            }
            package func encode(to writer: inout WireWriter) { writer.sized16(Array(name.utf8)) }
        }
        package typealias Reply = Blob
    }

    /// The Ed25519 signature of the challenge. From its success on, the connection is the door's.
    package enum Prove: Call {
        package static let number: UInt16 = 2
        package static let callers: Caller = [.stranger]
        package typealias Request = Blob
        package typealias Reply = Nothing
    }

    /// A channel with a proxy's rights, bound to the door's guest. The reply brings its descriptor; paratpm-pcr adds a
    /// second, the guest's vPCR page for reading.
    package enum OpenProxyChannel: Call {
        package static let number: UInt16 = 3
        package static let callers: Caller = [.door]
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    /// The message that Prove signs.
    package static func message(service: ServiceName, challenge: [UInt8], guest: GuestID) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16(Array(domain.utf8))
        writer.sized16(Array(service.rawValue.utf8))
        writer.sized16(challenge)
        writer.sized16(guest.bytes)
        return writer.bytes
    }
}

/// What a service answers an administrator: lines of "key", "value".
package struct StatusReport: WireCodable, Sendable {
    package var lines: [(key: String, value: String)]
    package init(_ lines: [(key: String, value: String)]) { self.lines = lines }
    package init(from reader: inout WireReader) throws(WireError) {
        let count = try reader.u16()
        lines = []
        for _ in 0..<min(count, 1024) {
            let key = String(decoding: try reader.sized16(max: 256), as: UTF8.self)
            lines.append((key, String(decoding: try reader.sized16(max: 4096), as: UTF8.self)))
        }
    }
    package func encode(to writer: inout WireWriter) {
        let sent = lines.prefix(1024)
        writer.u16(UInt16(sent.count))
        for (key, value) in sent {
            writer.sized16(Array(key.utf8.prefix(256)))
            writer.sized16(Array(value.utf8.prefix(4096)))
        }
    }
}

/// Every service's word to an administrator.
package enum StatusCall: Call {
    package static let number: UInt16 = 4
    package static let callers: Caller = [.admin]
    package static let repeatable = true
    package typealias Request = Nothing
    package typealias Reply = StatusReport
}

/// An administrator's word to every service: the compiled policy has changed. It takes effect as a whole, or not at all
/// (CallStatus.malformed: the file is none of this version, and the old policy stays in force).
package enum ReloadPolicyCall: Call {
    package static let number: UInt16 = 5
    package static let callers: Caller = [.admin]
    package static let repeatable = true
    package typealias Request = Nothing
    /// How many values changed.
    package typealias Reply = UInt32
}
