// The little of ASN.1's distinguished encoding that certificates need (X.690; Part 1, Annex on X.509 certificates).

enum DER {
    static let integer: UInt8 = 0x02
    static let bitString: UInt8 = 0x03
    static let octetString: UInt8 = 0x04
    static let objectIdentifier: UInt8 = 0x06
    static let sequence: UInt8 = 0x30
    static let null: [UInt8] = [0x05, 0x00]
    /// [number], constructed
    static func context(_ number: UInt8) -> UInt8 { 0xA0 | number }

    /// Tag and length of contents; at most 65535 bytes.
    static func header(_ tag: UInt8, count: Int) -> [UInt8] {
        switch count {
        case ..<0x80: [tag, UInt8(count)]
        case ..<0x100: [tag, 0x81, UInt8(count)]
        default: [tag, 0x82, UInt8(truncatingIfNeeded: count >> 8), UInt8(truncatingIfNeeded: count)]
        }
    }

    static func element(_ tag: UInt8, _ contents: [UInt8]...) -> [UInt8] {
        let contents = contents.flatMap { $0 }
        return header(tag, count: contents.count) + contents
    }

    /// A number that is not negative, from its big-endian bytes.
    static func number(_ bytes: [UInt8]) -> [UInt8] {
        let significant = bytes.drop { $0 == 0 }
        guard let first = significant.first else { return element(integer, [0]) }
        return element(integer, (first & 0x80 != 0 ? [0] : []) + significant)
    }

    /// - Parameter body: the encoded arcs.
    static func identifier(_ body: [UInt8]) -> [UInt8] { element(objectIdentifier, body) }

    /// Reads elements one behind the other, each within the bounds of its parent.
    struct Reader {
        private let bytes: ArraySlice<UInt8>
        private(set) var rest: ArraySlice<UInt8>

        init(_ bytes: ArraySlice<UInt8>) {
            self.bytes = bytes
            rest = bytes
        }

        struct Element {
            let tag: UInt8
            let contents: ArraySlice<UInt8>
            /// Tag, length and contents
            let whole: ArraySlice<UInt8>
        }

        /// nil where no whole element stands: lengths of more than two bytes and long tags are not taken.
        mutating func next() -> Element? {
            let start = rest.startIndex
            guard let tag = rest.popFirst(), tag & 0x1F != 0x1F, let first = rest.popFirst() else { return nil }
            var count = Int(first)
            switch first {
            case ..<0x80: break
            case 0x81:
                guard let low = rest.popFirst() else { return nil }
                count = Int(low)
            case 0x82:
                guard let high = rest.popFirst(), high < 0x80, let low = rest.popFirst() else { return nil }
                count = Int(high) << 8 | Int(low)
            default: return nil
            }
            guard count <= rest.count else { return nil }
            let end = rest.startIndex + count
            defer { rest = rest[end...] }
            return Element(tag: tag, contents: rest[..<end], whole: bytes[start..<end])
        }
    }
}
