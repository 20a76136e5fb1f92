// TPM_HANDLE, its types and the permanent handles (Part 2, 7).
import Wire

/// TPM_HANDLE (Part 2, 7.1)
package struct TPMHandle: RawRepresentable, Hashable, Sendable, Comparable {
    /// In bytes.
    package static let size = 4

    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package init(_ rawValue: UInt32) { self.rawValue = rawValue }
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }

    /// TPM_HT (Part 2, 7.2): what the most significant byte says.
    package enum Kind: UInt8, Sendable {
        case pcr = 0x00
        case nvIndex = 0x01
        case hmacSession = 0x02
        case policySession = 0x03
        case permanent = 0x40
        case transient = 0x80
        case persistent = 0x81
    }

    package var kind: Kind? { Kind(rawValue: UInt8(rawValue >> 24)) }
    /// The lower 24 bits.
    package var index: UInt32 { rawValue & 0x00FF_FFFF }
    package init(_ kind: Kind, _ index: UInt32) { rawValue = UInt32(kind.rawValue) << 24 | index & 0x00FF_FFFF }

    // TPM_RH (Part 2, 7.4)
    package static let owner = Self(0x4000_0001)
    package static let null = Self(0x4000_0007)
    package static let unassigned = Self(0x4000_0008)
    /// TPM_RS_PW: the password session
    package static let password = Self(0x4000_0009)
    package static let lockout = Self(0x4000_000A)
    package static let endorsement = Self(0x4000_000B)
    package static let platform = Self(0x4000_000C)
    package static let platformNV = Self(0x4000_000D)

    /// The last handle that TPM_RH_OWNER may make persistent (Part 2, 7.5)
    package static let platformPersistentFirst = Self(0x8180_0000)

    /// The four hierarchies as TPMI_RH_HIERARCHY+ names them.
    package var isHierarchy: Bool {
        switch self {
        case .owner, .endorsement, .platform, .null: true
        default: false
        }
    }
    package var isSession: Bool { kind == .hmacSession || kind == .policySession }
    package var isObject: Bool { kind == .transient || kind == .persistent }
}

extension TPMHandle: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) { rawValue = try reader.u32() }
    package func encode(to writer: inout WireWriter) { writer.u32(rawValue) }
}
