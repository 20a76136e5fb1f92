// The writer that mirrors WireReader.

public struct WireWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 256) {
        bytes.reserveCapacity(capacity)
    }

    /// What `body` writes.
    @inlinable public static func bytes(_ body: (inout WireWriter) -> Void) -> [UInt8] {
        var writer = WireWriter()
        body(&writer)
        return writer.bytes
    }

    @inline(__always)
    public mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    public mutating func u8(_ value: UInt8) { bytes.append(value) }
    public mutating func u16(_ value: UInt16) { integer(value) }
    public mutating func u32(_ value: UInt32) { integer(value) }
    public mutating func u64(_ value: UInt64) { integer(value) }
    public mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }
    public mutating func raw(_ value: [UInt8]) { bytes.append(contentsOf: value) }
    public mutating func raw(_ value: some Sequence<UInt8>) { bytes.append(contentsOf: value) }
    public mutating func raw(_ value: UnsafeRawBufferPointer) { bytes.append(contentsOf: value) }

    /// A 16-bit length and the bytes (a TPM2B). What we write ourselves fits: a longer value is our own mistake.
    public mutating func sized16(_ value: [UInt8]) {
        precondition(value.count <= 0xFFFF)
        u16(UInt16(value.count))
        raw(value)
    }

    public mutating func sized32(_ value: [UInt8]) {
        precondition(value.count <= 0xFFFF_FFFF)
        u32(UInt32(value.count))
        raw(value)
    }

    @inlinable public mutating func value(_ value: some WireCodable) { value.encode(to: &self) }

    /// A structure behind its 16-bit size (TPM2B_PUBLIC and its kind).
    @inlinable public mutating func sized16(_ value: some WireCodable) { sized16(value.wire) }

    /// A 32-bit count and the values (a TPML).
    @inlinable public mutating func list(_ values: [some WireCodable]) {
        u32(UInt32(values.count))
        for value in values { value.encode(to: &self) }
    }
}

extension WireCodable where Self: FixedWidthInteger {
    /// Big-endian; without a writer.
    @inlinable public var wire: [UInt8] { withUnsafeBytes(of: bigEndian) { Array($0) } }
}

// The integers and byte strings that interfaces are made of.
extension UInt8: WireCodable {
    public init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    public func encode(to writer: inout WireWriter) { writer.integer(self) }
}
extension UInt16: WireCodable {
    public init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    public func encode(to writer: inout WireWriter) { writer.integer(self) }
}
extension UInt32: WireCodable {
    public init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    public func encode(to writer: inout WireWriter) { writer.integer(self) }
}
extension UInt64: WireCodable {
    public init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    public func encode(to writer: inout WireWriter) { writer.integer(self) }
}
