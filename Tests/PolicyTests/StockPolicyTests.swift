// Policy sessions beside those of a stock TPM, through random streams of Policy commands.
import CryptoBase
import EnhancedAuthorization
import PCRStore
import RunningService
import SystemMap
import TPMWire
import Testing
import Wire

/// A policy session of the stock TPM and ours of the same kind, with the same PCRs under them.
private struct Pair {
    let stock: StockTPM
    var pcrs: VirtualPCRs
    let handle: UInt32
    var state: PolicyState
    let nonceTPM: [UInt8]
    var history: [PolicyStep] = []
    private static let time: UInt64 = 1000

    init(_ hash: HashAlgorithm, isTrial: Bool) throws {
        stock = try StockTPM()
        pcrs = VirtualPCRs(generation: 0)
        pcrs.powerOn()
        try pcrs.startup(state: false)
        _ = try stock.command(0x144, [0, 0])
        let session: [UInt8] = [0, 16] + [UInt8](repeating: 7, count: 16) + [0, 0, isTrial ? 3 : 1, 0, 0x10] + hash.wire
        var reader = WireReader(try stock.command(0x176, handles: [0x4000_0007, 0x4000_0007], session).rest)
        handle = try reader.u32()
        state = PolicyState(hash: hash, isTrial: isTrial, startTime: Self.time)
        nonceTPM = try reader.sized16()
    }

    mutating func extend(_ pcr: Int) throws {
        let one = TaggedDigest(.sha256, [UInt8](repeating: 1, count: 32))
        try pcrs.extend(pcr, [one])
        _ = try stock.command(0x182, handles: [UInt32(pcr)], password: true, [0, 0, 0, 1] + one.wire)
    }

    /// - Returns: our response code.
    private mutating func take(_ step: PolicyStep) -> UInt32 {
        let reading = state.pcrsNeeded(for: step).map {
            PCRReading(generation: pcrs.values.generation, digests: pcrs.digests($0).map(\.digest))
        }
        do throws(TPMRC) { try state.apply(ours(step), at: moment(Self.time), rolls: 0, mint: mint(), pcrs: reading) } catch { return error.rawValue }
        return 0
    }

    /// The step with our session's nonce where it has the stock TPM's.
    private func ours(_ step: PolicyStep) -> PolicyStep {
        guard case .secret(let name, let hierarchy, var terms) = step, terms.nonceTPM == nonceTPM else { return step }
        terms.nonceTPM = nonce
        return .secret(entityName: name, ticket: hierarchy, terms)
    }

    private func stockTakes(_ step: PolicyStep) throws -> UInt32 {
        var parameters = WireWriter()
        switch step {
        case .restart: return try stock.command(0x180, handles: [handle]).code
        case .pcr(let expected, let selection):
            parameters.sized16(expected)
            parameters.list(selection)
            return try stock.command(0x17F, handles: [handle], parameters.bytes).code
        case .authValue: return try stock.command(0x16B, handles: [handle]).code
        case .password: return try stock.command(0x18C, handles: [handle]).code
        case .commandCode(let code): return try stock.command(0x16C, handles: [handle], code.wire).code
        case .or(let digests):
            parameters.u32(UInt32(digests.count))
            digests.forEach { parameters.sized16($0) }
            return try stock.command(0x171, handles: [handle], parameters.bytes).code
        case .secret(_, let hierarchy, let terms):
            parameters.value(terms)
            let entity = hierarchy?.handle ?? .null
            return try stock.command(0x151, handles: [entity.rawValue, handle], password: true, parameters.bytes).code
        default: return try stockTakesMore(step, parameters)
        }
    }

    private func stockTakesMore(_ step: PolicyStep, _ writer: WireWriter) throws -> UInt32 {
        var parameters = writer
        switch step {
        case .locality(let locality): return try stock.command(0x16F, handles: [handle], locality.wire).code
        case .physicalPresence: return try stock.command(0x187, handles: [handle]).code
        case .nvWritten(let isWritten): return try stock.command(0x18F, handles: [handle], [isWritten ? 1 : 0]).code
        case .bind(let kind, let digest):
            parameters.sized16(digest)
            let code: UInt32 = kind == .cpHash ? 0x16E : kind == .nameHash ? 0x170 : 0x190
            return try stock.command(code, handles: [handle], parameters.bytes).code
        case .duplicationSelect(let objectName, let newParentName, let includeObject):
            parameters.sized16(objectName)
            parameters.sized16(newParentName)
            parameters.flag(includeObject)
            return try stock.command(0x188, handles: [handle], parameters.bytes).code
        case .authorize(let approvedPolicy, let policyRef, let keyName, let ticket, _):
            [approvedPolicy, policyRef, keyName].forEach { parameters.sized16($0) }
            parameters.value(ticket)
            return try stock.command(0x16A, handles: [handle], parameters.bytes).code
        case .ticket(let ticket, _, let timeout, let entityName, let terms):
            [timeout, terms.cpHash, terms.policyRef, entityName].forEach { parameters.sized16($0) }
            parameters.value(ticket)
            return try stock.command(0x172, handles: [handle], parameters.bytes).code
        default: throw WireError.invalid(0)
        }
    }

    mutating func compare(_ step: PolicyStep) throws {
        history.append(step)
        let code = try stockTakes(step)
        try #require(take(step) == code, "\(history.suffix(8))")
        let digest = try stock.command(0x189, handles: [handle]).rest.dropFirst(2)
        try #require(state.policyDigest == Array(digest), "\(history.suffix(8))")
    }

    func randomStep(_ generator: inout SeededGenerator) -> PolicyStep {
        let byte = UInt8.random(in: 0...255, using: &generator)
        let some = [UInt8](repeating: byte & 1, count: state.hash.digestSize)
        switch Int.random(in: 0..<22, using: &generator) {
        case 0...3:
            let selection = (0..<Int(byte % 4)).map { _ in
                PCRSelection(
                    HashAlgorithm.allCases.randomElement(using: &generator)!,
                    pcrs: (0..<24).filter { _ in Bool.random(using: &generator) })
            }
            let current = digest(state.hash, pcrs.digests(selection).flatMap(\.digest))
            return .pcr(expected: [[], [], current, some, [byte]][Int(byte) % 5], selection: selection)
        case 4: return .authValue
        case 5: return .password
        case 6...7: return .commandCode([.unseal, .unseal, .sign, .nvWrite, TPMCommandCode(UInt32(byte))][Int(byte) % 5])
        case 8...10:
            let branches = [some, state.policyDigest, [], [byte]].shuffled(using: &generator)
            return .or(Array((branches + branches + branches).prefix(Int(byte % 11))))
        case 11...14:
            let hierarchy: TPMHandle = byte % 2 == 0 ? .owner : .endorsement
            return .secret(
                entityName: hierarchy.wire, ticket: TicketHierarchy(hierarchy, proofDigest: ownerHierarchy.proofDigest),
                AuthorizationTerms(
                    nonceTPM: [[], [], nonceTPM, [byte], some][Int(byte / 8) % 5], cpHash: [[], [], some, [byte]][Int(byte / 2) % 4],
                    policyRef: byte % 3 == 0 ? [byte] : [], expiration: [0, 100_000, -100_000, .min][Int(byte / 4) % 4]))
        case 15...16: return .restart
        default: return furtherStep(byte, some)
        }
    }
}

extension Pair {
    private func furtherStep(_ byte: UInt8, _ some: [UInt8]) -> PolicyStep {
        let digest = byte % 7 == 0 ? [byte] : some
        let (name, proof) = (HashAlgorithm.sha256.wire + [UInt8](repeating: byte, count: 32), ownerHierarchy.proofDigest)
        switch byte % 16 {
        case 0...2: return .locality(LocalityAttributes(rawValue: [1, 3, 16, 0, 31, 32, 40][Int(byte) % 7]))
        case 3: return .physicalPresence
        case 4...5: return .bind(.cpHash, digest)
        case 6...7: return .bind(.nameHash, digest)
        case 8...9: return .bind(.template, digest)
        case 10: return .duplicationSelect(objectName: name, newParentName: [byte], includeObject: byte % 2 == 0)
        case 11...12: return .nvWritten(byte % 3 == 0)
        case 13...14:
            let approved = byte % 2 == 0 ? state.policyDigest : some
            let key = [name, name, Array(name.dropLast()), [byte, 0, 1]][Int(byte / 16) % 4]
            let ticket = Ticket(tag: StructureTag.verified, hierarchy: .owner, digest: digest)
            return .authorize(approvedPolicy: approved, policyRef: [byte], keyName: key, ticket, proofDigest: proof)
        default:
            let ticket = Ticket(tag: StructureTag.authSecret, hierarchy: .owner, digest: digest)
            let timeout = [UInt64(1_000_000_000).wire, UInt64(0).wire, UInt64(1).wire, [byte]][Int(byte / 16) % 4]
            return .ticket(
                ticket, proofDigest: proof, timeout: timeout, entityName: name, AuthorizationTerms(cpHash: byte % 3 == 0 ? digest : []))
        }
    }
}

@Suite(.enabled(if: StockTPM.isInstalled)) struct StockPolicyTests {
    @Test(arguments: HashAlgorithm.allCases, [false, true]) func sessionsAreThoseOfAStockTPM(_ hash: HashAlgorithm, _ isTrial: Bool) throws {
        var generator = SeededGenerator(seed: UInt64(hash.rawValue))
        var pair = try Pair(hash, isTrial: isTrial)
        for _ in 0..<500 {
            if Int.random(in: 0..<10, using: &generator) == 0 { try pair.extend(Int.random(in: 0..<24, using: &generator) % 17) }
            try pair.compare(pair.randomStep(&generator))
        }
    }
}
