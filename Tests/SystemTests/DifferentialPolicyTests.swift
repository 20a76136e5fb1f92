// Enhanced authorization beside a stock TPM: every Policy command, its digests and codes, and sessions at use.
import Foundation
import TPMCrypto
import TPMWire
import Testing
import Wire

/// A policy or trial session, by hand: its nonceTPM is what PolicySigned and PolicySecret refer to.
private struct PolicySession {
    let handle: TPMHandle
    let nonceTPM: [UInt8]

    /// - Parameter former: ends; a stock TPM has room for three.
    init(_ r: Recorder, trial: Bool = false, hash: HashAlgorithm = .sha256, after former: PolicySession? = nil) throws {
        if let former { try r.connection.flush(former.handle) }
        let response = try r.connection.run(.startAuthSession, [.null, .null]) {
            $0.sized16([UInt8](repeating: 7, count: 16))
            $0.sized16([])
            $0.u8(trial ? 3 : 1)
            SymmetricDefinition.null.encode(to: &$0)
            $0.value(hash)
        }
        guard let handle = response.handle else { throw HarnessError("StartAuthSession: \(response.code)") }
        self.handle = handle
        var reader = WireReader(response.parameters)
        nonceTPM = try reader.sized16()
    }
}

/// An authority outside of both TPMs, whose key they know: a P-256 key, always the same.
private struct Authority {
    let pair: ECCKeyPair
    let area: PublicArea

    init() throws {
        guard let pair = ECCKeyPair(curve: .p256, privateKey: [UInt8](repeating: 0x42, count: 32)) else { throw HarnessError("no key") }
        self.pair = pair
        area = PublicArea(
            nameAlgorithm: .sha256, attributes: [.userWithAuth, .sign],
            parameters: .ecc(symmetric: .null, scheme: .null, curve: .p256, kdf: .null), unique: .ecc(pair.publicPoint))
    }

    func load(_ r: Recorder, under hierarchy: TPMHandle = .owner) throws -> TPMHandle {
        let response = try r.connection.run(.loadExternal) {
            $0.sized16([])
            $0.sized16(area)
            $0.value(hierarchy)
        }
        guard let handle = response.handle else { throw HarnessError("LoadExternal: \(response.code)") }
        return handle
    }

    func sign(_ digest: [UInt8], hash: HashAlgorithm = .sha256) -> Signature {
        let (r, s) = pair.signECDSA(digest: digest)
        return .ecc(.ecdsa, hash, r: r, s: s)
    }
}

private let ref = Array("ref".utf8)
private let twos = [UInt8](repeating: 2, count: 32)

/// The parameters before PolicySigned's signature, which are PolicySecret's.
private func terms(nonce: [UInt8] = [], cpHash: [UInt8] = [], ref: [UInt8] = [], expiration: Int32 = 0) -> [UInt8] {
    var writer = WireWriter()
    for part in [nonce, cpHash, ref] { writer.sized16(part) }
    writer.u32(UInt32(bitPattern: expiration))
    return writer.bytes
}

private func aHash(nonce: [UInt8] = [], cpHash: [UInt8] = [], ref: [UInt8] = [], expiration: Int32 = 0) -> [UInt8] {
    digest(.sha256, nonce, UInt32(bitPattern: expiration).wire, cpHash, ref)
}

/// TPM2B_TIMEOUT and ticket of a response.
private func ticket(_ response: ResponseMessage) throws -> (timeout: [UInt8], ticket: Ticket) {
    var reader = WireReader(response.parameters)
    return (try reader.sized16(), try reader.value())
}

extension Recorder {
    fileprivate func digest(_ session: PolicySession) throws { try step("its digest", .bytes, .policyGetDigest, [session.handle]) }

    /// PolicyTicket
    fileprivate func ticket(
        _ name: String, _ session: PolicySession, _ timeout: [UInt8], cpHash: [UInt8] = [], ref: [UInt8] = [], _ entity: [UInt8],
        _ ticket: Ticket
    ) throws {
        try step(name, .bytes, .policyTicket, [session.handle]) {
            for part in [timeout, cpHash, ref, entity] { $0.sized16(part) }
            $0.value(ticket)
        }
    }
}

@Suite(.serialized) struct DifferentialPolicyTests {
    @Test(arguments: [HashAlgorithm.sha256, .sha1, .sha512], [false, true])
    func commandsWithoutAnEntity(_ hash: HashAlgorithm, _ trial: Bool) throws {
        let digest = [UInt8](repeating: 3, count: hash.digestSize)
        try compareWithStock { r in
            let session = try PolicySession(r, trial: trial, hash: hash)
            func step(_ name: String, _ code: TPMCommandCode, _ parameters: (inout WireWriter) -> Void = { _ in }) throws {
                try r.step(name, .bytes, code, [session.handle], parameters)
                try r.digest(session)
            }
            for locality: UInt8 in [0, 7, 3, 4, 32, 255] { try step("PolicyLocality \(locality)", .policyLocality) { $0.u8(locality) } }
            try step("PolicyPhysicalPresence", .policyPhysicalPresence)
            for written: UInt8 in [1, 1, 0, 2] { try step("PolicyNvWritten \(written)", .policyNvWritten) { $0.u8(written) } }
            for code in [TPMCommandCode.policyCpHash, .policyNameHash, .policyTemplate] {
                for given in [digest, digest, [1], [UInt8](repeating: 9, count: hash.digestSize), [UInt8](repeating: 1, count: 65)] {
                    try step("\(code) of \(given.count)", code) { $0.sized16(given) }
                }
                try step("PolicyDuplicationSelect", .policyDuplicationSelect) { $0.sized16([1, 2]); $0.sized16([3]); $0.u8(1) }
                try step("PolicyRestart", .policyRestart)
                for include: UInt8 in [1, 0, 3] {
                    try step("PolicyDuplicationSelect \(include)", .policyDuplicationSelect) {
                        $0.sized16([1, 2]); $0.sized16([3]); $0.u8(include)
                    }
                    try step("PolicyCommandCode", .policyCommandCode) { $0.value(TPMCommandCode.duplicate) }
                    try step("PolicyRestart", .policyRestart)
                }
            }
            for (operand, offset, operation) in [
                ([0], 24, 1), ([0, 0, 0, 0, 0, 0, 0, 1], 8, 3), ([255, 0, 0, 0, 0, 0, 0, 0], 0, 3), ([], 25, 0), ([1], 25, 0), ([1], 26, 0),
                ([1], 0, 12), ([0, 0, 0, 0], 20, 10), ([0, 0, 0, 0], 20, 2), ([255], 0, 2), ([255], 0, 4),
            ] as [([UInt8], UInt16, UInt16)] {
                try step("PolicyCounterTimer \(operand) \(offset) \(operation)", .policyCounterTimer) {
                    $0.sized16(operand); $0.u16(offset); $0.u16(operation)
                }
            }
        }
    }

    @Test func policySigned() throws {
        let authority = try Authority()
        try compareWithStock { r in
            let key = try authority.load(r)
            var session = try PolicySession(r)
            func signed(_ name: String, _ terms: [UInt8], _ auth: Signature, comparing compare: Recorder.Compare = .bytes) throws -> ResponseMessage {
                let response = try r.step("PolicySigned \(name)", compare, .policySigned, [key, session.handle]) { $0.raw(terms); $0.value(auth) }
                try r.digest(session)
                return response
            }
            _ = try signed("plain", terms(ref: ref), authority.sign(aHash(ref: ref)))
            _ = try signed("of another ref", terms(), authority.sign(aHash(ref: ref)))
            _ = try signed("with a nonce", terms(nonce: session.nonceTPM, expiration: 100),
                           authority.sign(aHash(nonce: session.nonceTPM, expiration: 100)))
            _ = try signed("with another nonce", terms(nonce: twos), authority.sign(aHash(nonce: twos)))
            _ = try signed("with a false signature", terms(nonce: session.nonceTPM, expiration: 1), .ecc(.ecdsa, .sha256, r: [1], s: [1]))
            _ = try signed("cpHash of a wrong size", terms(cpHash: [1]), authority.sign(aHash(cpHash: [1])))
            _ = try signed("cpHash", terms(cpHash: twos), authority.sign(aHash(cpHash: twos)))
            _ = try signed("another cpHash", terms(cpHash: aHash()), authority.sign(aHash(cpHash: aHash())))
            _ = try signed("RSA", terms(), .rsa(.rsassa, .sha256, [UInt8](repeating: 1, count: 256)))
            _ = try signed("ECDAA", terms(), .ecc(.ecdaa, .sha256, r: [1], s: [1]))
            _ = try signed("HMAC", terms(), .hmac(.sha256, twos))
            _ = try signed("none", terms(), .null)
            session = try PolicySession(r, after: session)
            let auth = authority.sign(aHash(ref: ref, expiration: -100_000))
            let given = try ticket(try signed("for a ticket", terms(ref: ref, expiration: -100_000), auth, comparing: .size))
            session = try PolicySession(r, after: session)
            let name = authority.area.name
            try r.ticket("PolicyTicket", session, given.timeout, ref: ref, name, given.ticket)
            try r.digest(session)
            try r.ticket("PolicyTicket of another ref", session, given.timeout, name, given.ticket)
            try r.ticket("PolicyTicket of another Name", session, given.timeout, ref: ref, [0, 11] + twos, given.ticket)
            try r.ticket("PolicyTicket of another timeout", session, [0, 0, 0, 0, 255, 0, 0, 0], ref: ref, name, given.ticket)
            try r.ticket("PolicyTicket long expired", session, [0, 0, 0, 0, 0, 0, 0, 1], ref: ref, name, given.ticket)
            try r.ticket("PolicyTicket without timeout", session, [0, 0, 0, 0, 0, 0, 0, 0], ref: ref, name, given.ticket)
            try r.ticket("PolicyTicket with a short timeout", session, [0], ref: ref, name, given.ticket)
            try r.ticket("PolicyTicket with a long timeout", session, [UInt8](repeating: 0, count: 9), ref: ref, name, given.ticket)
            try r.ticket("PolicyTicket with a short cpHash", session, given.timeout, cpHash: [1], ref: ref, name, given.ticket)
            var other = given.ticket
            other.tag = StructureTag.authSecret
            try r.ticket("PolicyTicket as if of PolicySecret", session, given.timeout, ref: ref, name, other)
            other.tag = StructureTag.verified
            try r.ticket("PolicyTicket of another kind", session, given.timeout, ref: ref, name, other)
            try r.ticket("PolicyTicket of nothing", session, given.timeout, ref: ref, name, .null(StructureTag.authSigned))
            session = try PolicySession(r, trial: true, after: session)
            try r.ticket("PolicyTicket, trial", session, given.timeout, ref: ref, name, given.ticket)
            _ = try signed("trial", terms(ref: ref, expiration: -1), .ecc(.ecdsa, .sha256, r: [1], s: [1]))
        }
    }

    @Test func policySignedByAnHMACKey() throws {
        let key = SymmetricFixture.hmacKey
        try compareWithStock { r in
            let handle = try r.step("LoadExternal", .bytes, .loadExternal) {
                $0.sized16(key.sensitive)
                $0.sized16(key.area)
                $0.value(TPMHandle.null)
            }.handle ?? .null
            let session = try PolicySession(r)
            func signed(_ name: String, _ auth: Signature) throws {
                try r.step("PolicySigned \(name)", .bytes, .policySigned, [handle, session.handle]) { $0.raw(terms(ref: ref)); $0.value(auth) }
                try r.digest(session)
            }
            try signed("by HMAC", .hmac(.sha256, hmac(.sha256, key: key.sensitive.sensitive, aHash(ref: ref))))
            try signed("by a wrong HMAC", .hmac(.sha256, twos))
            try signed("by ECDSA", .ecc(.ecdsa, .sha256, r: [1], s: [1]))
        }
    }

    @Test func policySecretAndItsTicket() throws {
        try compareWithStock { r in
            var session = try PolicySession(r)
            func secret(_ name: String, _ entity: TPMHandle, _ terms: [UInt8], comparing compare: Recorder.Compare = .bytes) throws
                -> ResponseMessage
            {
                let response = try r.step("PolicySecret \(name)", compare, .policySecret, [entity, session.handle], passwords: [[]]) { $0.raw(terms) }
                try r.digest(session)
                return response
            }
            _ = try secret("plain", .owner, terms(ref: ref))
            _ = try secret("of a PCR", TPMHandle(16), terms())
            _ = try secret("of NULL", .null, terms())
            for entity in [TPMHandle.owner, .lockout, .endorsement, .platform] {
                session = try PolicySession(r, after: session)
                let given = try ticket(try secret("for a ticket", entity, terms(nonce: session.nonceTPM, cpHash: twos, expiration: -1000), comparing: .size))
                session = try PolicySession(r, after: session)
                try r.ticket("PolicyTicket", session, given.timeout, cpHash: twos, entity.wire, given.ticket)
                try r.digest(session)
                try r.ticket("PolicyTicket again", session, given.timeout, cpHash: twos, entity.wire, given.ticket)
                try r.ticket("PolicyTicket of another cpHash", session, given.timeout, cpHash: [UInt8](repeating: 1, count: 32), entity.wire, given.ticket)
                if entity == .owner {
                    try r.step("Clear", .bytes, .clear, [.lockout], passwords: [[]])
                    try r.ticket("PolicyTicket after Clear", session, given.timeout, cpHash: twos, entity.wire, given.ticket)
                }
            }
        }
    }

    @Test func policyAuthorize() throws {
        let authority = try Authority()
        let keyName = authority.area.name
        try compareWithStock { r in
            let key = try authority.load(r)
            let session = try PolicySession(r)
            try r.step("PolicyAuthValue", .bytes, .policyAuthValue, [session.handle])
            let approved = Array(try r.step("its digest", .bytes, .policyGetDigest, [session.handle]).parameters.dropFirst(2))
            let approval = digest(.sha256, approved, ref)
            func verify(_ title: String, _ signature: Signature, key: TPMHandle) throws -> Ticket {
                let response = try r.step("VerifySignature \(title)", .size, .verifySignature, [key]) { $0.sized16(approval); $0.value(signature) }
                guard response.code == .success else { return .null(StructureTag.verified) }
                var reader = WireReader(response.parameters)
                return try reader.value()
            }
            _ = try verify("of another digest", authority.sign(twos), key: key)
            _ = try verify("of RSA", .rsa(.rsapss, .sha256, [1]), key: key)
            let given = try verify("", authority.sign(approval), key: key)
            let external = try authority.load(r, under: .null)
            let void = try verify("in the NULL hierarchy", authority.sign(approval), key: external)
            func authorize(
                _ title: String, _ policy: [UInt8], ref: [UInt8] = ref, name: [UInt8]? = nil, _ ticket: Ticket, session other: PolicySession? = nil
            ) throws {
                try r.step("PolicyAuthorize \(title)", .bytes, .policyAuthorize, [(other ?? session).handle]) {
                    for part in [policy, ref, name ?? keyName] { $0.sized16(part) }
                    $0.value(ticket)
                }
                try r.digest(other ?? session)
            }
            try authorize("of another policy", twos, given)
            try authorize("of another ref", approved, ref: [], given)
            try authorize("of another key", approved, name: [0, 11] + twos, given)
            try authorize("of no Name", approved, name: [], given)
            try authorize("of a short Name", approved, name: [0, 11, 1], given)
            try authorize("of a Name without hash", approved, name: [0, 16] + twos, given)
            try authorize("of nothing", approved, void)
            try authorize("of another ticket", approved, Ticket(tag: StructureTag.creation, hierarchy: .owner, digest: given.digest))
            try authorize("of another hierarchy", approved, Ticket(tag: StructureTag.verified, hierarchy: .platform, digest: given.digest))
            try authorize("", approved, given)
            try authorize("again", approved, given)
            try authorize("trial", approved, void, session: try PolicySession(r, trial: true))
            let after = try PolicySession(r)
            try r.step("Clear", .bytes, .clear, [.lockout], passwords: [[]])
            try r.step("PolicyAuthValue", .bytes, .policyAuthValue, [after.handle])
            try authorize("after Clear", approved, given, session: after)
        }
    }

    @Test func policiesAboutNV() throws {
        try compareWithStock { r in
            let index = TPMHandle(0x0150_0002)
            let area = NVPublic(
                index: index, nameAlgorithm: .sha256, attributes: [.ownerRead, .ownerWrite, .authRead], authPolicy: [], dataSize: 34)
            try r.step("define", .bytes, .nvDefineSpace, [.owner], passwords: [[]]) { $0.sized16([5]); $0.sized16(area) }
            for trial in [false, true] {
                let session = try PolicySession(r, trial: trial)
                func nv(_ title: String, _ operand: [UInt8], _ offset: UInt16, _ operation: UInt16, by auth: TPMHandle = .owner, password: [UInt8] = []) throws {
                    try r.step("PolicyNV \(title)", .bytes, .policyNV, [auth, index, session.handle], passwords: [password]) {
                        $0.sized16(operand); $0.u16(offset); $0.u16(operation)
                    }
                    try r.digest(session)
                }
                try nv("at first", [0], 0, 0)
                let policy = HashAlgorithm.sha256.wire + [UInt8](repeating: 0, count: 32)
                try r.step("write", .bytes, .nvWrite, [.owner, index], passwords: [[]]) { $0.sized16(policy); $0.u16(0) }
                for operation: UInt16 in 0..<13 {
                    for operand: [UInt8] in [[0, 11], [0, 12], [0, 3], [255, 0], [128, 11], []] { try nv("\(operand) \(operation)", operand, 0, operation) }
                }
                try nv("past the end", [1, 2], 33, 0)
                try nv("beyond", [], 35, 0)
                try nv("at the end", [], 34, 0)
                try nv("by the index", [0, 11], 0, 0, by: index, password: [5])
                try nv("by the index, wrongly", [0, 11], 0, 0, by: index, password: [6])
                try nv("by the platform", [0, 11], 0, 0, by: .platform)
                func authorizeNV(_ title: String) throws {
                    try r.step("PolicyAuthorizeNV \(title)", .bytes, .policyAuthorizeNV, [.owner, index, session.handle], passwords: [[]])
                    try r.digest(session)
                }
                try authorizeNV("of another policy")
                try r.step("PolicyRestart", .bytes, .policyRestart, [session.handle])
                try authorizeNV("")
                for start: [UInt8] in [[0, 4], [0, 16], [0, 13]] {
                    try r.step("write", .bytes, .nvWrite, [.owner, index], passwords: [[]]) { $0.sized16(start); $0.u16(0) }
                    try authorizeNV("of \(start)")
                }
            }
        }
    }

    /// Each policy once where it fits and once where it does not.
    @Test func sessionsAtUse() throws {
        try compareWithStock { r in
            let c = r.connection
            let parent = try c.primary(Template.eccStorage).handle
            let session = try ClientSession(c, type: 1)
            func attempt(_ title: String, _ step: (TPMHandle) throws -> Void) throws {
                let trial = try PolicySession(r, trial: true)
                try step(trial.handle)
                let policy = Array(try r.step("digest of \(title)", .bytes, .policyGetDigest, [trial.handle]).parameters.dropFirst(2))
                try c.flush(trial.handle)
                let template = Template.sealed(policy: policy, attributes: [.fixedTPM, .fixedParent, .noDA])
                let created = try Created(try c.run(.create, [parent], passwords: [[]], creation(template, data: [1])))
                let object = try c.load(created, under: parent).handle ?? .null
                try step(session.handle)
                let entity = Entity(object, name: created.publicArea.name)
                try r.note("Unseal with \(title)", .bytes, try ClientSession.run(c, .unseal, [entity], [.init(session)], authorized: 1))
                try r.step("PolicyRestart", .bytes, .policyRestart, [session.handle])
                try c.flush(object)
            }
            for locality: UInt8 in [1, 3, 4, 32] { try attempt("locality \(locality)") { _ = try c.run(.policyLocality, [$0]) { $0.u8(locality) } } }
            try attempt("presence") { _ = try c.run(.policyPhysicalPresence, [$0]) }
            try attempt("another cpHash") { _ = try c.run(.policyCpHash, [$0]) { $0.sized16(twos) } }
            try attempt("another nameHash") { _ = try c.run(.policyNameHash, [$0]) { $0.sized16(twos) } }
            try attempt("a template") { _ = try c.run(.policyTemplate, [$0]) { $0.sized16(twos) } }
            try attempt("nvWritten") { _ = try c.run(.policyNvWritten, [$0]) { $0.u8(0) } }
            try attempt("DuplicationSelect") { _ = try c.run(.policyDuplicationSelect, [$0]) { $0.sized16([]); $0.sized16([]); $0.u8(0) } }
            try attempt("a time limit and a timer") { session in
                _ = try c.run(.policySecret, [.owner, session], passwords: [[]]) { $0.raw(terms(expiration: 3_000)) }
                _ = try c.run(.policyCounterTimer, [session]) { $0.sized16([0xFF]); $0.u16(0); $0.u16(1) }
            }
        }
    }

    @Test func digestsOfTheCommandAtUse() throws {
        try compareWithStock { r in
            let c = r.connection
            let trial = try PolicySession(r, trial: true)
            let template = Template.eccStorage
            let templateHash = digest(.sha256, template.wire)
            let nameHash = digest(.sha256, TPMHandle.owner.wire)
            func branches(_ session: TPMHandle) throws -> [[UInt8]] {
                try [(TPMCommandCode.policyTemplate, templateHash), (.policyNameHash, nameHash)].map { code, digest in
                    try r.step("PolicyRestart", .bytes, .policyRestart, [session])
                    try r.step("\(code)", .bytes, code, [session]) { $0.sized16(digest) }
                    return Array(try r.step("its digest", .bytes, .policyGetDigest, [session]).parameters.dropFirst(2))
                }
            }
            let digests = try branches(trial.handle)
            func or(_ session: TPMHandle) throws {
                try r.step("PolicyOR", .bytes, .policyOR, [session]) { writer in
                    writer.u32(2)
                    digests.forEach { writer.sized16($0) }
                }
            }
            try or(trial.handle)
            let policy = Array(try r.step("its digest", .bytes, .policyGetDigest, [trial.handle]).parameters.dropFirst(2))
            try r.step("SetPrimaryPolicy", .bytes, .setPrimaryPolicy, [.owner], passwords: [[]]) { $0.sized16(policy); $0.value(HashAlgorithm.sha256) }
            let session = try ClientSession(c, type: 1)
            for (code, digest) in [(TPMCommandCode.policyTemplate, templateHash), (.policyNameHash, nameHash)] {
                for area in [template, Template.eccSigning()] {
                    try r.step("PolicyRestart", .bytes, .policyRestart, [session.handle])
                    try r.step("\(code)", .bytes, code, [session.handle]) { $0.sized16(digest) }
                    try or(session.handle)
                    let response = try ClientSession.run(
                        c, .createPrimary, [Entity(.owner)], [.init(session)], authorized: 1, creation(area))
                    try r.note("CreatePrimary", .size, response)
                    if let handle = response.handle { try c.flush(handle) }
                }
            }
        }
    }
}

/// An HMAC key from outside, with its private part.
private enum SymmetricFixture {
    static let hmacKey: (sensitive: SensitiveArea, area: PublicArea) = {
        let sensitive = SensitiveArea(
            type: .keyedHash, authValue: [], seedValue: [UInt8](repeating: 5, count: 32), sensitive: [UInt8](repeating: 6, count: 32))
        let area = PublicArea(
            nameAlgorithm: .sha256, attributes: [.userWithAuth, .sign], parameters: .keyedHash(scheme: Scheme(.hmac, .sha256)),
            unique: .digest(digest(.sha256, sensitive.seedValue, sensitive.sensitive)))
        return (sensitive, area)
    }()
}
