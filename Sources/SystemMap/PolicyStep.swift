// The Policy commands as paratpm-policy is told of them, and what the proxy vouches for with each.
import TPMWire
import Wire

/// The guest's `time`. Of its own the proxy says when the power came on; the rest is arithmetic with the host's clock.
package struct GuestTime: WireCodable, Sendable, Equatable {
    /// Since its power came on
    package var milliseconds: UInt64
    /// When that was: milliseconds of the host's CLOCK_BOOTTIME. Times of different epochs do not compare.
    package var epoch: UInt64

    package init(milliseconds: UInt64, epoch: UInt64) {
        self.milliseconds = milliseconds
        self.epoch = epoch
    }
    /// - Parameter now: by the host's clock; nil comes of an epoch that has not begun.
    package init?(epoch: UInt64, now: UInt64) {
        guard epoch <= now else { return nil }
        self.init(milliseconds: now - epoch, epoch: epoch)
    }
    package init(from reader: inout WireReader) throws(WireError) {
        milliseconds = try reader.u64()
        epoch = try reader.u64()
    }
    package func encode(to writer: inout WireWriter) {
        writer.u64(milliseconds)
        writer.u64(epoch)
    }
}

/// The session and its guest at the moment of a step.
package struct PolicyMoment: WireCodable, Sendable {
    /// How many times the session's nonceTPM has rolled (SessionNonces)
    package var rolls: UInt64
    /// When the guest's power came on (GuestTime)
    package var epoch: UInt64

    package init(rolls: UInt64, epoch: UInt64) {
        self.rolls = rolls
        self.epoch = epoch
    }
    package init(from reader: inout WireReader) throws(WireError) {
        rolls = try reader.u64()
        epoch = try reader.u64()
    }
    package func encode(to writer: inout WireWriter) {
        writer.u64(rolls)
        writer.u64(epoch)
    }
}

/// A hierarchy as tickets are bound to it.
package struct TicketHierarchy: WireCodable, Sendable, Equatable {
    package static let proofDigestSize = 32
    package var handle: TPMHandle
    /// SHA-256 of the hierarchy's proof: its tickets die when the proof changes. The proxy can void tickets by a wrong one, but
    /// make none.
    package var proofDigest: [UInt8]

    package init(_ handle: TPMHandle, proofDigest: [UInt8]) {
        self.handle = handle
        self.proofDigest = proofDigest
    }
    package init(from reader: inout WireReader) throws(WireError) {
        handle = try reader.value()
        proofDigest = try reader.bytes(Self.proofDigestSize)
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(handle)
        writer.raw(proofDigest)
    }
}

/// What PolicySigned and PolicySecret have in common: under which conditions an entity agrees (Part 3, 23.2).
package struct AuthorizationTerms: WireCodable, Sendable, Equatable {
    package var nonceTPM: [UInt8]
    package var cpHash: [UInt8]
    package var policyRef: [UInt8]
    /// Seconds; a negative number asks for a ticket.
    package var expiration: Int32

    package init(nonceTPM: [UInt8] = [], cpHash: [UInt8] = [], policyRef: [UInt8] = [], expiration: Int32 = 0) {
        self.nonceTPM = nonceTPM
        self.cpHash = cpHash
        self.policyRef = policyRef
        self.expiration = expiration
    }
    package init(from reader: inout WireReader) throws(WireError) {
        nonceTPM = try reader.sized16(max: HashAlgorithm.largestDigest)
        cpHash = try reader.sized16(max: HashAlgorithm.largestDigest)
        policyRef = try reader.sized16(max: HashAlgorithm.largestDigest)
        expiration = Int32(bitPattern: try reader.u32())
    }
    package func encode(to writer: inout WireWriter) {
        writer.sized16(nonceTPM)
        writer.sized16(cpHash)
        writer.sized16(policyRef)
        writer.u32(UInt32(bitPattern: expiration))
    }
}

/// How the checker knows that a signature is genuine.
package enum SignatureEvidence: WireCodable, Sendable {
    /// It verifies an asymmetric key's itself.
    case signature(Signature)
    /// An HMAC key's is the proxy's to check, which has the key, or its twin. nil: genuine; else the reason against it.
    case verdict(TPMRC?)

    package init(from reader: inout WireReader) throws(WireError) {
        if try reader.flag() {
            self = .signature(try reader.value())
        } else {
            let code = TPMRC(rawValue: try reader.u32())
            self = .verdict(code == .success ? nil : code)
        }
    }
    package func encode(to writer: inout WireWriter) {
        switch self {
        case .signature(let signature):
            writer.flag(true)
            writer.value(signature)
        case .verdict(let code):
            writer.flag(false)
            writer.u32((code ?? .success).rawValue)
        }
    }
}

/// What PolicyNV, PolicyCounterTimer and PolicyCapability compare with (Part 3, 23.9, 23.10, 23.23).
package struct PolicyComparison: WireCodable, Sendable, Equatable {
    package var operand: [UInt8]
    package var offset: UInt16
    package var operation: ArithmeticOperation

    package init(operand: [UInt8], offset: UInt16 = 0, operation: ArithmeticOperation) {
        self.operand = operand
        self.offset = offset
        self.operation = operation
    }
    package init(from reader: inout WireReader) throws(WireError) {
        operand = try reader.sized16(max: HashAlgorithm.largestDigest)
        offset = try reader.u16()
        operation = try reader.value()
    }
    package func encode(to writer: inout WireWriter) {
        writer.sized16(operand)
        writer.u16(offset)
        writer.value(operation)
    }
}

/// What of the command a policy session's one digest is of (Part 1, 19.7): all of it, the Names, the template, the parameters.
package enum PolicyBinding: UInt8, Sendable, CaseIterable { case cpHash, nameHash, template, parameters }

/// A Policy command as the checker sees it. Errors are TPM response codes with their parameter number. What NV indices, the
/// clock and capabilities hold is the proxy's word.
package enum PolicyStep: Sendable {
    case restart
    /// PolicyPCR: the digest that the caller expects (may be empty) and the selection
    case pcr(expected: [UInt8], selection: [PCRSelection])
    case authValue
    case password
    case commandCode(TPMCommandCode)
    case or([[UInt8]])
    /// PolicySecret, after the proxy authorized the entity. Without a hierarchy it gives no ticket.
    case secret(entityName: [UInt8], ticket: TicketHierarchy?, AuthorizationTerms)
    case signed(key: PublicArea, SignatureEvidence, ticket: TicketHierarchy, AuthorizationTerms)
    /// PolicyTicket; of the terms, cpHash and policyRef
    case ticket(Ticket, proofDigest: [UInt8], timeout: [UInt8], entityName: [UInt8], AuthorizationTerms)
    case locality(LocalityAttributes)
    case physicalPresence
    /// PolicyCpHash, PolicyNameHash, PolicyTemplate, PolicyParameters
    case bind(PolicyBinding, [UInt8])
    case duplicationSelect(objectName: [UInt8], newParentName: [UInt8], includeObject: Bool)
    case authorize(approvedPolicy: [UInt8], policyRef: [UInt8], keyName: [UInt8], Ticket, proofDigest: [UInt8])
    case nvWritten(Bool)
    /// PolicyNV: what stands at the offset, as much as the operand
    case nv(indexName: [UInt8], actual: [UInt8], PolicyComparison)
    /// PolicyCounterTimer: what stands at the offset of TPMS_TIME_INFO
    case counterTimer(actual: [UInt8], PolicyComparison)
    /// PolicyCapability; nil: there is no such property.
    case capability(UInt32, property: UInt32, actual: [UInt8]?, PolicyComparison)
    /// PolicyAuthorizeNV: the policy that the index holds (trial sessions need none)
    case authorizeNV(indexName: [UInt8], approved: TaggedDigest?)

    package static let orMax = 8
}
