// Digests, tickets, creation data, attestations, NV public areas (Part 2, 10 to 15).
import Wire

/// TPMT_HA (Part 2, 10.3.2): an algorithm and its digest.
package struct TaggedDigest: Hashable, Sendable, WireCodable {
    package var hash: HashAlgorithm
    package var digest: [UInt8]
    package init(_ hash: HashAlgorithm, _ digest: [UInt8]) {
        self.hash = hash
        self.digest = digest
    }
    package init(from reader: inout WireReader) throws(WireError) {
        hash = try reader.value()
        digest = try reader.bytes(hash.digestSize)
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(hash)
        writer.raw(digest)
    }
}

/// TPM_ST (Part 2, 6.9)
package enum StructureTag {
    package static let noSessions: UInt16 = 0x8001
    package static let sessions: UInt16 = 0x8002
    package static let attestNV: UInt16 = 0x8014
    package static let attestCommandAudit: UInt16 = 0x8015
    package static let attestSessionAudit: UInt16 = 0x8016
    package static let attestCertify: UInt16 = 0x8017
    package static let attestQuote: UInt16 = 0x8018
    package static let attestTime: UInt16 = 0x8019
    package static let attestCreation: UInt16 = 0x801A
    package static let attestNVDigest: UInt16 = 0x801C
    package static let creation: UInt16 = 0x8021
    package static let verified: UInt16 = 0x8022
    package static let authSecret: UInt16 = 0x8023
    package static let hashCheck: UInt16 = 0x8024
    package static let authSigned: UInt16 = 0x8025
    package static let fuManifest: UInt16 = 0x8029

    /// Whether the number is a TPM_ST at all.
    package static func isDefined(_ tag: UInt16) -> Bool {
        switch tag {
        case 0x00C4, 0x8000, noSessions, sessions, attestNV...attestCreation, attestNVDigest, creation...authSigned, fuManifest: true
        default: false
        }
    }
}

/// TPMT_TK_CREATION, TPMT_TK_VERIFIED, TPMT_TK_AUTH, TPMT_TK_HASHCHECK (Part 2, 10.7): one shape.
package struct Ticket: Hashable, Sendable, WireCodable {
    package var tag: UInt16
    package var hierarchy: TPMHandle
    package var digest: [UInt8]

    package init(tag: UInt16, hierarchy: TPMHandle, digest: [UInt8]) {
        self.tag = tag
        self.hierarchy = hierarchy
        self.digest = digest
    }
    /// The NULL ticket of a kind (Part 2, 10.7.2).
    package static func null(_ tag: UInt16) -> Ticket { Ticket(tag: tag, hierarchy: .null, digest: []) }

    package init(from reader: inout WireReader) throws(WireError) {
        tag = try reader.u16()
        guard (StructureTag.creation...StructureTag.authSigned).contains(tag) else { throw .rc(.tag) }
        hierarchy = try reader.value()
        guard hierarchy.isHierarchy else { throw .rc(.value) }
        digest = try reader.sized16(max: HashAlgorithm.largestDigest)
    }
    package func encode(to writer: inout WireWriter) {
        writer.u16(tag)
        writer.value(hierarchy)
        writer.sized16(digest)
    }
}

/// TPMS_CLOCK_INFO (Part 2, 10.11.1): clock in milliseconds.
package struct ClockInfo: Hashable, Sendable, WireCodable {
    package var clock: UInt64
    package var resetCount: UInt32
    package var restartCount: UInt32
    package var safe: Bool
    package init(clock: UInt64, resetCount: UInt32, restartCount: UInt32, safe: Bool) {
        self.clock = clock
        self.resetCount = resetCount
        self.restartCount = restartCount
        self.safe = safe
    }
    package init(from reader: inout WireReader) throws(WireError) {
        clock = try reader.u64()
        resetCount = try reader.u32()
        restartCount = try reader.u32()
        safe = try reader.flag()
    }
    package func encode(to writer: inout WireWriter) {
        writer.u64(clock)
        writer.u32(resetCount)
        writer.u32(restartCount)
        writer.flag(safe)
    }
}

/// TPMS_CREATION_DATA (Part 2, 15.1)
package struct CreationData: Sendable, WireCodable {
    package var pcrSelect: [PCRSelection]
    package var pcrDigest: [UInt8]
    package var locality: LocalityAttributes
    /// TPM_ALG_NULL when the parent is a hierarchy
    package var parentNameAlgorithm: HashAlgorithm?
    package var parentName: [UInt8]
    package var parentQualifiedName: [UInt8]
    package var outsideInfo: [UInt8]

    package init(
        pcrSelect: [PCRSelection], pcrDigest: [UInt8], locality: LocalityAttributes, parentNameAlgorithm: HashAlgorithm?,
        parentName: [UInt8], parentQualifiedName: [UInt8], outsideInfo: [UInt8]
    ) {
        self.pcrSelect = pcrSelect
        self.pcrDigest = pcrDigest
        self.locality = locality
        self.parentNameAlgorithm = parentNameAlgorithm
        self.parentName = parentName
        self.parentQualifiedName = parentQualifiedName
        self.outsideInfo = outsideInfo
    }
    package init(from reader: inout WireReader) throws(WireError) {
        pcrSelect = try reader.list(max: PCRSelection.listMax)
        pcrDigest = try reader.sized16(max: HashAlgorithm.largestDigest)
        locality = try reader.value()
        parentNameAlgorithm = try reader.hashOrNull()
        parentName = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
        parentQualifiedName = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
        outsideInfo = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
    }
    package func encode(to writer: inout WireWriter) {
        writer.list(pcrSelect)
        writer.sized16(pcrDigest)
        writer.value(locality)
        writer.hashOrNull(parentNameAlgorithm)
        writer.sized16(parentName)
        writer.sized16(parentQualifiedName)
        writer.sized16(outsideInfo)
    }
}

/// TPMS_ATTEST (Part 2, 10.12.8), written only: its magic is what no outside data may start with.
package struct Attestation: Sendable {
    /// TPM_GENERATED_VALUE: "\xFFTCG"
    package static let magic: UInt32 = 0xFF54_4347
    package var qualifiedSigner: [UInt8]
    package var extraData: [UInt8]
    package var clockInfo: ClockInfo
    package var firmwareVersion: UInt64
    package var attested: Attested

    /// TPMU_ATTEST (Part 2, 10.12.7)
    package enum Attested: Sendable {
        case quote(selection: [PCRSelection], digest: [UInt8])
        case certify(name: [UInt8], qualifiedName: [UInt8])
        case creation(objectName: [UInt8], creationHash: [UInt8])
        case time(time: UInt64, clockInfo: ClockInfo, firmwareVersion: UInt64)
        case sessionAudit(exclusive: Bool, digest: [UInt8])
        case commandAudit(counter: UInt64, algorithm: HashAlgorithm, auditDigest: [UInt8], commandDigest: [UInt8])
        case nv(indexName: [UInt8], offset: UInt16, contents: [UInt8])
        case nvDigest(indexName: [UInt8], digest: [UInt8])

        package var tag: UInt16 {
            switch self {
            case .quote: StructureTag.attestQuote
            case .certify: StructureTag.attestCertify
            case .creation: StructureTag.attestCreation
            case .time: StructureTag.attestTime
            case .sessionAudit: StructureTag.attestSessionAudit
            case .commandAudit: StructureTag.attestCommandAudit
            case .nv: StructureTag.attestNV
            case .nvDigest: StructureTag.attestNVDigest
            }
        }
    }

    /// Whether data begin as what the TPM itself says begins (Part 1, 31.4).
    package static func isImitated(by data: [UInt8]) -> Bool { data.starts(with: magic.wire) }

    package init(qualifiedSigner: [UInt8], extraData: [UInt8], clockInfo: ClockInfo, firmwareVersion: UInt64, attested: Attested) {
        self.qualifiedSigner = qualifiedSigner
        self.extraData = extraData
        self.clockInfo = clockInfo
        self.firmwareVersion = firmwareVersion
        self.attested = attested
    }

    package var wire: [UInt8] {
        Self.wire(
            tag: attested.tag, qualifiedSigner: qualifiedSigner, extraData: extraData, clockInfo: clockInfo,
            firmwareVersion: firmwareVersion, body: attested.body)
    }

    /// - Parameter body: TPMU_ATTEST.
    package static func wire(
        tag: UInt16, qualifiedSigner: [UInt8], extraData: [UInt8], clockInfo: ClockInfo, firmwareVersion: UInt64, body: [UInt8]
    ) -> [UInt8] {
        var writer = WireWriter()
        writer.u32(magic)
        writer.u16(tag)
        writer.sized16(qualifiedSigner)
        writer.sized16(extraData)
        writer.value(clockInfo)
        writer.u64(firmwareVersion)
        writer.raw(body)
        return writer.bytes
    }
}

extension Attestation.Attested {
    package var body: [UInt8] {
        var writer = WireWriter()
        switch self {
        case .quote(let selection, let digest):
            writer.list(selection)
            writer.sized16(digest)
        case .certify(let name, let qualifiedName):
            writer.sized16(name)
            writer.sized16(qualifiedName)
        case .creation(let name, let hash):
            writer.sized16(name)
            writer.sized16(hash)
        case .time(let time, let clockInfo, let firmware):
            writer.u64(time)
            writer.value(clockInfo)
            writer.u64(firmware)
        case .sessionAudit(let exclusive, let digest):
            writer.flag(exclusive)
            writer.sized16(digest)
        case .commandAudit(let counter, let algorithm, let auditDigest, let commandDigest):
            writer.u64(counter)
            writer.value(algorithm)
            writer.sized16(auditDigest)
            writer.sized16(commandDigest)
        case .nv(let name, let offset, let contents):
            writer.sized16(name)
            writer.u16(offset)
            writer.sized16(contents)
        case .nvDigest(let name, let digest):
            writer.sized16(name)
            writer.sized16(digest)
        }
        return writer.bytes
    }
}

/// TPMS_NV_PUBLIC (Part 2, 13.5)
package struct NVPublic: Hashable, Sendable, WireCodable {
    package var index: TPMHandle
    package var nameAlgorithm: HashAlgorithm
    package var attributes: NVAttributes
    package var authPolicy: [UInt8]
    package var dataSize: UInt16
    /// MAX_NV_INDEX_SIZE: the largest data area, in bytes
    package static let dataMax = 2048

    package init(index: TPMHandle, nameAlgorithm: HashAlgorithm, attributes: NVAttributes, authPolicy: [UInt8], dataSize: UInt16) {
        self.index = index
        self.nameAlgorithm = nameAlgorithm
        self.attributes = attributes
        self.authPolicy = authPolicy
        self.dataSize = dataSize
    }
    package init(from reader: inout WireReader) throws(WireError) {
        index = try reader.value()
        guard index.kind == .nvIndex else { throw .rc(.value) }
        nameAlgorithm = try reader.value()
        attributes = try reader.value()
        authPolicy = try reader.sized16(max: HashAlgorithm.largestDigest)
        dataSize = try reader.u16()
        guard Int(dataSize) <= Self.dataMax else { throw .rc(.size) }
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(index)
        writer.value(nameAlgorithm)
        writer.value(attributes)
        writer.sized16(authPolicy)
        writer.u16(dataSize)
    }
}

/// TPMS_CONTEXT (Part 2, 14.5)
package struct SavedContext: Sendable, WireCodable {
    package var sequence: UInt64
    package var savedHandle: TPMHandle
    package var hierarchy: TPMHandle
    package var blob: [UInt8]
    /// MAX_CONTEXT_SIZE, as the PC Client profile's clients expect it
    package static let blobMax = 4096 - 18

    package init(sequence: UInt64, savedHandle: TPMHandle, hierarchy: TPMHandle, blob: [UInt8]) {
        self.sequence = sequence
        self.savedHandle = savedHandle
        self.hierarchy = hierarchy
        self.blob = blob
    }
    package init(from reader: inout WireReader) throws(WireError) {
        sequence = try reader.u64()
        savedHandle = try reader.value()
        guard savedHandle.isSession || savedHandle.kind == .transient else { throw .rc(.value) }
        hierarchy = try reader.value()
        guard hierarchy.isHierarchy else { throw .rc(.value) }
        blob = try reader.sized16(max: Self.blobMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.u64(sequence)
        writer.value(savedHandle)
        writer.value(hierarchy)
        writer.sized16(blob)
    }
}
