// TPM_EO (Part 2, 6.8): how PolicyNV, PolicyCounterTimer and PolicyCapability compare.
import Wire

package enum ArithmeticOperation: UInt16, Sendable, CaseIterable {
    case equal = 0x0000
    case notEqual = 0x0001
    case signedGreater = 0x0002
    case unsignedGreater = 0x0003
    case signedLess = 0x0004
    case unsignedLess = 0x0005
    case signedGreaterOrEqual = 0x0006
    case unsignedGreaterOrEqual = 0x0007
    case signedLessOrEqual = 0x0008
    case unsignedLessOrEqual = 0x0009
    /// All bits set in B are set in A.
    case bitSet = 0x000A
    /// All bits set in B are clear in A.
    case bitClear = 0x000B

    /// Whether "A operation B" is true of two big-endian numbers of the same size; empty ones are both 0.
    package func holds(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        guard a.count == b.count else { return false }
        let isLess = a.lexicographicallyPrecedes(b)
        let isGreater = b.lexicographicallyPrecedes(a)
        // The sign is the top bit. As in the reference implementation, two negative numbers are in the order of their magnitudes.
        let isNegative = (a.first ?? 0) & 0x80 != 0 || (b.first ?? 0) & 0x80 != 0
        let (isSignedLess, isSignedGreater) = isNegative ? (isGreater, isLess) : (isLess, isGreater)
        return switch self {
        case .equal: a == b
        case .notEqual: a != b
        case .signedGreater: isSignedGreater
        case .unsignedGreater: isGreater
        case .signedLess: isSignedLess
        case .unsignedLess: isLess
        case .signedGreaterOrEqual: !isSignedLess
        case .unsignedGreaterOrEqual: !isLess
        case .signedLessOrEqual: !isSignedGreater
        case .unsignedLessOrEqual: !isGreater
        case .bitSet: zip(a, b).allSatisfy { $0 & $1 == $1 }
        case .bitClear: zip(a, b).allSatisfy { $0 & $1 == 0 }
        }
    }
}

extension ArithmeticOperation: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        guard let operation = Self(rawValue: try reader.u16()) else { throw .rc(.value) }
        self = operation
    }
    package func encode(to writer: inout WireWriter) { writer.u16(rawValue) }
}
