// The little of ASN.1's distinguished encoding that certificates need (X.690; Part 1, Annex on X.509 certificates).

package enum DER {
    package static let integer: UInt8 = 0x02
    package static let bitString: UInt8 = 0x03
    package static let octetString: UInt8 = 0x04
    package static let utf8String: UInt8 = 0x0C
    package static let utcTime: UInt8 = 0x17
    package static let generalizedTime: UInt8 = 0x18
    package static let set: UInt8 = 0x31
    package static let yes: [UInt8] = [0x01, 0x01, 0xFF]
    package static let objectIdentifier: UInt8 = 0x06
    package static let sequence: UInt8 = 0x30
    package static let null: [UInt8] = [0x05, 0x00]
    /// [number], constructed
    package static func context(_ number: UInt8) -> UInt8 { 0xA0 | number }

    /// Tag and length of contents; at most 2^24 - 1 bytes.
    package static func header(_ tag: UInt8, count: Int) -> [UInt8] {
        switch count {
        case ..<0x80: [tag, UInt8(count)]
        case ..<0x100: [tag, 0x81, UInt8(count)]
        case ..<0x10000: [tag, 0x82, UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
        default:
            [tag, 0x83, UInt8(truncatingIfNeeded: count >> 16), UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
        }
    }

    package static func element(_ tag: UInt8, _ contents: [UInt8]...) -> [UInt8] {
        let contents = contents.flatMap { $0 }
        return header(tag, count: contents.count) + contents
    }

    /// A number that is not negative, from its big-endian bytes.
    package static func number(_ bytes: [UInt8]) -> [UInt8] {
        let significant = bytes.drop { $0 == 0 }
        guard let first = significant.first else { return element(integer, [0]) }
        return element(integer, (first & 0x80 != 0 ? [0] : []) + significant)
    }

    /// - Parameter body: the encoded arcs.
    package static func identifier(_ body: [UInt8]) -> [UInt8] { element(objectIdentifier, body) }

    /// Reads elements one behind the other, each within the bounds of its parent.
    package struct Reader {
        private let bytes: ArraySlice<UInt8>
        package private(set) var rest: ArraySlice<UInt8>

        package init(_ bytes: ArraySlice<UInt8>) {
            self.bytes = bytes
            rest = bytes
        }

        package struct Element {
            package let tag: UInt8
            package let contents: ArraySlice<UInt8>
            /// Tag, length and contents
            package let whole: ArraySlice<UInt8>
        }

        /// nil where no whole element stands: lengths of more than three bytes and long tags are not taken.
        package mutating func next() -> Element? {
            let start = rest.startIndex
            guard let tag = rest.popFirst(), tag & 0x1F != 0x1F, let first = rest.popFirst() else { return nil }
            var count = Int(first)
            if first >= 0x80 {
                let size = Int(first & 0x7F)
                guard (1...3).contains(size), rest.count >= size else { return nil }
                count = rest.prefix(size).reduce(0) { $0 << 8 | Int($1) }
                rest = rest.dropFirst(size)
            }
            guard count <= rest.count else { return nil }
            let end = rest.startIndex + count
            defer { rest = rest[end...] }
            return Element(tag: tag, contents: rest[..<end], whole: bytes[start..<end])
        }
    }
}
