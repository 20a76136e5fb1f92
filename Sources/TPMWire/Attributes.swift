// The TPMA bit fields (Part 2, 8 and 13.4).
import Wire

/// TPMA_OBJECT (Part 2, 8.3)
package struct ObjectAttributes: OptionSet, Hashable, Sendable, WireCodable {
    package var rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    /// As the standard library's, which is not compiled for this type but looks it up at run time.
    package init(arrayLiteral elements: Self...) { rawValue = elements.reduce(0) { $0 | $1.rawValue } }
    package static let fixedTPM = Self(rawValue: 1 << 1)
    package static let stClear = Self(rawValue: 1 << 2)
    package static let fixedParent = Self(rawValue: 1 << 4)
    package static let sensitiveDataOrigin = Self(rawValue: 1 << 5)
    package static let userWithAuth = Self(rawValue: 1 << 6)
    package static let adminWithPolicy = Self(rawValue: 1 << 7)
    package static let noDA = Self(rawValue: 1 << 10)
    package static let encryptedDuplication = Self(rawValue: 1 << 11)
    package static let restricted = Self(rawValue: 1 << 16)
    package static let decrypt = Self(rawValue: 1 << 17)
    /// sign, or encrypt for a symmetric cipher
    package static let sign = Self(rawValue: 1 << 18)
    package static let x509sign = Self(rawValue: 1 << 19)
    /// What a sealed object has none of.
    package static let keyUses = Self(rawValue: restricted.rawValue | decrypt.rawValue | sign.rawValue)
    private static let defined = UInt32(0x000F_0CF6)

    package init(from reader: inout WireReader) throws(WireError) {
        let raw = try reader.u32()
        guard raw & ~Self.defined == 0 else { throw .rc(.reservedBits) }
        rawValue = raw
    }
    package func encode(to writer: inout WireWriter) { writer.u32(rawValue) }
}

/// TPMA_SESSION (Part 2, 8.4)
package struct SessionAttributes: OptionSet, Hashable, Sendable, WireCodable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// See ObjectAttributes.
    package init(arrayLiteral elements: Self...) { rawValue = elements.reduce(0) { $0 | $1.rawValue } }
    package static let continueSession = Self(rawValue: 1 << 0)
    package static let auditExclusive = Self(rawValue: 1 << 1)
    package static let auditReset = Self(rawValue: 1 << 2)
    package static let decrypt = Self(rawValue: 1 << 5)
    package static let encrypt = Self(rawValue: 1 << 6)
    package static let audit = Self(rawValue: 1 << 7)
    /// A session can encrypt, audit, or both, beside authorizing. (Constants, because lists of options are put together at run time.)
    package static let encryption = Self(rawValue: decrypt.rawValue | encrypt.rawValue)
    package static let uses = Self(rawValue: encryption.rawValue | audit.rawValue)
    package static let onlyOfAudit = Self(rawValue: auditExclusive.rawValue | auditReset.rawValue)
    private static let defined = UInt8(0xE7)

    package init(from reader: inout WireReader) throws(WireError) {
        let raw = try reader.u8()
        guard raw & ~Self.defined == 0 else { throw .rc(.reservedBits) }
        rawValue = raw
    }
    package func encode(to writer: inout WireWriter) { writer.u8(rawValue) }
}

/// TPMA_LOCALITY (Part 2, 8.5): bits 0 to 4 one locality each; above 31 a single extended locality.
package struct LocalityAttributes: RawRepresentable, Hashable, Sendable, WireCodable {
    package var rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    /// 0 to 4
    package static let all = LocalityAttributes(rawValue: 0b11111)
    package var isExtended: Bool { rawValue >= 32 }
    package func allows(_ locality: UInt8) -> Bool {
        isExtended ? rawValue == locality : locality < 5 && rawValue & (1 << locality) != 0
    }
    /// The attribute form of one locality (0 to 4, or 32 and above).
    package init(locality: UInt8) { rawValue = locality < 5 ? 1 << locality : locality }
    package init(from reader: inout WireReader) throws(WireError) { rawValue = try reader.u8() }
    package func encode(to writer: inout WireWriter) { writer.u8(rawValue) }
}

/// TPMA_NV (Part 2, 13.4), without the type in bits 4 to 7
package struct NVAttributes: OptionSet, Hashable, Sendable, WireCodable {
    package var rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package static let ppWrite = Self(rawValue: 1 << 0)
    package static let ownerWrite = Self(rawValue: 1 << 1)
    package static let authWrite = Self(rawValue: 1 << 2)
    package static let policyWrite = Self(rawValue: 1 << 3)
    package static let policyDelete = Self(rawValue: 1 << 10)
    package static let writeLocked = Self(rawValue: 1 << 11)
    package static let writeAll = Self(rawValue: 1 << 12)
    package static let writeDefine = Self(rawValue: 1 << 13)
    package static let writeStClear = Self(rawValue: 1 << 14)
    package static let globalLock = Self(rawValue: 1 << 15)
    package static let ppRead = Self(rawValue: 1 << 16)
    package static let ownerRead = Self(rawValue: 1 << 17)
    package static let authRead = Self(rawValue: 1 << 18)
    package static let policyRead = Self(rawValue: 1 << 19)
    package static let noDA = Self(rawValue: 1 << 25)
    package static let orderly = Self(rawValue: 1 << 26)
    package static let clearStClear = Self(rawValue: 1 << 27)
    package static let readLocked = Self(rawValue: 1 << 28)
    package static let written = Self(rawValue: 1 << 29)
    package static let platformCreate = Self(rawValue: 1 << 30)
    package static let readStClear = Self(rawValue: 1 << 31)
    private static let reserved = UInt32(0x01F0_0300)

    /// TPM_NT (Part 2, 13.2)
    package enum IndexType: UInt32, Sendable {
        case ordinary = 0, counter = 1, bits = 2, extend = 4, pinFail = 8, pinPass = 9
    }
    /// nil for a type that the specification reserves.
    package var indexType: IndexType? {
        get { IndexType(rawValue: rawValue >> 4 & 0xF) }
        set { rawValue = rawValue & ~0xF0 | (newValue ?? .ordinary).rawValue << 4 }
    }

    package init(from reader: inout WireReader) throws(WireError) {
        let raw = try reader.u32()
        guard raw & Self.reserved == 0 else { throw .rc(.reservedBits) }
        rawValue = raw
    }
    package func encode(to writer: inout WireWriter) { writer.u32(rawValue) }
}
