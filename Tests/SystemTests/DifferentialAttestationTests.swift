// Stock swtpm and a paratpm guest beside each other: symmetric ciphers, MAC and event sequences, attestations, audit, ephemeral keys.
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct DifferentialAttestationTests {
    private static let blocks = (0..<64).map { UInt8($0) }
    private static let iv = (0..<16).map { UInt8(0xA0 + $0) }
    private static let fixed: ObjectAttributes = [.fixedTPM, .fixedParent, .userWithAuth, .noDA]

    private static func cipher(_ mode: TPMAlgorithm, _ attributes: ObjectAttributes, bits: UInt16 = 128) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: fixed.union(attributes), parameters: .symcipher(.aes(keyBits: bits, mode: mode)),
            unique: .digest([]))
    }

    /// A primary and a child of it with a key from outside, so that both TPMs calculate with the same.
    private static func loaded(_ r: Recorder, _ name: String, _ template: PublicArea, _ key: [UInt8]) throws -> TPMHandle {
        let parent = try r.connection.primary(Template.eccStorage).handle
        let response = try r.step("Create \(name)", .code, .create, [parent], passwords: [[]], creation(template, data: key))
        let object = try r.note("Load \(name)", .size, r.connection.load(try Created(response), under: parent))
        try r.connection.flush(parent)
        guard let handle = object.handle else { throw HarnessError("no object") }
        return handle
    }

    @Test func ciphersInEveryMode() throws {
        try compareWithStock { r in
            let any = try Self.loaded(r, "AES of any mode", Self.cipher(.null, [.sign, .decrypt]), Array(Self.blocks[..<16]))
            for mode in [TPMAlgorithm.cfb, .ctr, .ofb, .cbc, .ecb, .null, .cmac, .sha256] {
                for (decrypt, count, ivSize) in [(false, 64, 16), (true, 64, 16), (false, 37, 16), (true, 5, 16), (false, 0, 16), (false, 32, 0), (true, 16, 12)] {
                    let name = "mode \(mode.rawValue), \(decrypt ? "de" : "en")crypt \(count) bytes, IV of \(ivSize)"
                    try r.step("EncryptDecrypt: \(name)", .bytes, .encryptDecrypt, [any], passwords: [[]]) {
                        $0.flag(decrypt)
                        $0.value(mode)
                        $0.sized16(Array(Self.iv.prefix(ivSize)))
                        $0.sized16(Array(Self.blocks.prefix(count)))
                    }
                    try r.step("EncryptDecrypt2: \(name)", .bytes, .encryptDecrypt2, [any], passwords: [[]]) {
                        $0.sized16(Array(Self.blocks.prefix(count)))
                        $0.flag(decrypt)
                        $0.value(mode)
                        $0.sized16(Array(Self.iv.prefix(ivSize)))
                    }
                }
            }
            let encrypting = try Self.loaded(r, "AES-256-CFB that encrypts", Self.cipher(.cfb, .sign, bits: 256), Array(Self.blocks[..<32]))
            for (decrypt, mode) in [(false, TPMAlgorithm.null), (true, .null), (false, .cfb), (false, .ctr)] {
                try r.step("decrypt: \(decrypt), mode \(mode.rawValue)", .bytes, .encryptDecrypt2, [encrypting], passwords: [[]]) {
                    $0.sized16(Self.blocks)
                    $0.flag(decrypt)
                    $0.value(mode)
                    $0.sized16(Self.iv)
                }
            }
            let parent = try r.connection.primary(Template.eccStorage).handle
            try r.step("a storage key", .bytes, .encryptDecrypt2, [parent], passwords: [[]]) {
                $0.sized16([]); $0.flag(false); $0.value(TPMAlgorithm.cfb); $0.sized16(Self.iv)
            }
        }
    }

    @Test func authenticationCodes() throws {
        try compareWithStock { r in
            let key = Array(Self.blocks[..<16])
            var hmac = Template.hmacKey
            hmac.attributes.remove(.sensitiveDataOrigin)
            for (name, template) in [
                ("CMAC key", Self.cipher(.cmac, .sign)), ("any mode", Self.cipher(.null, [.sign, .decrypt])), ("HMAC key", hmac),
            ] {
                let handle = try Self.loaded(r, name, template, key)
                for scheme in [TPMAlgorithm.null, .cmac, .sha256, .sha1, .cfb, .hmac] {
                    for count in [0, 16, 40] {
                        try r.step("MAC of \(count) bytes, \(name), \(scheme.rawValue)", .bytes, .hmac, [handle], passwords: [[]]) {
                            $0.sized16(Array(Self.blocks.prefix(count)))
                            $0.value(scheme)
                        }
                    }
                    let start = try r.step("MAC_Start, \(name), \(scheme.rawValue)", .bytes, .hmacStart, [handle], passwords: [[]]) {
                        $0.sized16([3])
                        $0.value(scheme)
                    }
                    guard let sequence = start.handle else { continue }
                    for count in [5, 27, 16] {
                        try r.step("update", .bytes, .sequenceUpdate, [sequence], passwords: [[3]]) {
                            $0.sized16(Array(Self.blocks.prefix(count)))
                        }
                    }
                    try r.step("complete", .bytes, .sequenceComplete, [sequence], passwords: [[3]]) {
                        $0.sized16([1])
                        $0.value(TPMHandle.owner)
                    }
                }
                try r.step("EncryptDecrypt2, \(name)", .bytes, .encryptDecrypt2, [handle], passwords: [[]]) {
                    $0.sized16([]); $0.flag(false); $0.value(TPMAlgorithm.null); $0.sized16(Self.iv)
                }
                try r.connection.flush(handle)
            }
        }
    }

    /// More than the chip takes at once, and a context saved on the way.
    @Test func longMACSequence() throws {
        try compareWithStock { r in
            var template = Template.hmacKey
            template.attributes.remove(.sensitiveDataOrigin)
            let key = try Self.loaded(r, "HMAC key", template, Array(Self.blocks[..<20]))
            let start = try r.step("HMAC_Start", .bytes, .hmacStart, [key], passwords: [[]]) {
                $0.sized16([7])
                $0.value(TPMAlgorithm.null)
            }
            guard var sequence = start.handle else { throw HarnessError("no sequence") }
            for round in 0..<4 {
                try r.step("update \(round)", .bytes, .sequenceUpdate, [sequence], passwords: [[7]]) {
                    $0.sized16((0..<700).map { UInt8(truncatingIfNeeded: $0 + round) })
                }
                let context = try r.step("save", .code, .contextSave, [sequence]).parameters
                try r.connection.flush(sequence)
                let loaded = try r.step("load", .bytes, .contextLoad) { $0.raw(context) }
                sequence = loaded.handle ?? .null
            }
            try r.step("complete", .bytes, .sequenceComplete, [sequence], passwords: [[7]]) {
                $0.sized16([9])
                $0.value(TPMHandle.owner)
            }
        }
    }

    @Test func eventSequences() throws {
        try compareWithStock { r in
            for pcr in [TPMHandle.null, TPMHandle(16), TPMHandle(20), TPMHandle(24)] {
                let start = try r.step("start", .bytes, .hashSequenceStart) { $0.sized16([4]); $0.value(TPMAlgorithm.null) }
                guard let sequence = start.handle else { throw HarnessError("no sequence") }
                try r.step("update", .bytes, .sequenceUpdate, [sequence], passwords: [[4]]) { $0.sized16(Self.blocks) }
                try r.step("SequenceComplete", .bytes, .sequenceComplete, [sequence], passwords: [[4]]) {
                    $0.sized16([])
                    $0.value(TPMHandle.owner)
                }
                try r.step("complete into \(pcr.rawValue)", .bytes, .eventSequenceComplete, [pcr, sequence], passwords: [[], [4]]) {
                    $0.sized16([1, 2, 3])
                }
                try r.step("again", .bytes, .eventSequenceComplete, [pcr, sequence], passwords: [[], [4]]) { $0.sized16([]) }
                try r.connection.flush(sequence)
            }
            try r.step("PCR 16", .part { Array($0.parameters.dropFirst(4)) }, .pcrRead) { $0.list([PCRSelection(.sha384, pcrs: [16])]) }
            let start = try r.step("a hash sequence", .bytes, .hashSequenceStart) { $0.sized16([]); $0.value(HashAlgorithm.sha1) }
            try r.step("is no event", .bytes, .eventSequenceComplete, [.null, start.handle ?? .null], passwords: [[], []]) { $0.sized16([]) }
        }
    }

    /// Magic, type, and what is attested: all but the signer, the clock and the obfuscated numbers.
    private static func attested(_ response: ResponseMessage) throws -> [UInt8] {
        var reader = WireReader(response.parameters)
        var body = WireReader(try reader.sized16())
        let head = try body.bytes(6)
        let signer = try body.sized16()
        let extra = try body.sized16()
        _ = try body.bytes(17 + 8)
        return head + UInt16(signer.count).wire + extra + UInt32(body.remaining).wire + (try reader.bytes(2))
    }

    @Test func attestations() throws {
        try compareWithStock { r in
            let primary = try r.connection.primary(Template.eccSigning(Scheme(.ecdsa, .sha256), restricted: true), under: .endorsement)
            let made = try r.connection.run(.createPrimary, [.owner], passwords: [[]], creation(Template.eccStorage))
            guard let key = made.handle else { throw HarnessError("no key") }
            var reader = WireReader(made.parameters)
            _ = try reader.sized16()
            _ = try reader.sized16()
            let creationHash = try reader.sized16()
            let ticket = try reader.value(Ticket.self)
            let unbound = try r.connection.primary(Template.eccSigning()).handle
            let session = try ClientSession(r.connection)
            let index = TPMHandle(0x0150_0001)
            _ = try r.connection.run(.nvDefineSpace, [.owner], passwords: [[]]) {
                $0.sized16([])
                $0.sized16(NVPublic(index: index, nameAlgorithm: .sha256, attributes: [.ownerRead, .ownerWrite], authPolicy: [], dataSize: 32))
            }
            func nvCertify(_ signer: TPMHandle, _ size: UInt16, _ offset: UInt16) throws {
                try r.step("NV_Certify \(size) at \(offset)", .part(Self.attested), .nvCertify, [signer, .owner, index], passwords: [[], []]) {
                    $0.sized16([5]); Scheme.null.encode(to: &$0); $0.u16(size); $0.u16(offset)
                }
            }
            for (name, signer) in [("restricted", primary.handle), ("unbound", unbound), ("storage", key), ("none", TPMHandle.null)] {
                for scheme in [Scheme.null, Scheme(.ecdsa, .sha256), Scheme(.ecdsa, .sha1), Scheme(.ecschnorr, .sha256), Scheme(.rsassa, .sha256), Scheme(.hmac, .sha256)] {
                    let what = "\(name), \(scheme.algorithm.rawValue) \(String(describing: scheme.hash))"
                    func common(_ w: inout WireWriter) {
                        w.sized16([1, 2, 3])
                        scheme.encode(to: &w)
                    }
                    try r.step("Certify: \(what)", .part(Self.attested), .certify, [key, signer], passwords: [[], []], common)
                    try r.step("CertifyCreation: \(what)", .part(Self.attested), .certifyCreation, [signer, key], passwords: [[]]) {
                        $0.sized16([1, 2, 3]); $0.sized16(creationHash); scheme.encode(to: &$0); $0.value(ticket)
                    }
                    try r.step("GetTime: \(what)", .part(Self.attested), .getTime, [.endorsement, signer], passwords: [[], []], common)
                    try r.step("GetSessionAuditDigest: \(what)", .part(Self.attested), .getSessionAuditDigest, [.endorsement, signer, session.handle], passwords: [[], []], common)
                    try r.step("GetCommandAuditDigest: \(what)", .part(Self.attested), .getCommandAuditDigest, [.endorsement, signer], passwords: [[], []], common)
                    try r.step("Quote: \(what)", .part(Self.attested), .quote, [signer], passwords: [[]]) {
                        common(&$0); $0.list([PCRSelection(.sha256, pcrs: [0, 16])])
                    }
                }
                try nvCertify(signer, 0, 0)
            }
            try r.step("CertifyCreation of another", .bytes, .certifyCreation, [primary.handle, unbound], passwords: [[]]) {
                $0.sized16([]); $0.sized16(creationHash); Scheme.null.encode(to: &$0); $0.value(ticket)
            }
            try r.step("write", .bytes, .nvWrite, [.owner, index], passwords: [[]]) { $0.sized16([1, 2, 3]); $0.u16(0) }
            for (size, offset) in [(0, 0), (32, 0), (4, 8), (0, 4), (32, 1), (33, 0), (0, 33)] as [(UInt16, UInt16)] {
                try nvCertify(primary.handle, size, offset)
                try nvCertify(.null, size, offset)
            }
        }
    }

    @Test func audit() throws {
        try compareWithStock { r in
            func audited(_ name: String) throws {
                try r.step("audited commands, \(name)", .bytes, .getCapability) { $0.u32(4); $0.u32(0); $0.u32(64) }
                try r.step("audit counter, \(name)", .bytes, .getCapability) { $0.u32(6); $0.u32(0x213); $0.u32(2) }
                try r.step("GetCommandAuditDigest, \(name)", .part { Array($0.parameters.dropFirst(2 + 6 + 6 + 2 + 17 + 8)) },
                           .getCommandAuditDigest, [.endorsement, .null], passwords: [[], []]) {
                    $0.sized16([]); Scheme.null.encode(to: &$0)
                }
            }
            func set(_ hash: TPMAlgorithm, _ add: [TPMCommandCode] = [], _ remove: [TPMCommandCode] = [], auth: TPMHandle = .owner) throws {
                try r.step("SetCommandCodeAuditStatus", .bytes, .setCommandCodeAuditStatus, [auth], passwords: [[]]) {
                    $0.value(hash); $0.list(add); $0.list(remove)
                }
            }
            try audited("first")
            try set(.null, [.pcrExtend, .hash, .shutdown, TPMCommandCode(0x1FF), .getRandom], [])
            try audited("set")
            try r.step("Hash", .bytes, .hash) { $0.sized16([1]); $0.value(HashAlgorithm.sha256); $0.value(TPMHandle.null) }
            try r.step("extend", .bytes, .pcrExtend, [TPMHandle(16)], passwords: [[]]) { $0.list([TaggedDigest]()) }
            try r.step("extend, refused", .bytes, .pcrExtend, [TPMHandle(17)], passwords: [[]]) {
                $0.list([TaggedDigest(.sha1, [UInt8](repeating: 0, count: 20))])
            }
            try audited("used")
            try set(.sha256, [.hash])
            try set(.sha256)
            try audited("another hash")
            try set(.sha256, [], [.setCommandCodeAuditStatus, .hash], auth: .platform)
            try audited("removed")
            try set(.cfb)
            let signer = try r.connection.primary(Template.eccSigning(Scheme(.ecdsa, .sha256), restricted: true)).handle
            try r.step("a signed digest", .size, .getCommandAuditDigest, [.endorsement, signer], passwords: [[], []]) {
                $0.sized16([]); Scheme.null.encode(to: &$0)
            }
            try audited("begun anew")
            try r.step("too many", .bytes, .setCommandCodeAuditStatus, [.owner], passwords: [[]]) { $0.u16(0x10); $0.u32(255); $0.u32(0) }
        }
    }

    @Test func sessionAudit() throws {
        try compareWithStock { r in
            let c = r.connection
            let session = try ClientSession(c), other = try ClientSession(c)
            func audit(_ name: String, _ session: ClientSession, _ attributes: SessionAttributes) throws {
                let response = try ClientSession.run(c, .getRandom, [], [.init(session, attributes)], authorized: 0) { $0.u16(8) }
                try r.note(name, .part { $0.sessions.map(\.attributes.rawValue) }, response)
            }
            func digest(_ name: String) throws {
                try r.step("exclusive? \(name)", .part { [$0.parameters[2 + 6 + 6 + 2 + 17 + 8]] }, .getSessionAuditDigest,
                           [.endorsement, .null, session.handle], passwords: [[], []]) {
                    $0.sized16([]); Scheme.null.encode(to: &$0)
                }
            }
            try digest("before its use")
            try audit("first", session, [.continueSession, .audit])
            try audit("exclusive", session, [.continueSession, .audit, .auditExclusive])
            try r.step("no sessions allowed", .code, .contextSave, [other.handle])
            try audit("still exclusive", session, [.continueSession, .audit, .auditExclusive])
            try digest("interrupts by itself")
            try audit("no more", session, [.continueSession, .audit, .auditExclusive])
            try audit("but it audits", session, [.continueSession, .audit])
            try audit("reset", session, [.continueSession, .audit, .auditReset])
            try audit("reset and exclusive", session, [.continueSession, .audit, .auditReset, .auditExclusive])
            try r.step("one without sessions", .size, .getRandom) { $0.u16(4) }
            try audit("interrupted", session, [.continueSession, .audit, .auditExclusive])
            try audit("without audit", session, [.continueSession])
            try audit("reset without audit", session, [.continueSession, .auditReset])
        }
    }

    @Test func curvesAndEphemeralKeys() throws {
        try compareWithStock { r in
            for curve in [3, 4, 5, 0x99] as [UInt16] {
                try r.step("ECC_Parameters \(curve)", .bytes, .eccParameters) { $0.u16(curve) }
            }
            let agreeing = PublicArea(
                nameAlgorithm: .sha256, attributes: Self.fixed.union([.sensitiveDataOrigin, .decrypt]),
                parameters: .ecc(symmetric: .null, scheme: .null, curve: .p256, kdf: .null), unique: .ecc(ECCPoint(x: [], y: [])))
            let key = try r.connection.primary(agreeing)
            let storage = try r.connection.primary(Template.eccStorage).handle
            guard case .ecc(let own) = key.area.unique else { throw HarnessError("no point") }
            for round in 0..<3 {
                let ephemeral = try r.step("EC_Ephemeral \(round)", .part { Array($0.parameters.suffix(2)) }, .ecEphemeral) { $0.u16(3) }
                var reader = WireReader(ephemeral.parameters)
                let point = try reader.value(Sized<ECCPoint>.self).value
                func exchange(_ name: String, _ key: TPMHandle, _ scheme: TPMAlgorithm, _ counter: Int, _ qs: ECCPoint? = nil) throws {
                    try r.step("ZGen_2Phase: \(name)", .size, .zGen2Phase, [key], passwords: [[]]) {
                        $0.sized16(qs ?? own); $0.sized16(point); $0.value(scheme); $0.u16(UInt16(counter))
                    }
                }
                try exchange("storage key", storage, .ecdh, round)
                try exchange("no scheme", key.handle, .null, round)
                try exchange("no such scheme", key.handle, .ecdsa, round)
                try exchange("no such counter", key.handle, .ecdh, round + 1)
                try exchange("off the curve", key.handle, .ecdh, round, ECCPoint(x: own.y, y: own.x))
                try exchange("ECDH", key.handle, .ecdh, round)
                try exchange("used", key.handle, .ecdh, round)
            }
        }
    }
}
