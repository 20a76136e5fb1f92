// The writer that mirrors WireReader.

package struct WireWriter {
    package private(set) var bytes: [UInt8] = []

    package init(capacity: Int = 256) {
        bytes.reserveCapacity(capacity)
    }

    /// What `body` writes.
    package static func bytes(_ body: (inout WireWriter) -> Void) -> [UInt8] {
        var writer = WireWriter()
        body(&writer)
        return writer.bytes
    }

    @inline(__always)
    package mutating func integer<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
        withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func u8(_ value: UInt8) { bytes.append(value) }
    package mutating func u16(_ value: UInt16) { integer(value) }
    package mutating func u32(_ value: UInt32) { integer(value) }
    package mutating func u64(_ value: UInt64) { integer(value) }
    package mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }
    package mutating func raw(_ value: [UInt8]) { bytes.append(contentsOf: value) }
    package mutating func raw(_ value: some Sequence<UInt8>) { bytes.append(contentsOf: value) }

    /// A 16-bit length and the bytes (a TPM2B). What we write ourselves fits: a longer value is our own mistake.
    package mutating func sized16(_ value: [UInt8]) {
        precondition(value.count <= 0xFFFF)
        u16(UInt16(value.count))
        raw(value)
    }

    package mutating func sized32(_ value: [UInt8]) {
        precondition(value.count <= 0xFFFF_FFFF)
        u32(UInt32(value.count))
        raw(value)
    }

    @inlinable package mutating func value(_ value: some WireCodable) { value.encode(to: &self) }

    /// A structure behind its 16-bit size (TPM2B_PUBLIC and its kind).
    package mutating func sized16(_ value: some WireCodable) { sized16(value.wire) }

    /// A 32-bit count and the values (a TPML).
    @inlinable package mutating func list(_ values: [some WireCodable]) {
        u32(UInt32(values.count))
        for value in values { value.encode(to: &self) }
    }
}

// The integers and byte strings that interfaces are made of.
extension UInt8: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    package func encode(to writer: inout WireWriter) { writer.integer(self) }
}
extension UInt16: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    package func encode(to writer: inout WireWriter) { writer.integer(self) }
}
extension UInt32: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    package func encode(to writer: inout WireWriter) { writer.integer(self) }
}
extension UInt64: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) { self = try reader.integer() }
    package func encode(to writer: inout WireWriter) { writer.integer(self) }
}
