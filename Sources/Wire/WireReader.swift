// A bounds-checked, big-endian cursor over received bytes, and the errors every decoder shares.

/// What can be wrong with bytes from outside. One closed set for all protocols of the house.
public enum WireError: Error, Equatable {
    /// The message ends before the value does.
    case truncated
    /// A size or count field is larger than the type allows.
    case oversized
    /// Bytes are left over after the last field.
    case leftover
    /// The value is outside its type. The number is the protocol's own word for it:
    /// a TPM response code in TPMWire, 0 elsewhere.
    case invalid(UInt32)
}

/// A type with one wire form: fields in wire order, decode mirrors encode.
public protocol WireCodable {
    init(from reader: inout WireReader) throws(WireError)
    func encode(to writer: inout WireWriter)
}

public struct WireReader: Sendable {
    private let bytes: [UInt8]
    /// Index of the next unread byte.
    public private(set) var offset: Int
    private let end: Int
    /// Values that decoders answer as they answer unknown ones: one bit each, by the protocol's own numbering.
    public var absent: UInt32 = 0
    /// Those of them that came.
    public private(set) var met: UInt32 = 0

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
        offset = 0
        end = bytes.count
    }

    public init(_ slice: ArraySlice<UInt8>) {
        self.init(Array(slice))
    }

    public var remaining: Int { end - offset }
    public var isAtEnd: Bool { offset == end }

    /// An unsigned integer of its own width, big-endian.
    @inline(__always)
    public mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_: T.Type = T.self) throws(WireError) -> T {
        let width = T.bitWidth / 8
        guard remaining >= width else { throw .truncated }
        var value: T = 0
        for i in 0..<width {
            value = (width == 1 ? 0 : value << 8) | T(truncatingIfNeeded: bytes[offset + i])
        }
        offset += width
        return value
    }

    public mutating func u8() throws(WireError) -> UInt8 { try integer() }
    public mutating func u16() throws(WireError) -> UInt16 { try integer() }
    public mutating func u32() throws(WireError) -> UInt32 { try integer() }
    public mutating func u64() throws(WireError) -> UInt64 { try integer() }

    /// A byte that must be 0 or 1.
    public mutating func flag() throws(WireError) -> Bool {
        switch try u8() {
        case 0: false
        case 1: true
        default: throw .invalid(0)
        }
    }

    public mutating func bytes(_ count: Int) throws(WireError) -> [UInt8] {
        guard count >= 0, remaining >= count else { throw .truncated }
        defer { offset += count }
        return Array(bytes[offset..<offset + count])
    }

    /// A 16-bit length and that many bytes (a TPM2B).
    /// - Parameter max: the most that the type allows; more is `oversized`, whatever follows.
    public mutating func sized16(max: Int = 0xFFFF) throws(WireError) -> [UInt8] {
        let size = Int(try u16())
        guard size <= max else { throw .oversized }
        return try bytes(size)
    }

    /// A 16-bit length and that many bytes of UTF-8.
    public mutating func text(max: Int) throws(WireError) -> String {
        guard let text = String(validating: try sized16(max: max), as: UTF8.self) else { throw .invalid(0) }
        return text
    }

    /// A 32-bit length and that many bytes.
    public mutating func sized32(max: Int) throws(WireError) -> [UInt8] {
        let size = Int(try u32())
        guard size <= max else { throw .oversized }
        return try bytes(size)
    }

    @inlinable public mutating func value<T: WireCodable>(_: T.Type = T.self) throws(WireError) -> T {
        try T(from: &self)
    }

    /// A 32-bit count and that many values (a TPML).
    @inlinable public mutating func list<T: WireCodable>(_: T.Type = T.self, max: Int) throws(WireError) -> [T] {
        let count = Int(try u32())
        guard count <= max else { throw .oversized }
        var values: [T] = []
        // Most lists are short, and a long one may be no list at all.
        values.reserveCapacity(min(count, 8))
        for _ in 0..<count { values.append(try T(from: &self)) }
        return values
    }

    /// Whether a value is one that is there; its bit is 0 where it is always.
    public mutating func knows(_ bit: UInt32) -> Bool {
        met |= bit & absent
        return bit & absent == 0
    }

    /// Everything not yet read.
    public mutating func rest() -> [UInt8] {
        defer { offset = end }
        return Array(bytes[offset..<end])
    }

    /// Every message is consumed whole: anything left over is an error.
    public func finish() throws(WireError) {
        guard isAtEnd else { throw .leftover }
    }
}

extension WireCodable {
    /// Decodes a value that fills `bytes` exactly.
    @inlinable public init(wire bytes: [UInt8]) throws(WireError) {
        var reader = WireReader(bytes)
        self = try Self(from: &reader)
        try reader.finish()
    }

    /// The value's wire form.
    @inlinable public var wire: [UInt8] {
        var writer = WireWriter()
        encode(to: &writer)
        return writer.bytes
    }
}
