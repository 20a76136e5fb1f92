// Stock swtpm and a paratpm guest answer the same command streams alike: response codes, sizes, digests, Names.
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct DifferentialTests {
    private static let sixteen = (0..<32).map { UInt8($0) }

    @Test func startupAndTestsAndRandom() throws {
        try compareWithStock { r in
            try r.step("Startup again", .bytes, .startup) { $0.u16(0) }
            try r.step("SelfTest", .bytes, .selfTest) { $0.u8(1) }
            try r.step("SelfTest with a wrong flag", .bytes, .selfTest) { $0.u8(2) }
            try r.step("IncrementalSelfTest", .size, .incrementalSelfTest) { $0.list([TPMAlgorithm.sha256]) }
            try r.step("GetTestResult", .size, .getTestResult)
            try r.step("GetRandom 16", .size, .getRandom) { $0.u16(16) }
            try r.step("GetRandom 0", .size, .getRandom) { $0.u16(0) }
            try r.step("StirRandom", .bytes, .stirRandom) { $0.sized16([1, 2, 3]) }
            try r.step("StirRandom too long", .bytes, .stirRandom) { $0.sized16([UInt8](repeating: 1, count: 129)) }
            try r.step("Shutdown with a wrong type", .bytes, .shutdown) { $0.u16(2) }
            try r.step("Shutdown clear", .bytes, .shutdown) { $0.u16(0) }
        }
    }

    @Test func malformedHeadersAndAuthorizationAreas() throws {
        try compareWithStock { r in
            try r.raw("unknown command", MessageHeader(tag: 0x8001, size: 10, code: 0x1FF).wire)
            try r.raw("bad tag", MessageHeader(tag: 0x8003, size: 10, code: 0x144).wire)
            try r.raw("GetRandom without parameter", MessageHeader(tag: 0x8001, size: 10, code: 0x17B).wire)
            try r.raw("GetRandom with one byte too many", MessageHeader(tag: 0x8001, size: 13, code: 0x17B).wire + [0, 4, 0])
            try r.raw("PCR_Extend without sessions", MessageHeader(tag: 0x8001, size: 18, code: 0x182).wire + [0, 0, 0, 16, 0, 0, 0, 0])
            try r.raw("ReadPublic of a missing object", MessageHeader(tag: 0x8001, size: 14, code: 0x173).wire + [0x80, 0, 0, 1])
            try r.raw("ReadPublic out of range", MessageHeader(tag: 0x8001, size: 14, code: 0x173).wire + [0x80, 0xFF, 1, 9])
            try r.raw("ReadPublic of an NV handle", MessageHeader(tag: 0x8001, size: 14, code: 0x173).wire + [0x01, 0, 0, 9])
            try r.raw("ReadPublic of a missing persistent object", MessageHeader(tag: 0x8001, size: 14, code: 0x173).wire + [0x81, 0, 0, 9])
            try r.raw("NV_ReadPublic of a missing index", MessageHeader(tag: 0x8001, size: 14, code: 0x169).wire + [0x01, 0, 0, 9])
            try r.step("PCR_Extend with a wrong password", .bytes, .pcrExtend, [TPMHandle(16)], passwords: [[1]]) {
                $0.list([TaggedDigest(.sha256, Self.sixteen)])
            }
            let missing = AuthCommand(handle: TPMHandle(.hmacSession, 7), attributes: [.continueSession])
            try r.note("a session that is not there", .bytes, r.connection.run(CommandMessage(
                .pcrExtend, handles: [TPMHandle(16)], sessions: [missing], parameters: UInt32(0).wire)))
            let password = AuthCommand(handle: .password, attributes: [.continueSession])
            try r.note("two passwords for one handle", .bytes, r.connection.run(CommandMessage(
                .pcrExtend, handles: [TPMHandle(16)], sessions: [password, password], parameters: UInt32(0).wire)))
            let decrypting = AuthCommand(handle: .password, attributes: [.continueSession, .decrypt])
            try r.note("a password that decrypts", .bytes, r.connection.run(CommandMessage(
                .pcrExtend, handles: [TPMHandle(16)], sessions: [decrypting], parameters: UInt32(0).wire)))
        }
    }

    @Test func platformConfigurationRegisters() throws {
        try compareWithStock { r in
            for hash in HashAlgorithm.allCases {
                try r.step("read all of \(hash), first", .part { Array($0.parameters.dropFirst(4)) }, .pcrRead) {
                    $0.list([PCRSelection(hash, pcrs: 0..<8)])
                }
                try r.step("read 16 to 23 of \(hash)", .part { Array($0.parameters.dropFirst(4)) }, .pcrRead) {
                    $0.list([PCRSelection(hash, pcrs: 16..<24)])
                }
            }
            for pcr in [0, 7, 10, 16, 17, 20, 22, 23] {
                try r.step("extend \(pcr)", .bytes, .pcrExtend, [TPMHandle(UInt32(pcr))], passwords: [[]]) {
                    $0.list([TaggedDigest(.sha256, Self.sixteen), TaggedDigest(.sha1, Array(Self.sixteen.prefix(20)))])
                }
                try r.step("read \(pcr)", .part { Array($0.parameters.dropFirst(4)) }, .pcrRead) {
                    $0.list([PCRSelection(.sha256, pcrs: [pcr]), PCRSelection(.sha1, pcrs: [pcr])])
                }
            }
            try r.step("event", .bytes, .pcrEvent, [TPMHandle(5)], passwords: [[]]) { $0.sized16(Array("event".utf8)) }
            try r.step("event to nowhere", .bytes, .pcrEvent, [.null], passwords: [[]]) { $0.sized16(Array("event".utf8)) }
            for pcr in [0, 16, 17, 20, 23] {
                try r.step("reset \(pcr)", .bytes, .pcrReset, [TPMHandle(UInt32(pcr))], passwords: [[]])
            }
            try r.step("extend 24", .bytes, .pcrExtend, [TPMHandle(24)], passwords: [[]]) { $0.list([TaggedDigest]()) }
            try r.step("extend with an unknown hash", .bytes, .pcrExtend, [TPMHandle(16)], passwords: [[]]) {
                $0.u32(1)
                $0.u16(0x1234)
            }
            try r.step("read with a short selection", .bytes, .pcrRead) { $0.raw([0, 0, 0, 1, 0, 0x0B, 2, 1, 0]) }
        }
    }

    @Test func objectsOfEveryKind() throws {
        try compareWithStock { r in
            let parent = try r.step("ECC primary", .size, .createPrimary, [.owner], passwords: [[]], creation(Template.eccStorage))
            guard let handle = parent.handle else { throw HarnessError("no primary") }
            for (name, template, data) in [
                ("sealed", Template.sealed(), Array("secret".utf8)), ("ECC signing", Template.eccSigning(), []),
                ("restricted ECC signing", Template.eccSigning(Scheme(.ecdsa, .sha256), restricted: true), []),
                ("ECC storage", Template.eccStorage, []), ("HMAC", Template.hmacKey, []),
            ] {
                let response = try r.step("Create \(name)", .code, .create, [handle], passwords: [[]], creation(template, auth: [7], data: data))
                let created = try Created(response)
                let loaded = try r.note("Load \(name)", .size, r.connection.load(created, under: handle))
                guard let object = loaded.handle else { throw HarnessError("no object") }
                try r.step("ReadPublic \(name)", .size, .readPublic, [object])
                try r.step("Unseal \(name) with a wrong password", .code, .unseal, [object], passwords: [[8]])
                try r.step("Unseal \(name)", .bytes, .unseal, [object], passwords: [[7]])
                try r.connection.flush(object)
            }
            var bad = Template.sealed()
            bad.attributes.insert(.sensitiveDataOrigin)
            try r.step("sealed with sensitiveDataOrigin", .bytes, .create, [handle], passwords: [[]], creation(bad, data: [1]))
            try r.step("sealed without data", .code, .create, [handle], passwords: [[]], creation(Template.sealed()))
            var odd = Template.eccStorage
            odd.attributes.insert(.sign)
            try r.step("restricted with sign and decrypt", .bytes, .create, [handle], passwords: [[]], creation(odd))
            odd = Template.eccStorage
            odd.attributes.remove(.fixedParent)
            try r.step("fixedTPM without fixedParent", .bytes, .create, [handle], passwords: [[]], creation(odd))
            odd = Template.eccStorage
            odd.authPolicy = [1, 2, 3]
            try r.step("authPolicy of a wrong size", .bytes, .create, [handle], passwords: [[]], creation(odd))
            try r.step("data that is no template", .bytes, .create, [handle], passwords: [[]]) { $0.raw([0, 4, 0, 0, 0, 0, 0, 2, 0, 1]) }
            try r.step("Load of rubbish", .bytes, .load, [handle], passwords: [[]]) {
                $0.sized16([0, 32] + [UInt8](repeating: 5, count: 98))
                $0.sized16(Template.sealed())
            }
            try r.step("evict to a platform handle", .bytes, .evictControl, [.owner, handle], passwords: [[]]) { $0.u32(0x8180_0001) }
            try r.step("evict", .bytes, .evictControl, [.owner, handle], passwords: [[]]) { $0.u32(0x8100_0001) }
            try r.step("evict again", .bytes, .evictControl, [.owner, handle], passwords: [[]]) { $0.u32(0x8100_0001) }
            try r.step("remove it", .bytes, .evictControl, [.owner, TPMHandle(0x8100_0001)], passwords: [[]]) { $0.u32(0x8100_0001) }
        }
    }

    @Test func hashesAndSequences() throws {
        try compareWithStock { r in
            for hash in HashAlgorithm.allCases {
                try r.step("Hash \(hash)", .part { Array($0.parameters.prefix(2 + hash.digestSize)) }, .hash) {
                    $0.sized16(Array("abc".utf8))
                    $0.value(hash)
                    $0.value(TPMHandle.owner)
                }
            }
            try r.step("Hash of TPM_GENERATED_VALUE", .bytes, .hash) {
                $0.sized16([0xFF, 0x54, 0x43, 0x47, 0])
                $0.value(HashAlgorithm.sha256)
                $0.value(TPMHandle.owner)
            }
            let start = try r.step("HashSequenceStart", .size, .hashSequenceStart) {
                $0.sized16([9])
                $0.value(HashAlgorithm.sha256)
            }
            guard let sequence = start.handle else { throw HarnessError("no sequence") }
            try r.step("SequenceUpdate with a wrong password", .bytes, .sequenceUpdate, [sequence], passwords: [[]]) { $0.sized16([1]) }
            try r.step("SequenceUpdate", .bytes, .sequenceUpdate, [sequence], passwords: [[9]]) { $0.sized16([UInt8](repeating: 3, count: 1024)) }
            try r.step("SequenceUpdate too long", .bytes, .sequenceUpdate, [sequence], passwords: [[9]]) { $0.sized16([UInt8](repeating: 3, count: 1025)) }
            try r.step("SequenceComplete", .part { Array($0.parameters.prefix(34)) }, .sequenceComplete, [sequence], passwords: [[9]]) {
                $0.sized16([4])
                $0.value(TPMHandle.null)
            }
            try r.step("SequenceUpdate after the end", .bytes, .sequenceUpdate, [sequence], passwords: [[9]]) { $0.sized16([1]) }
        }
    }

    @Test func nonVolatileStorage() throws {
        try compareWithStock { r in
            let index = TPMHandle(0x0150_0001)
            func define(_ attributes: NVAttributes, size: UInt16 = 16, index: TPMHandle = index) -> (inout WireWriter) -> Void {
                {
                    $0.sized16([5])
                    $0.sized16(NVPublic(index: index, nameAlgorithm: .sha256, attributes: attributes, authPolicy: [], dataSize: size))
                }
            }
            try r.step("define without rights", .bytes, .nvDefineSpace, [.owner], passwords: [[]], define([]))
            try r.step("define written", .bytes, .nvDefineSpace, [.owner], passwords: [[]], define([.ownerRead, .ownerWrite, .written]))
            try r.step("define too large", .bytes, .nvDefineSpace, [.owner], passwords: [[]], define([.ownerRead, .ownerWrite], size: 2049))
            try r.step("define platform's as owner", .bytes, .nvDefineSpace, [.owner], passwords: [[]], define([.ppRead, .ppWrite, .platformCreate]))
            try r.step("define", .bytes, .nvDefineSpace, [.owner], passwords: [[]], define([.ownerRead, .ownerWrite, .authRead]))
            try r.step("define again", .bytes, .nvDefineSpace, [.owner], passwords: [[]], define([.ownerRead, .ownerWrite]))
            try r.step("ReadPublic", .bytes, .nvReadPublic, [index])
            try r.step("read unwritten", .bytes, .nvRead, [.owner, index], passwords: [[]]) { $0.u16(16); $0.u16(0) }
            try r.step("write", .bytes, .nvWrite, [.owner, index], passwords: [[]]) { $0.sized16(Array("0123456789".utf8)); $0.u16(2) }
            try r.step("ReadPublic after writing", .bytes, .nvReadPublic, [index])
            try r.step("read", .bytes, .nvRead, [.owner, index], passwords: [[]]) { $0.u16(16); $0.u16(0) }
            try r.step("read with the index's own authorization", .bytes, .nvRead, [index, index], passwords: [[5]]) { $0.u16(4); $0.u16(2) }
            try r.step("read with a wrong one", .bytes, .nvRead, [index, index], passwords: [[6]]) { $0.u16(4); $0.u16(2) }
            try r.step("read past the end", .bytes, .nvRead, [.owner, index], passwords: [[]]) { $0.u16(16); $0.u16(1) }
            try r.step("write past the end", .bytes, .nvWrite, [.owner, index], passwords: [[]]) { $0.sized16([1, 2]); $0.u16(15) }
            try r.step("write with the index's own authorization", .bytes, .nvWrite, [index, index], passwords: [[5]]) { $0.sized16([1]); $0.u16(0) }
            try r.step("undefine", .bytes, .nvUndefineSpace, [.owner, index], passwords: [[]])
            try r.step("read undefined", .bytes, .nvRead, [.owner, index], passwords: [[]]) { $0.u16(16); $0.u16(0) }
        }
    }

    @Test func hierarchies() throws {
        try compareWithStock { r in
            try r.step("owner auth", .bytes, .hierarchyChangeAuth, [.owner], passwords: [[]]) { $0.sized16([1, 2, 3]) }
            try r.step("with the old one", .bytes, .hierarchyChangeAuth, [.owner], passwords: [[]]) { $0.sized16([]) }
            try r.step("with the new one", .bytes, .hierarchyChangeAuth, [.owner], passwords: [[1, 2, 3]]) { $0.sized16([4, 0, 0]) }
            try r.step("without the trailing zeros", .bytes, .hierarchyChangeAuth, [.owner], passwords: [[4]]) { $0.sized16([4]) }
            try r.step("too long", .bytes, .hierarchyChangeAuth, [.owner], passwords: [[4]]) { $0.sized16([UInt8](repeating: 1, count: 65)) }
            try r.step("Clear as owner", .bytes, .clear, [.owner], passwords: [[4]])
            try r.step("Clear as lockout", .bytes, .clear, [.lockout], passwords: [[]])
            try r.step("the owner's auth is empty again", .bytes, .hierarchyChangeAuth, [.owner], passwords: [[]]) { $0.sized16([]) }
            try r.step("lockout auth", .bytes, .hierarchyChangeAuth, [.lockout], passwords: [[]]) { $0.sized16([8]) }
            try r.step("a wrong lockout auth", .bytes, .clear, [.lockout], passwords: [[9]])
            try r.step("lockout is locked out", .bytes, .clear, [.lockout], passwords: [[8]])
            try r.step("but the platform is not", .bytes, .clear, [.platform], passwords: [[]])
        }
    }

    @Test func dictionaryAttack() throws {
        try compareWithStock { r in
            let parent = try r.step("primary", .size, .createPrimary, [.owner], passwords: [[]], creation(Template.eccStorage))
            let handle = parent.handle ?? .null
            let template = Template.sealed(attributes: [.fixedTPM, .fixedParent, .userWithAuth])
            let created = try Created(try r.step("Create", .code, .create, [handle], passwords: [[]], creation(template, auth: [1], data: [2])))
            let object = try r.connection.load(created, under: handle).handle ?? .null
            for i in 0..<4 { try r.step("wrong try \(i)", .bytes, .unseal, [object], passwords: [[9]]) }
            try r.step("locked out", .bytes, .unseal, [object], passwords: [[1]])
            try r.step("lockout counter", .part { Array($0.parameters.suffix(8)) }, .getCapability) { $0.u32(6); $0.u32(0x20E); $0.u32(1) }
            try r.step("Clear ends it", .bytes, .clear, [.lockout], passwords: [[]])
            try r.step("lockout counter", .part { Array($0.parameters.suffix(8)) }, .getCapability) { $0.u32(6); $0.u32(0x20E); $0.u32(1) }
        }
    }

    @Test func policies() throws {
        try compareWithStock { r in
            let c = r.connection
            let trial = try ClientSession(c, type: 3)
            try r.step("GetDigest of nothing", .bytes, .policyGetDigest, [trial.handle])
            try r.step("PolicyPCR", .bytes, .policyPCR, [trial.handle]) { $0.sized16([]); $0.list([PCRSelection(.sha256, pcrs: [16])]) }
            try r.step("its digest", .bytes, .policyGetDigest, [trial.handle])
            try r.step("PolicyCommandCode", .bytes, .policyCommandCode, [trial.handle]) { $0.value(TPMCommandCode.unseal) }
            try r.step("another command code", .bytes, .policyCommandCode, [trial.handle]) { $0.value(TPMCommandCode.sign) }
            try r.step("PolicyAuthValue", .bytes, .policyAuthValue, [trial.handle])
            try r.step("PolicyPassword", .bytes, .policyPassword, [trial.handle])
            try r.step("PolicySecret", .bytes, .policySecret, [.endorsement, trial.handle], passwords: [[]]) {
                $0.sized16([]); $0.sized16([]); $0.sized16(Array("ref".utf8)); $0.u32(0)
            }
            try r.step("its digest", .bytes, .policyGetDigest, [trial.handle])
            let zero = [UInt8](repeating: 0, count: 32)
            try r.step("PolicyOR", .bytes, .policyOR, [trial.handle]) { $0.u32(2); $0.sized16(zero); $0.sized16(zero) }
            try r.step("its digest", .bytes, .policyGetDigest, [trial.handle])
            try r.step("PolicyOR of one", .bytes, .policyOR, [trial.handle]) { $0.u32(1); $0.sized16(zero) }
            try r.step("PolicyOR of nine", .bytes, .policyOR, [trial.handle]) { w in w.u32(9); for _ in 0..<9 { w.sized16(zero) } }
            try r.step("PolicyRestart", .bytes, .policyRestart, [trial.handle])
            try r.step("its digest", .bytes, .policyGetDigest, [trial.handle])
            let real = try ClientSession(c, type: 1)
            try r.step("PolicyPCR with a wrong digest", .bytes, .policyPCR, [real.handle]) {
                $0.sized16(zero); $0.list([PCRSelection(.sha256, pcrs: [16])])
            }
            try r.step("PolicyOR without the current digest", .bytes, .policyOR, [real.handle]) {
                $0.u32(2); $0.sized16([UInt8](repeating: 1, count: 32)); $0.sized16([UInt8](repeating: 2, count: 32))
            }
            try r.step("PolicyGetDigest of an HMAC handle", .bytes, .policyGetDigest, [TPMHandle(.hmacSession, 0)])
        }
    }

    @Test func aSecretUnderPCRs() throws {
        try compareWithStock { r in
            let c = r.connection
            let selection = [PCRSelection(.sha256, pcrs: [16])]
            let trial = try ClientSession(c, type: 3)
            try r.step("PolicyPCR, trial", .bytes, .policyPCR, [trial.handle]) { $0.sized16([]); $0.list(selection) }
            let digestResponse = try r.step("its digest", .bytes, .policyGetDigest, [trial.handle])
            let policy = Array(digestResponse.parameters.dropFirst(2))
            try c.flush(trial.handle)
            let parent = try c.primary(Template.eccStorage).handle
            let template = Template.sealed(policy: policy, attributes: [.fixedTPM, .fixedParent, .noDA])
            let created = try Created(try r.step("Create", .code, .create, [parent], passwords: [[]], creation(template, data: [42])))
            let object = try c.load(created, under: parent).handle ?? .null
            let entity = Entity(object, name: created.publicArea.name)
            try r.step("Unseal by password", .bytes, .unseal, [object], passwords: [[]])
            let session = try ClientSession(c, type: 1, symmetric: .aes(keyBits: 128, mode: .cfb))
            try r.note("Unseal with an empty policy", .bytes, try ClientSession.run(c, .unseal, [entity], [.init(session)], authorized: 1))
            try r.step("PolicyPCR", .bytes, .policyPCR, [session.handle]) { $0.sized16([]); $0.list(selection) }
            try r.note("Unseal", .bytes, try ClientSession.run(c, .unseal, [entity], [.init(session)], authorized: 1))
            try r.note("Unseal again without a policy", .bytes, try ClientSession.run(c, .unseal, [entity], [.init(session)], authorized: 1))
            try r.step("extend 16", .bytes, .pcrExtend, [TPMHandle(16)], passwords: [[]]) { $0.list([TaggedDigest(.sha256, Self.sixteen)]) }
            try r.step("PolicyRestart", .bytes, .policyRestart, [session.handle])
            try r.step("PolicyPCR of other values", .bytes, .policyPCR, [session.handle]) { $0.sized16([]); $0.list(selection) }
            try r.note("Unseal fails", .bytes, try ClientSession.run(c, .unseal, [entity], [.init(session)], authorized: 1))
        }
    }

    @Test func sessionsOfEveryKind() throws {
        try compareWithStock { r in
            let c = r.connection
            let ecc = try c.primary(Template.eccStorage)
            let rsa = try c.primary(Template.rsaStorage)
            let bound = Entity(.owner)
            let symmetric: [SymmetricDefinition] = [.null, .aes(keyBits: 128, mode: .cfb), .aes(keyBits: 256, mode: .cfb), .xor(.sha256)]
            for hash in [HashAlgorithm.sha1, .sha256, .sha384] {
                for definition in symmetric {
                    for (salt, key) in [("unsalted", nil), ("ECC", ecc), ("RSA", rsa)] as [(String, (handle: TPMHandle, area: PublicArea)?)] {
                        for bind in [nil, bound] {
                            let session = try ClientSession(c, hash: hash, symmetric: definition, saltKey: key, bind: bind)
                            var attributes: SessionAttributes = [.continueSession]
                            if definition != .null { attributes.formUnion([.encrypt]) }
                            let name = "\(hash) \(definition) \(salt) \(bind == nil ? "unbound" : "bound")"
                            if definition != .null {
                                try r.note("GetRandom, \(name)", .size, try ClientSession.run(c, .getRandom, [], [.init(session, attributes)], authorized: 0) { $0.u16(8) })
                            }
                            try r.note("extend 23, \(name)", .bytes, try ClientSession.run(
                                c, .pcrExtend, [Entity(TPMHandle(23))], [.init(session)], authorized: 1) { $0.list([TaggedDigest(.sha256, Self.sixteen)]) })
                            try r.note("audit, \(name)", .bytes, try ClientSession.run(
                                c, .pcrRead, [], [.init(session, [.continueSession, .audit])], authorized: 0) { $0.list([PCRSelection]()) })
                            try c.flush(session.handle)
                        }
                    }
                }
            }
        }
    }

    /// The first audit ends the bond, and what a bound session authorizes may change the Name: this command's response still
    /// goes by what the session was when the command came.
    @Test func aBoundSessionEndsItsOwnBond() throws {
        try compareWithStock { r in
            let c = r.connection
            try r.step("ownerAuth", .bytes, .hierarchyChangeAuth, [.owner], passwords: [[]]) { $0.sized16([7]) }
            let owner = Entity(.owner, auth: [7])
            let session = try ClientSession(c, bind: owner)
            try r.note("an audited command", .bytes, try ClientSession.run(
                c, .setPrimaryPolicy, [owner], [.init(session, [.continueSession, .audit])], authorized: 1
            ) { $0.sized16([]); $0.u16(TPMAlgorithm.null.rawValue) })
        }
    }

    @Test func contexts() throws {
        try compareWithStock { r in
            let c = r.connection
            let primary = try c.primary(Template.eccStorage).handle
            let saved = try r.step("save an object", .code, .contextSave, [primary])
            try r.step("flush it", .bytes, .flushContext) { $0.value(primary) }
            try r.step("flush it again", .bytes, .flushContext) { $0.value(primary) }
            let loaded = try r.step("load it", .code, .contextLoad) { $0.raw(saved.parameters) }
            try r.step("load it again", .code, .contextLoad) { $0.raw(saved.parameters) }
            try r.step("it is the same", .size, .readPublic, [loaded.handle ?? .null])
            var damaged = saved.parameters
            damaged[damaged.count - 3] ^= 1
            try r.step("load a damaged one", .bytes, .contextLoad) { $0.raw(damaged) }
            let session = try ClientSession(c)
            let savedSession = try r.step("save a session", .code, .contextSave, [session.handle])
            try r.step("it is not loaded", .bytes, .contextSave, [session.handle])
            try r.step("load it", .code, .contextLoad) { $0.raw(savedSession.parameters) }
            try r.step("load it twice", .bytes, .contextLoad) { $0.raw(savedSession.parameters) }
        }
    }

    @Test func signaturesAndQuotes() throws {
        try compareWithStock { r in
            let c = r.connection
            let key = try c.primary(Template.eccSigning(), under: .endorsement).handle
            let digest32 = Self.sixteen
            func sign(_ scheme: Scheme, _ digest: [UInt8]) -> (inout WireWriter) -> Void {
                {
                    $0.sized16(digest)
                    scheme.encode(to: &$0)
                    $0.value(Ticket.null(StructureTag.hashCheck))
                }
            }
            let signed = try r.step("Sign", .size, .sign, [key], passwords: [[]], sign(Scheme(.ecdsa, .sha256), digest32))
            try r.step("Sign without scheme", .bytes, .sign, [key], passwords: [[]], sign(.null, digest32))
            try r.step("Sign a short digest", .bytes, .sign, [key], passwords: [[]], sign(Scheme(.ecdsa, .sha256), [1]))
            try r.step("Sign with an RSA scheme", .bytes, .sign, [key], passwords: [[]], sign(Scheme(.rsassa, .sha256), digest32))
            try r.step("VerifySignature", .size, .verifySignature, [key]) { $0.sized16(digest32); $0.raw(signed.parameters) }
            try r.step("VerifySignature of another digest", .bytes, .verifySignature, [key]) {
                $0.sized16([UInt8](digest32.reversed()))
                $0.raw(signed.parameters)
            }
            let restricted = try c.primary(Template.eccSigning(Scheme(.ecdsa, .sha256), restricted: true), under: .endorsement).handle
            try r.step("Sign with a restricted key and no ticket", .bytes, .sign, [restricted], passwords: [[]], sign(.null, digest32))
            try r.step("Quote", .size, .quote, [restricted], passwords: [[]]) {
                $0.sized16(Array("nonce".utf8))
                $0.value(TPMAlgorithm.null)
                $0.list([PCRSelection(.sha256, pcrs: [0, 16])])
            }
            try r.step("Quote with a wrong scheme", .bytes, .quote, [restricted], passwords: [[]]) {
                $0.sized16([])
                Scheme(.ecdsa, .sha1).encode(to: &$0)
                $0.list([PCRSelection(.sha256, pcrs: [0, 16])])
            }
        }
    }
}
