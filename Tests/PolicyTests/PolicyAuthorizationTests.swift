// Who agrees, and to what: signatures, tickets, conditions, and sessions at use. Codes and digests beside a stock TPM's are in
// SystemTests; here is what concerns the checker alone.
import CryptoBase
import EnhancedAuthorization
import IPC
import PolicyChecker
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing

private let time = GuestTime(milliseconds: 5_000, epoch: epoch)
private let twos = [UInt8](repeating: 2, count: 32)
private func session(isTrial: Bool = false) -> PolicyState { PolicyState(hash: .sha256, isTrial: isTrial, startTime: time) }

private func eccKey() throws -> (pair: ECCKeyPair, area: PublicArea) {
    let pair = try #require(ECCKeyPair(curve: .p256, privateKey: [UInt8](repeating: 0x42, count: 32)))
    let area = PublicArea(
        nameAlgorithm: .sha256, attributes: [.sign], parameters: .ecc(symmetric: .null, scheme: .null, curve: .p256, kdf: .null),
        unique: .ecc(pair.publicPoint))
    return (pair, area)
}

extension ECCKeyPair {
    fileprivate func signature(_ digest: [UInt8]) -> SignatureEvidence {
        let (r, s) = signECDSA(digest: digest)
        return .signature(.ecc(.ecdsa, .sha256, r: r, s: s))
    }
}

/// The response code of a step; 0 for success.
private func code(_ state: inout PolicyState, _ step: PolicyStep, _ at: GuestTime = moment(), _ key: [UInt8] = [1]) -> UInt32 {
    do throws(TPMRC) { try state.apply(step, at: at, rolls: 0, mint: mint(key)) } catch { return error.rawValue }
    return 0
}

@Suite struct PolicySignedTests {
    private func aHash(_ terms: AuthorizationTerms) -> [UInt8] {
        digest(.sha256, terms.nonceTPM, UInt32(bitPattern: terms.expiration).wire, terms.cpHash, terms.policyRef)
    }

    @Test func theCheckerVerifiesTheSignatureItself() throws {
        let (pair, area) = try eccKey()
        let terms = AuthorizationTerms(nonceTPM: nonce, cpHash: twos, policyRef: [3], expiration: 60)
        var state = session()
        #expect(code(&state, .signed(key: area, pair.signature(twos), ticket: ownerHierarchy, terms)) == 0x5DB)
        #expect(state == session())
        #expect(code(&state, .signed(key: area, pair.signature(aHash(terms)), ticket: ownerHierarchy, terms)) == 0)
        let first = digest(.sha256, [UInt8](repeating: 0, count: 32), TPMCommandCode.policySigned.wire, area.name)
        #expect(state.policyDigest == digest(.sha256, first, [3]))
        #expect(state.timeout == 65_000)
        #expect(state.binding?.kind == .cpHash && state.binding?.digest == twos)
    }

    @Test func theProxysWordCountsForHMACKeysOnly() throws {
        let hmacKey = PublicArea(
            nameAlgorithm: .sha256, attributes: [.sign], parameters: .keyedHash(scheme: .null), unique: .digest(twos))
        var state = session()
        #expect(code(&state, .signed(key: hmacKey, .verdict(nil), ticket: ownerHierarchy, AuthorizationTerms())) == 0)
        #expect(code(&state, .signed(key: hmacKey, .verdict(.signature), ticket: ownerHierarchy, AuthorizationTerms())) == 0x5DB)
        let asymmetric = try eccKey().area
        #expect(code(&state, .signed(key: asymmetric, .verdict(nil), ticket: ownerHierarchy, AuthorizationTerms())) == 0x101)
    }
}

@Suite struct PolicyTicketTests {
    /// What PolicySigned gave for -60 seconds, and the step that presents it.
    private func given(_ terms: AuthorizationTerms) throws -> (GivenTicket, [UInt8]) {
        let (pair, area) = try eccKey()
        let aHash = digest(.sha256, terms.nonceTPM, UInt32(bitPattern: terms.expiration).wire, terms.cpHash, terms.policyRef)
        var state = session()
        let step = PolicyStep.signed(key: area, pair.signature(aHash), ticket: ownerHierarchy, terms)
        return (try #require(try state.apply(step)), area.name)
    }

    private func present(
        _ given: GivenTicket, _ name: [UInt8], _ terms: AuthorizationTerms, proof: [UInt8] = ownerHierarchy.proofDigest
    ) -> PolicyStep {
        .ticket(given.ticket, proofDigest: proof, timeout: given.timeout, entityName: name, terms)
    }

    @Test func aTicketStandsForTheSignature() throws {
        let terms = AuthorizationTerms(cpHash: twos, policyRef: [3], expiration: -60)
        let (given, name) = try given(terms)
        var (state, signed) = (session(), session())
        #expect(code(&state, present(given, name, terms)) == 0)
        let (pair, area) = try eccKey()
        let aHash = digest(.sha256, [], UInt32(bitPattern: -60).wire, twos, [3])
        #expect(code(&signed, .signed(key: area, pair.signature(aHash), ticket: ownerHierarchy, terms)) == 0)
        #expect(state == signed)
    }

    @Test func aTicketDiesWithItsProofItsEpochItsTimeAndItsService() throws {
        let terms = AuthorizationTerms(expiration: -60)
        let (given, name) = try given(terms)
        var state = session()
        #expect(code(&state, present(given, name, terms, proof: twos)) == 0x5E0)
        #expect(code(&state, present(given, name, terms), moment(), [2]) == 0x5E0)
        #expect(code(&state, present(given, name, terms), moment(60_124)) == 0x1E3)
        #expect(code(&state, present(given, name, terms), moment(60_123)) == 0)
        var later = PolicyState(hash: .sha256, isTrial: false, startTime: GuestTime(milliseconds: 0, epoch: epoch + 1))
        #expect(code(&later, present(given, name, terms), moment(epoch: epoch + 1)) == 0x5E0)
        #expect(code(&later, present(given, name, terms), moment()) == 0x1E3)
    }

    @Test func anApprovalIsNoOtherKindOfTicket() throws {
        var state = session()
        let name = HashAlgorithm.sha256.wire + twos
        let approval = digest(.sha256, state.policyDigest, [5])
        let ticket = mint().verified(ownerHierarchy, digest: approval, keyName: name)
        func authorize(_ ticket: Ticket, proof: [UInt8] = ownerHierarchy.proofDigest) -> PolicyStep {
            .authorize(approvedPolicy: [UInt8](repeating: 0, count: 32), policyRef: [5], keyName: name, ticket, proofDigest: proof)
        }
        #expect(code(&state, authorize(ticket, proof: twos)) == 0x4C4)
        var moved = ticket
        moved.hierarchy = .endorsement
        #expect(code(&state, authorize(moved)) == 0x4C4)
        #expect(code(&state, authorize(ticket)) == 0)
    }
}

@Suite struct PolicyConditionTests {
    @Test func numbersAreComparedAsTheOperationSays() {
        // A, B, and the operations that hold (TPM_EO)
        let cases: [([UInt8], [UInt8], Set<UInt16>)] = [
            ([1, 2], [1, 2], [0, 6, 7, 8, 9, 10]), ([0, 5], [0, 3], [1, 2, 3, 6, 7]), ([0xFF, 0], [0, 1], [1, 3, 4, 7, 8, 11]),
            ([0xFE], [0xFF], [1, 2, 5, 6, 9]), ([0xFF, 1], [0xFF, 0], [1, 3, 4, 7, 8, 10]), ([0x80], [0x7F], [1, 3, 4, 7, 8, 11]),
            ([], [], [0, 6, 7, 8, 9, 10, 11]),
        ]
        for (a, b, expected) in cases {
            let holding = ArithmeticOperation.allCases.filter { $0.holds(a, b) }.map(\.rawValue)
            #expect(Set(holding) == expected, "\(a) \(b)")
        }
    }

    @Test func aCapabilityThatIsNotThereIsUnequal() {
        var state = session()
        let equal = PolicyComparison(operand: [1], operation: .equal)
        #expect(code(&state, .capability(6, property: 0x999, actual: nil, equal)) == 0x126)
        #expect(code(&state, .capability(6, property: 0x999, actual: [2], equal)) == 0x126)
        #expect(state == session())
        let unequal = PolicyComparison(operand: [1], offset: 2, operation: .notEqual)
        #expect(code(&state, .capability(6, property: 0x999, actual: nil, unequal)) == 0)
        let arguments = digest(.sha256, [1, 0, 2, 0, 1], UInt32(6).wire, UInt32(0x999).wire)
        #expect(state.policyDigest == digest(.sha256, [UInt8](repeating: 0, count: 32), UInt32(0x19B).wire, arguments))
        var trial = session(isTrial: true)
        #expect(code(&trial, .capability(6, property: 0x999, actual: nil, equal)) == 0)
    }

    @Test func parametersAreBoundWithoutNames() {
        var state = session()
        #expect(code(&state, .bind(.parameters, [1])) == 0x1D5)
        #expect(code(&state, .bind(.parameters, twos)) == 0)
        #expect(state.policyDigest == digest(.sha256, [UInt8](repeating: 0, count: 32), UInt32(0x19C).wire, twos))
        #expect(code(&state, .bind(.parameters, twos)) == 0x151)
        #expect(code(&state, .bind(.cpHash, twos)) == 0x151)
    }
}

@Suite struct PolicySessionUseTests {
    /// The response code of a use.
    private func use(
        _ steps: PolicyStep..., locality: UInt8 = 0, nvWritten: Bool? = nil, at now: GuestTime = time,
        digest: @escaping (PolicyBinding) -> [UInt8]? = { _ in nil }
    ) throws -> UInt32 {
        var state = session()
        for step in steps { try state.apply(step) }
        let use = PolicyUse(
            authPolicy: state.policyDigest, policyHash: .sha256, command: .nvWrite, role: .user, time: now, pcrGeneration: 0,
            locality: locality, nvWritten: nvWritten, digest: digest)
        do throws(TPMRC) { try state.check(use) } catch { return error.rawValue }
        return 0
    }

    @Test func everyConditionHolds() throws {
        #expect(try use(.locality(LocalityAttributes(rawValue: 3)), locality: 1) == 0)
        #expect(try use(.locality(LocalityAttributes(rawValue: 3)), locality: 2) == TPMRC.locality.rawValue)
        #expect(try use(.physicalPresence) == TPMRC.pp.rawValue)
        #expect(try use(.nvWritten(true), nvWritten: true) == 0)
        #expect(try use(.nvWritten(true), nvWritten: false) == TPMRC.policyFail.rawValue)
        #expect(try use(.nvWritten(false), nvWritten: nil) == TPMRC.policyFail.rawValue)
        for kind in PolicyBinding.allCases {
            #expect(try use(.bind(kind, twos)) { $0 == kind ? twos : nil } == 0)
            #expect(try use(.bind(kind, twos)) { $0 == kind ? [1] : twos } == TPMRC.policyFail.rawValue)
        }
    }

    @Test func aTimeLimitEndsWithThePower() throws {
        let limited = secret(nonce: nonce, expiration: 60)
        #expect(try use(limited, at: GuestTime(milliseconds: 65_000, epoch: epoch)) == 0)
        #expect(try use(limited, at: GuestTime(milliseconds: 65_001, epoch: epoch)) == TPMRC.expired.rawValue)
        #expect(try use(limited, at: GuestTime(milliseconds: 1, epoch: epoch + 1)) == TPMRC.expired.rawValue)
        #expect(try use(.authValue, at: GuestTime(milliseconds: 1, epoch: epoch + 1)) == 0)
    }
}

@Suite struct VerifyCallTests {
    @Test func onlyAGenuineSignatureGetsATicket() throws {
        let directory = try TemporaryInstance()
        let instance = directory.instance
        let gate = Gate(keys: gateKeys, chip: GateChip(instance, rootName: []))
        let service = try RunningService(.policy, in: directory) { PolicyServer(instance, HostGate(instance, boot: [], gate)).service }
        defer { service.stop() }
        let guest = try directory.addGuest("one")
        let proxy = try guest.proxy(.policy).channel
        let (pair, area) = try eccKey()
        func verify(_ evidence: SignatureEvidence, _ hierarchy: TicketHierarchy = ownerHierarchy) throws -> Ticket {
            try proxy.call(PolicyCalls.Verify.self, .init(key: area, digest: twos, evidence: evidence, hierarchy: hierarchy))
        }
        let ticket = try verify(pair.signature(twos))
        #expect(ticket.tag == StructureTag.verified && ticket.hierarchy == .owner && ticket.digest.count == 64)
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.signature.rawValue))) { try verify(pair.signature([1])) }
        #expect(throws: IPCError.status(CallStatus(rawValue: TPMRC.failure.rawValue))) { try verify(.verdict(nil)) }
        #expect(throws: IPCError.status(.notPermitted)) {
            try guest.door(.policy).call(
                PolicyCalls.Verify.self, .init(key: area, digest: twos, evidence: pair.signature(twos), hierarchy: ownerHierarchy))
        }
    }
}
