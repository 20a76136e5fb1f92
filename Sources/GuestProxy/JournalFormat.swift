// The state file's layout, and the seal of its records. docs/state-file.md argues why it is so.
//
//   0        header: magic (16) | region size (4) | salt (16) | MAC (16), zeros to the sector's end
//   512      mark: MAC (16), zeros: the file's creation was completed
//   4096     region 0
//   4096+R   region 1
//
// A region is empty (its first sector is zero), or holds a checkpoint, behind it the batches committed since, behind them
// zeros. Both are records, which begin at a slot of 64 bytes:
//
//   length (4) | kind (4) | sequence (8) | nonce (12) | previous record's tag (16) | zeros (4) | MAC of all that (16)
//   AES-256-GCM of the changes, padded with zeros so that the tag (16) ends a slot; associated data: offset and header
//
// Every MAC covers the place where it stands. The header is in one sector, so it is on the medium whole or not at all.
import TPMCrypto
import VirtualTPM
import Wire

/// Where things are in the file, in bytes.
package struct JournalLayout: Equatable, Sendable {
    package let regionSize: Int

    /// More than three times what the largest guest needs (Limits): records of 64 KiB of NV, 64 persistent objects and 64 primaries.
    package static let standard = JournalLayout(regionSize: 1 << 20)

    package init(regionSize: Int) { self.regionSize = regionSize }

    /// What the medium writes whole or not at all.
    package static let sector = 512
    static let headerSize = 4096
    static let mark = sector
    package var fileSize: Int { Self.headerSize + 2 * regionSize }
    package func region(_ index: Int) -> Int { Self.headerSize + index * regionSize }
}

/// The head of a record.
struct RecordHeader {
    enum Kind: UInt32 { case checkpoint = 0x4350_4E54, batch = 0x4241_5443 }

    static let size = 64
    static let tagSize = 16

    /// Bytes of the changes, without padding.
    let length: UInt32
    let kind: Kind
    let sequence: UInt64
    let nonce: [UInt8]
    /// The tag of the record before it: what makes the records a chain.
    let previous: [UInt8]

    /// Bytes from this record's first slot to the next record's.
    var span: Int { Self.span(Int(length)) }

    static func span(_ length: Int) -> Int { (size + length + tagSize + size - 1) / size * size }
}

/// The keys of one file, from the guest's secret and the file's salt.
struct JournalKeys {
    static let saltSize = 16
    private static let magic = Array("paratpm state 1\n".utf8)
    private let macKey: Secret
    private let sealKey: Secret
    let salt: [UInt8]

    init(_ secret: Secret, salt: [UInt8]) {
        self.salt = salt
        macKey = Secret(kdfa(.sha256, key: secret.bytes, label: "STATE MAC", contextU: salt, bits: 256))
        sealKey = Secret(kdfa(.sha256, key: secret.bytes, label: "STATE SEAL", contextU: salt, bits: 256))
    }

    // MARK: The file's header and mark

    /// The first sector.
    func fileHeader(_ layout: JournalLayout) -> [UInt8] {
        var writer = WireWriter(capacity: JournalLayout.sector)
        writer.raw(Self.magic)
        writer.u32(UInt32(layout.regionSize))
        writer.raw(salt)
        return sealedSector(writer.bytes, at: 0)
    }

    /// The second sector.
    func mark() -> [UInt8] { sealedSector([], at: JournalLayout.mark) }

    /// The keys of the file that begins with `sector`.
    /// - Throws: notStateFile, foreign.
    init(_ secret: Secret, fileHeader sector: [UInt8], layout: JournalLayout) throws(JournalError) {
        guard sector.starts(with: Self.magic) else { throw .notStateFile }
        let salt = Self.magic.count + 4
        self.init(secret, salt: Array(sector[salt..<salt + Self.saltSize]))
        guard constantTimeEqual(sector, fileHeader(layout)) else { throw .foreign }
    }

    private func sealedSector(_ content: [UInt8], at offset: Int) -> [UInt8] {
        let sector = content + mac(content, at: offset)
        return sector + [UInt8](repeating: 0, count: JournalLayout.sector - sector.count)
    }

    private func mac(_ bytes: [UInt8], at offset: Int) -> [UInt8] {
        Array(hmac(.sha256, key: macKey.bytes, UInt64(offset).wire, bytes).prefix(RecordHeader.tagSize))
    }

    // MARK: Records

    /// A whole record, as it stands at `offset`.
    func seal(_ changes: [UInt8], _ kind: RecordHeader.Kind, sequence: UInt64, previous: [UInt8], at offset: Int) -> [UInt8] {
        let nonce = randomBytes(12)
        var writer = WireWriter(capacity: RecordHeader.span(changes.count))
        writer.u32(UInt32(changes.count))
        writer.u32(kind.rawValue)
        writer.u64(sequence)
        writer.raw(nonce)
        writer.raw(previous)
        writer.u32(0)
        writer.raw(mac(writer.bytes, at: offset))
        let padding = RecordHeader.span(changes.count) - RecordHeader.size - RecordHeader.tagSize - changes.count
        var padded = changes + [UInt8](repeating: 0, count: padding)
        let header = writer.bytes
        writer.raw(aeadSeal(key: sealKey.bytes, nonce: nonce, associated: UInt64(offset).wire + header, padded))
        wipe(&padded)
        return writer.bytes
    }

    /// The header that stands at `offset` in 64 `bytes`; nil when it is not authentic.
    func header(_ bytes: [UInt8], at offset: Int) -> RecordHeader? {
        guard constantTimeEqual(mac(Array(bytes.dropLast(RecordHeader.tagSize)), at: offset), Array(bytes.suffix(RecordHeader.tagSize)))
        else { return nil }
        var reader = WireReader(bytes)
        guard let length = try? reader.u32(), let kind = RecordHeader.Kind(rawValue: (try? reader.u32()) ?? 0),
            let sequence = try? reader.u64(), let nonce = try? reader.bytes(12),
            let previous = try? reader.bytes(RecordHeader.tagSize)
        else { return nil }
        return RecordHeader(length: length, kind: kind, sequence: sequence, nonce: nonce, previous: previous)
    }

    /// The changes of the whole record `bytes`; nil when they are not authentic.
    func open(_ header: RecordHeader, _ bytes: [UInt8], at offset: Int) -> [UInt8]? {
        let associated = UInt64(offset).wire + bytes.prefix(RecordHeader.size)
        let sealed = Array(bytes.dropFirst(RecordHeader.size))
        return aeadOpen(key: sealKey.bytes, nonce: header.nonce, associated: associated, sealed).map {
            Array($0.prefix(Int(header.length)))
        }
    }
}

/// What one record changes: u8 kind, sized16 id, then 0 (deleted), or 1 and the sized32 value; one after another.
enum ChangeList {
    static func encode(_ changes: [(key: RecordKey, value: [UInt8]?)]) -> [UInt8] {
        var writer = WireWriter()
        for (key, value) in changes {
            writer.u8(key.kind)
            writer.sized16(key.id)
            writer.flag(value != nil)
            if let value { writer.sized32(value) }
        }
        return writer.bytes
    }

    /// Bytes of a checkpoint's list.
    static func size(of records: [RecordKey: [UInt8]]) -> Int {
        records.reduce(0) { $0 + 1 + 2 + $1.key.id.count + 1 + 4 + $1.value.count }
    }

    static func apply(_ bytes: [UInt8], to records: inout [RecordKey: [UInt8]]) throws(WireError) {
        var reader = WireReader(bytes)
        while !reader.isAtEnd {
            let key = RecordKey(kind: try reader.u8(), id: try reader.sized16())
            records[key] = try reader.flag() ? try reader.sized32(max: reader.remaining) : nil
        }
    }
}
