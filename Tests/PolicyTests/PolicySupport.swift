// What the tests of policy steps have in common: a guest's moment, a mint, and short ways to write steps.
import CryptoBase
import EnhancedAuthorization
import PolicyChecker
import SystemMap
import TPMWire

let drawn = SessionNonces(size: 16, hash: .sha1)!
/// A session's nonceTPM, before it rolls
let nonce = drawn[0]
/// The power-on in which everything happens
let epoch: UInt64 = 7
let ownerHierarchy = TicketHierarchy(.owner, proofDigest: [UInt8](repeating: 0x50, count: 32))

func moment(_ now: UInt64 = 10_123, epoch: UInt64 = epoch) -> GuestTime { GuestTime(milliseconds: now, epoch: epoch) }

func mint(_ key: [UInt8] = [1], boot: [UInt8] = []) -> TicketMint { TicketMint(boot: boot) { Secret(key + $0.wire) } }

extension PolicyState {
    init(hash: HashAlgorithm, isTrial: Bool, startTime: UInt64) {
        self.init(hash: hash, isTrial: isTrial, startTime: GuestTime(milliseconds: startTime, epoch: epoch))
    }
    init(hash: HashAlgorithm, isTrial: Bool, startTime: GuestTime) {
        self.init(hash: hash, isTrial: isTrial, startTime: startTime, nonces: drawn)
    }

    @discardableResult
    mutating func apply(_ step: PolicyStep, now: UInt64 = 10_123, pcrs: PCRReading? = nil) throws(TPMRC) -> GivenTicket? {
        try apply(step, at: moment(now), rolls: 0, mint: mint(), pcrs: pcrs)
    }
}

func secret(
    _ name: [UInt8] = TPMHandle.owner.wire, policyRef: [UInt8] = [], cpHash: [UInt8] = [], nonce: [UInt8] = [],
    expiration: Int32 = 0
) -> PolicyStep {
    .secret(
        entityName: name, ticket: ownerHierarchy,
        AuthorizationTerms(nonceTPM: nonce, cpHash: cpHash, policyRef: policyRef, expiration: expiration))
}

/// One of each step that is not an everyday one.
let moreSteps: [PolicyStep] = {
    let comparison = PolicyComparison(operand: [1, 2], offset: 3, operation: .unsignedGreater)
    let ticket = Ticket(tag: StructureTag.verified, hierarchy: .owner, digest: [9])
    let area = PublicArea(
        nameAlgorithm: .sha256, attributes: [.sign], parameters: .keyedHash(scheme: .null), unique: .digest([1, 2, 3]))
    let terms = AuthorizationTerms(policyRef: [5])
    return [
        .secret(entityName: [1], ticket: nil, terms),
        .signed(key: area, .verdict(.signature), ticket: ownerHierarchy, terms),
        .signed(key: area, .signature(.hmac(.sha1, [UInt8](repeating: 1, count: 20))), ticket: ownerHierarchy, terms),
        .ticket(ticket, proofDigest: ownerHierarchy.proofDigest, timeout: [1], entityName: [2], terms),
        .locality(LocalityAttributes(rawValue: 3)), .physicalPresence, .bind(.template, [7]), .nvWritten(true),
        .duplicationSelect(objectName: [1], newParentName: [2], includeObject: true),
        .authorize(approvedPolicy: [1], policyRef: [2], keyName: [3], ticket, proofDigest: ownerHierarchy.proofDigest),
        .nv(indexName: [1], actual: [2], comparison), .counterTimer(actual: [1, 2], comparison),
        .capability(6, property: 0x105, actual: nil, comparison), .capability(6, property: 0x105, actual: [1], comparison),
        .authorizeNV(indexName: [1], approved: nil),
        .authorizeNV(indexName: [1], approved: TaggedDigest(.sha1, [UInt8](repeating: 1, count: 20))),
    ]
}()

/// The keys of a gate that the chip knows nothing of.
let gateKeys = GateKeys(secret: Secret([UInt8](repeating: 1, count: 32)), boot: [])
