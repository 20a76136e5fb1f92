// The wire form of a policy step: a number for the command, then what it carries.
import TPMWire
import Wire

extension PolicyStep: WireCodable {
    private static let digestMax = HashAlgorithm.largestDigest
    private static let nameMax = 2 + HashAlgorithm.largestDigest

    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 0: self = .restart
        case 1: self = .pcr(expected: try reader.sized16(max: Self.digestMax), selection: try reader.list(max: PCRSelection.listMax))
        case 2: self = .authValue
        case 3: self = .password
        case 4: self = .commandCode(try reader.value())
        case 5: self = .or(try Self.branches(&reader))
        case 6:
            self = .secret(
                entityName: try reader.sized16(max: Self.nameMax), ticket: try reader.flag() ? try reader.value() : nil,
                try reader.value())
        case 7: self = .signed(key: try reader.value(), try reader.value(), ticket: try reader.value(), try reader.value())
        case 8:
            self = .ticket(
                try reader.value(), proofDigest: try reader.bytes(TicketHierarchy.proofDigestSize),
                timeout: try reader.sized16(max: Self.digestMax), entityName: try reader.sized16(max: Self.nameMax),
                try reader.value())
        case 9: self = .locality(try reader.value())
        case 10: self = .physicalPresence
        case 11:
            guard let binding = PolicyBinding(rawValue: try reader.u8()) else { throw .invalid(0) }
            self = .bind(binding, try reader.sized16(max: Self.digestMax))
        case 12:
            self = .duplicationSelect(
                objectName: try reader.sized16(max: Self.nameMax), newParentName: try reader.sized16(max: Self.nameMax),
                includeObject: try reader.flag())
        case 13:
            self = .authorize(
                approvedPolicy: try reader.sized16(max: Self.digestMax), policyRef: try reader.sized16(max: Self.digestMax),
                keyName: try reader.sized16(max: Self.nameMax), try reader.value(),
                proofDigest: try reader.bytes(TicketHierarchy.proofDigestSize))
        case 14: self = .nvWritten(try reader.flag())
        case 15:
            self = .nv(
                indexName: try reader.sized16(max: Self.nameMax), actual: try reader.sized16(max: Self.digestMax), try reader.value())
        case 16: self = .counterTimer(actual: try reader.sized16(max: Self.digestMax), try reader.value())
        case 17:
            self = .capability(
                try reader.u32(), property: try reader.u32(),
                actual: try reader.flag() ? try reader.sized16(max: Self.digestMax) : nil, try reader.value())
        case 18:
            self = .authorizeNV(
                indexName: try reader.sized16(max: Self.nameMax), approved: try reader.flag() ? try reader.value() : nil)
        default: throw .invalid(0)
        }
    }

    private static func branches(_ reader: inout WireReader) throws(WireError) -> [[UInt8]] {
        let count = try reader.u8()
        guard count <= orMax else { throw .oversized }
        var digests: [[UInt8]] = []
        for _ in 0..<count { digests.append(try reader.sized16(max: digestMax)) }
        return digests
    }

    package func encode(to writer: inout WireWriter) {
        switch self {
        case .restart: writer.u8(0)
        case .pcr(let expected, let selection):
            writer.u8(1)
            writer.sized16(expected)
            writer.list(selection)
        case .authValue: writer.u8(2)
        case .password: writer.u8(3)
        case .commandCode(let code):
            writer.u8(4)
            writer.value(code)
        case .or(let digests):
            writer.u8(5)
            writer.u8(UInt8(digests.count))
            for digest in digests { writer.sized16(digest) }
        case .locality(let locality):
            writer.u8(9)
            writer.value(locality)
        case .physicalPresence: writer.u8(10)
        case .bind(let binding, let digest):
            writer.u8(11)
            writer.u8(binding.rawValue)
            writer.sized16(digest)
        case .duplicationSelect(let objectName, let newParentName, let includeObject):
            writer.u8(12)
            writer.sized16(objectName)
            writer.sized16(newParentName)
            writer.flag(includeObject)
        case .nvWritten(let isWritten):
            writer.u8(14)
            writer.flag(isWritten)
        case .secret, .signed, .ticket, .authorize: encodeAuthorization(to: &writer)
        case .nv, .counterTimer, .capability, .authorizeNV: encodeCondition(to: &writer)
        }
    }

    private func encodeAuthorization(to writer: inout WireWriter) {
        switch self {
        case .secret(let entityName, let hierarchy, let terms):
            writer.u8(6)
            writer.sized16(entityName)
            writer.flag(hierarchy != nil)
            if let hierarchy { writer.value(hierarchy) }
            writer.value(terms)
        case .signed(let key, let evidence, let hierarchy, let terms):
            writer.u8(7)
            writer.value(key)
            writer.value(evidence)
            writer.value(hierarchy)
            writer.value(terms)
        case .ticket(let ticket, let proofDigest, let timeout, let entityName, let terms):
            writer.u8(8)
            writer.value(ticket)
            writer.raw(proofDigest)
            writer.sized16(timeout)
            writer.sized16(entityName)
            writer.value(terms)
        case .authorize(let approvedPolicy, let policyRef, let keyName, let ticket, let proofDigest):
            writer.u8(13)
            writer.sized16(approvedPolicy)
            writer.sized16(policyRef)
            writer.sized16(keyName)
            writer.value(ticket)
            writer.raw(proofDigest)
        default: break
        }
    }

    private func encodeCondition(to writer: inout WireWriter) {
        switch self {
        case .nv(let indexName, let actual, let comparison):
            writer.u8(15)
            writer.sized16(indexName)
            writer.sized16(actual)
            writer.value(comparison)
        case .counterTimer(let actual, let comparison):
            writer.u8(16)
            writer.sized16(actual)
            writer.value(comparison)
        case .capability(let capability, let property, let actual, let comparison):
            writer.u8(17)
            writer.u32(capability)
            writer.u32(property)
            writer.flag(actual != nil)
            if let actual { writer.sized16(actual) }
            writer.value(comparison)
        case .authorizeNV(let indexName, let approved):
            writer.u8(18)
            writer.sized16(indexName)
            writer.flag(approved != nil)
            if let approved { writer.value(approved) }
        default: break
        }
    }
}
