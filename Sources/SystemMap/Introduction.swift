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

    /// A channel with a proxy's rights, bound to the door's guest. The reply brings its descriptor; paratpm-pcr and
    /// paratpm-policy add a second: the guest's vPCRs and its policy, each a page for reading; and paratpm-pcr a third, for
    /// PCRCalls.PostedExtend.
    package enum OpenProxyChannel: Call {
        package static let number: UInt16 = 3
        package static let callers: Caller = [.door]
        package typealias Request = Nothing
        package typealias Reply = Nothing

        package static func descriptors(of service: ServiceName) -> Int {
            switch service {
            case .device: 1
            case .policy: 2
            case .pcr: 3
            }
        }
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

/// What a service says to an administrator about its guests, a page at a time: those whose ids follow the request's, in order.
package struct GuestReports: WireCodable, Sendable {
    package var guests: [(id: GuestID, lines: StatusReport)]
    /// Whether there are more behind the last one.
    package var hasMore: Bool
    /// So many fit a message, with lines of `linesMax` bytes each.
    package static let pageSize = 32
    private static let linesMax = 400

    /// - Parameters:
    ///   - ids: all that the service knows.
    ///   - former: the last id of the page before; empty: the first page.
    package init(_ ids: some Sequence<GuestID>, after former: [UInt8], _ lines: (GuestID) -> [(key: String, value: String)]) {
        let rest = ids.filter { former.lexicographicallyPrecedes($0.bytes) }.sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
        guests = rest.prefix(Self.pageSize).map { id in
            let report = StatusReport(lines(id))
            return (id, report.wire.count <= Self.linesMax ? report : StatusReport([]))
        }
        hasMore = rest.count > Self.pageSize
    }
    package init(from reader: inout WireReader) throws(WireError) {
        hasMore = try reader.flag()
        guests = []
        for _ in 0..<min(Int(try reader.u8()), Self.pageSize) {
            guard let id = GuestID(try reader.bytes(GuestID.size)) else { throw .invalid(0) }
            guests.append((id, try reader.value()))
        }
    }
    package func encode(to writer: inout WireWriter) {
        writer.flag(hasMore)
        writer.u8(UInt8(guests.count))
        for (id, lines) in guests {
            writer.raw(id.bytes)
            writer.value(lines)
        }
    }
}

/// What paratpm-device and paratpm-pcr know of each guest.
package enum GuestStatusCall: Call {
    package static let number: UInt16 = 6
    package static let callers: Caller = [.admin]
    package static let repeatable = true
    /// The last id of the page before.
    package typealias Request = Blob
    package typealias Reply = GuestReports
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
