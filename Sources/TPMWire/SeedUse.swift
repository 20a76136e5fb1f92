// What a secret is for that is shared with the holder of an asymmetric key: the label that goes into the exchange.
import Wire

/// The labels of OAEP (Part 1, B.10) and of KDFe (Part 1, C.6) when a seed is exchanged. A seed that was made for one use cannot be
/// recovered for another.
package enum SeedUse: UInt8, CaseIterable, Hashable, Sendable, WireCodable {
    /// The salt of a session (Part 3, 11.1)
    case session = 1
    /// The outer wrapper of a duplicate (Part 3, 13)
    case duplicate = 2
    /// A credential (Part 3, 12.5 and 12.6)
    case identity = 3

    package var label: String {
        switch self {
        case .session: "SECRET"
        case .duplicate: "DUPLICATE"
        case .identity: "IDENTITY"
        }
    }

    /// OAEP's label: its terminating NUL is part of it.
    package var labelBytes: [UInt8] { Array(label.utf8) + [0] }

    package init(from reader: inout WireReader) throws(WireError) {
        guard let use = SeedUse(rawValue: try reader.u8()) else { throw .invalid(0) }
        self = use
    }
    package func encode(to writer: inout WireWriter) { writer.u8(rawValue) }
}
