// Stock swtpm and a paratpm guest side by side: NV of every type, PCR authorization and allocation, hierarchies, lockout, clock.
import Testing
import TPMCrypto
import TPMWire
import Wire

private let index = TPMHandle(.nvIndex, 0x50_0031)

private func attributes(_ type: NVAttributes.IndexType, _ more: NVAttributes = []) -> NVAttributes {
    var attributes: NVAttributes = [.ownerWrite, .ownerRead, .authRead, .noDA]
    attributes.formUnion(more)
    attributes.indexType = type
    return attributes
}

/// PolicyCommandCode alone, as a policy of SHA-256.
private func policy(_ code: TPMCommandCode) -> [UInt8] {
    digest(.sha256, [UInt8](repeating: 0, count: 32), TPMCommandCode.policyCommandCode.wire, code.wire)
}

extension Recorder {
    fileprivate func define(
        _ name: String, _ attributes: NVAttributes, size: UInt16 = 8, auth: [UInt8] = [], policy: [UInt8] = [], by authHandle: TPMHandle = .owner
    ) throws {
        let area = NVPublic(index: index, nameAlgorithm: .sha256, attributes: attributes, authPolicy: policy, dataSize: size)
        try step("define \(name)", .bytes, .nvDefineSpace, [authHandle], passwords: [[]]) {
            $0.sized16(auth)
            $0.sized16(area)
        }
    }
    fileprivate func undefine() throws { try step("undefine", .bytes, .nvUndefineSpace, [.owner, index], passwords: [[]]) }
    fileprivate func write(_ data: [UInt8], at offset: UInt16 = 0) throws {
        try step("write", .bytes, .nvWrite, [.owner, index], passwords: [[]]) {
            $0.sized16(data)
            $0.u16(offset)
        }
    }
    fileprivate func read(_ size: UInt16 = 8, by authHandle: TPMHandle = .owner, _ password: [UInt8] = []) throws {
        try step("read", .bytes, .nvRead, [authHandle, index], passwords: [password]) {
            $0.u16(size)
            $0.u16(0)
        }
    }
    fileprivate func nv(_ code: TPMCommandCode, by authHandle: TPMHandle = .owner, _ parameters: (inout WireWriter) -> Void = { _ in }) throws {
        try step("command \(code.rawValue)", .bytes, code, [authHandle, index], passwords: [[]], parameters)
    }
    fileprivate func publicArea() throws { try step("ReadPublic", .bytes, .nvReadPublic, [index]) }
    fileprivate func property(_ property: UInt32) throws {
        try step("property", .part { Array($0.parameters.suffix(8)) }, .getCapability) { $0.u32(6); $0.u32(property); $0.u32(1) }
    }
}

@Suite(.serialized) struct DifferentialStateTests {
    @Test func countersBitsAndDigests() throws {
        try compareWithStock { r in
            try r.define("a counter that is cleared", attributes(.counter, [.clearStClear]))
            try r.define("a counter", attributes(.counter))
            try r.write([0, 0, 0, 0, 0, 0, 0, 9])
            try r.read()
            for _ in 0..<3 { try r.nv(.nvIncrement) }
            try r.read()
            try r.publicArea()
            try r.nv(.nvSetBits) { $0.u64(1) }
            try r.nv(.nvExtend) { $0.sized16([1]) }
            try r.nv(.nvIncrement, by: .platform)
            try r.nv(.nvIncrement, by: index)
            try r.undefine()
            try r.define("a counter again", attributes(.counter, [.orderly]))
            try r.nv(.nvIncrement)
            try r.read()
            try r.undefine()
            try r.define("bits", attributes(.bits))
            try r.nv(.nvSetBits) { $0.u64(0) }
            try r.nv(.nvSetBits) { $0.u64(0x8000_0000_0000_0005) }
            try r.nv(.nvSetBits) { $0.u32(1) }
            try r.read()
            try r.nv(.nvIncrement)
            try r.undefine()
            try r.define("a digest of the wrong size", attributes(.extend), size: 8)
            try r.define("a digest", attributes(.extend), size: 32)
            try r.nv(.nvExtend) { $0.sized16([1, 2, 3]) }
            try r.nv(.nvExtend) { $0.sized16([]) }
            try r.nv(.nvExtend) { $0.sized16([UInt8](repeating: 1, count: 1025)) }
            try r.read(32)
            try r.undefine()
        }
    }

    @Test func pins() throws {
        try compareWithStock { r in
            for (type, name) in [(NVAttributes.IndexType.pinFail, "a fail PIN"), (.pinPass, "a pass PIN")] {
                var daProtected = attributes(type)
                daProtected.remove(.noDA)
                try r.define("\(name) with DA", daProtected, auth: [7])
                if type == .pinPass { try r.undefine() }
                try r.define("\(name) that writes itself", attributes(type, [.authWrite]), auth: [7])
                try r.define(name, attributes(type), auth: [7])
                try r.read(by: index, [7])
                try r.write([0, 0, 0, 0, 0, 0, 0, 2])
                for pin: [UInt8] in [[7], [8], [7], [8], [8], [7]] {
                    try r.read(by: index, pin)
                    try r.read()
                }
                try r.write([0, 0, 0, 2], at: 4)
                try r.write([0, 0, 0, 0])
                try r.read(by: index, [7])
                try r.step("bind to it", .code, .startAuthSession, [.null, index]) {
                    $0.sized16([UInt8](repeating: 1, count: 16))
                    $0.sized16([])
                    $0.u8(0)
                    $0.value(TPMAlgorithm.null)
                    $0.value(HashAlgorithm.sha256)
                }
                let session = try ClientSession(r.connection, type: 1)
                try r.step("PolicySecret with it", .bytes, .policySecret, [index, session.handle], passwords: [[7]]) {
                    $0.sized16([]); $0.sized16([]); $0.sized16([]); $0.u32(0)
                }
                try r.read()
                try r.connection.flush(session.handle)
                try r.undefine()
            }
        }
    }

    @Test func locks() throws {
        try compareWithStock { r in
            try r.define("one without locks", attributes(.ordinary))
            try r.nv(.nvWriteLock)
            try r.nv(.nvReadLock)
            try r.write([1])
            try r.nv(.nvReadLock)
            try r.undefine()
            try r.define("one with locks", attributes(.ordinary, [.writeStClear, .readStClear, .globalLock]))
            try r.nv(.nvReadLock, by: .platform)
            try r.nv(.nvReadLock)
            try r.read()
            try r.publicArea()
            try r.write([1])
            try r.nv(.nvWriteLock, by: index)
            try r.nv(.nvWriteLock)
            try r.nv(.nvWriteLock)
            try r.write([1])
            try r.publicArea()
            try r.undefine()
            try r.define("one for the global lock", attributes(.ordinary, [.globalLock]))
            try r.step("global lock", .bytes, .nvGlobalWriteLock, [.owner], passwords: [[]])
            try r.step("global lock by lockout", .bytes, .nvGlobalWriteLock, [.lockout], passwords: [[]])
            try r.write([1])
            try r.publicArea()
            try r.undefine()
        }
    }

    @Test func authorizationAndDeletionByPolicy() throws {
        try compareWithStock { r in
            let c = r.connection
            try r.define("one whose authorization may change", attributes(.ordinary, [.policyRead]), auth: [1], policy: policy(.nvChangeAuth))
            try r.write([1])
            try r.step("change it by password", .bytes, .nvChangeAuth, [index], passwords: [[1]]) { $0.sized16([2]) }
            let name = try Array(c.run(.nvReadPublic, [index]).parameters.suffix(34))
            for newAuth in [[UInt8](repeating: 1, count: 33), [2, 0]] {
                let session = try ClientSession(c, type: 1)
                try r.step("PolicyCommandCode", .bytes, .policyCommandCode, [session.handle]) { $0.value(TPMCommandCode.nvChangeAuth) }
                try r.note("change it by policy", .bytes, try ClientSession.run(
                    c, .nvChangeAuth, [Entity(index, name: name, auth: [1])], [.init(session)], authorized: 1) { $0.sized16(newAuth) })
                try c.flush(session.handle)
            }
            try r.read(by: index, [1])
            try r.read(by: index, [2])
            try r.undefine()
            let special: NVAttributes = [.ppWrite, .ppRead, .platformCreate, .policyDelete]
            try r.define("one that only a policy deletes", special, policy: policy(.nvUndefineSpaceSpecial), by: .platform)
            try r.step("delete it", .bytes, .nvUndefineSpace, [.platform, index], passwords: [[]])
            try r.step("delete it by password", .bytes, .nvUndefineSpaceSpecial, [index, .platform], passwords: [[], []])
            let area = try Array(c.run(.nvReadPublic, [index]).parameters.suffix(34))
            let session = try ClientSession(c, type: 1)
            try r.step("PolicyCommandCode", .bytes, .policyCommandCode, [session.handle]) { $0.value(TPMCommandCode.nvUndefineSpaceSpecial) }
            let platform = try ClientSession(c)
            try r.note("delete it by policy", .bytes, try ClientSession.run(
                c, .nvUndefineSpaceSpecial, [Entity(index, name: area), Entity(.platform)], [.init(session), .init(platform)], authorized: 2))
            try r.publicArea()
        }
    }

    @Test func registersWithAuthorization() throws {
        try compareWithStock { r in
            for pcr in [UInt32(0), 16, 19, 20, 23] {
                try r.step("SetAuthValue \(pcr)", .bytes, .pcrSetAuthValue, [TPMHandle(pcr)], passwords: [[]]) { $0.sized16([5, 0]) }
                try r.step("SetAuthPolicy \(pcr)", .bytes, .pcrSetAuthPolicy, [.platform], passwords: [[]]) {
                    $0.sized16([]); $0.value(TPMAlgorithm.null); $0.u32(pcr)
                }
            }
            try r.step("extend 21 without it", .bytes, .pcrExtend, [TPMHandle(21)], passwords: [[]]) { $0.list([TaggedDigest]()) }
            try r.step("extend 21 with it", .bytes, .pcrExtend, [TPMHandle(21)], passwords: [[5]]) { $0.list([TaggedDigest]()) }
            for (digest, hash) in [([1], TPMAlgorithm.sha256), ([UInt8](repeating: 1, count: 32), .sha256)] as [([UInt8], TPMAlgorithm)] {
                try r.step("SetAuthPolicy", .bytes, .pcrSetAuthPolicy, [.platform], passwords: [[]]) {
                    $0.sized16(digest); $0.value(hash); $0.u32(20)
                }
            }
            try r.step("SetAuthPolicy of 24", .bytes, .pcrSetAuthPolicy, [.platform], passwords: [[]]) {
                $0.sized16([]); $0.value(TPMAlgorithm.null); $0.u32(24)
            }
            try r.step("extend 20 by password", .bytes, .pcrExtend, [TPMHandle(20)], passwords: [[5]]) { $0.list([TaggedDigest]()) }
            try r.step("PCR properties", .bytes, .getCapability) { $0.u32(7); $0.u32(0); $0.u32(64) }
            try r.step("banks", .bytes, .getCapability) { $0.u32(5); $0.u32(0); $0.u32(1) }
            try r.step("no banks", .bytes, .getCapability) { $0.u32(5); $0.u32(0); $0.u32(0) }
            let none = HashAlgorithm.allCases.map { PCRSelection($0, pcrs: []) }
            try r.step("allocate nothing", .bytes, .pcrAllocate, [.platform], passwords: [[]]) { $0.list(none) }
            // A stock TPM has the new banks at once; the specification says: at the next _TPM_Init. So nothing follows but Shutdown.
            try r.step("allocate", .bytes, .pcrAllocate, [.platform], passwords: [[]]) { $0.list([PCRSelection(.sha1, pcrs: [0, 1])]) }
            try r.step("Shutdown state", .bytes, .shutdown) { $0.u16(1) }
            try r.step("Shutdown clear", .bytes, .shutdown) { $0.u16(0) }
        }
    }

    @Test func hierarchyCommands() throws {
        try compareWithStock { r in
            let handles: [TPMHandle] = [.owner, .endorsement, .platform, .lockout, .null, .platformNV]
            for handle in handles {
                try r.step("SetPrimaryPolicy", .bytes, .setPrimaryPolicy, [handle], passwords: [[]]) { $0.sized16([1]); $0.value(HashAlgorithm.sha256) }
                try r.step("SetPrimaryPolicy", .bytes, .setPrimaryPolicy, [handle], passwords: [[]]) {
                    $0.sized16([UInt8](repeating: 1, count: 20)); $0.value(HashAlgorithm.sha1)
                }
            }
            try r.step("policies", .bytes, .getCapability) { $0.u32(9); $0.u32(0x4000_0000); $0.u32(8) }
            for disable in [UInt8(1), 0, 2] {
                try r.step("ClearControl by lockout", .bytes, .clearControl, [.lockout], passwords: [[]]) { $0.u8(disable) }
                try r.step("Clear", .bytes, .clear, [.platform], passwords: [[]])
                try r.step("ClearControl by the owner", .bytes, .clearControl, [.owner], passwords: [[]]) { $0.u8(disable) }
            }
            try r.step("ClearControl by the platform", .bytes, .clearControl, [.platform], passwords: [[]]) { $0.u8(0) }
            let primary = try r.connection.primary(Template.eccStorage).handle
            try r.define("the platform's", [.ppWrite, .ppRead, .platformCreate], by: .platform)
            for enable in handles {
                for auth in [TPMHandle.owner, .endorsement, .platform] where enable != .platform || auth != .platform {
                    for state in [UInt8(0), 1, 2] {
                        try r.step("control \(enable.rawValue) by \(auth.rawValue): \(state)", .bytes, .hierarchyControl, [auth], passwords: [[]]) {
                            $0.value(enable)
                            $0.u8(state)
                        }
                        try r.publicArea()
                        try r.property(0x201)
                        try r.step("ReadPublic", .size, .readPublic, [primary])
                    }
                }
                try r.step("all on", .bytes, .hierarchyControl, [.platform], passwords: [[]]) { $0.value(enable); $0.u8(1) }
            }
            for command in [TPMCommandCode.changePPS, .changeEPS] {
                let owner = try r.connection.primary(Template.eccStorage).handle
                let platform = try r.connection.primary(Template.eccStorage, under: .platform).handle
                let endorsement = try r.connection.primary(Template.eccStorage, under: .endorsement).handle
                try r.step("by the owner", .bytes, command, [.owner], passwords: [[]])
                try r.step("by the platform", .bytes, command, [.platform], passwords: [[]])
                for handle in [owner, platform, endorsement] {
                    try r.step("ReadPublic", .size, .readPublic, [handle])
                    try r.connection.flush(handle)
                }
                try r.step("policies", .bytes, .getCapability) { $0.u32(9); $0.u32(0x4000_0000); $0.u32(8) }
                try r.publicArea()
            }
            try r.step("the platform off", .bytes, .hierarchyControl, [.platform], passwords: [[]]) { $0.value(TPMHandle.platform); $0.u8(0) }
            try r.step("and not on", .bytes, .hierarchyControl, [.platform], passwords: [[]]) { $0.value(TPMHandle.platform); $0.u8(1) }
        }
    }

    /// With the endorsement hierarchy disabled its persistent objects are there for TPM2_EvictControl alone.
    @Test func evictionFromADisabledHierarchy() throws {
        try compareWithStock { r in
            let kept = TPMHandle(rawValue: 0x8100_0002)
            let made = try r.connection.primary(Template.eccStorage, under: .endorsement).handle
            func evict(_ title: String, _ object: TPMHandle) throws {
                try r.step(title, .code, .evictControl, [.owner, object], passwords: [[]]) { $0.value(kept) }
            }
            try evict("keep", made)
            try r.step("disable", .code, .hierarchyControl, [.platform], passwords: [[]]) {
                $0.value(TPMHandle.endorsement)
                $0.u8(0)
            }
            try r.step("ReadPublic", .code, .readPublic, [kept])
            try evict("evict", kept)
            try evict("evict again", kept)
        }
    }

    @Test(arguments: [UInt16(128), 192, 256]) func sizesOfAES(bits: UInt16) throws {
        try compareWithStock { r in
            try r.step("StartAuthSession", .code, .startAuthSession, [.null, .null]) {
                $0.sized16([UInt8](repeating: 7, count: 16))
                $0.sized16([])
                $0.u8(0)
                SymmetricDefinition.aes(keyBits: bits, mode: .cfb).encode(to: &$0)
                $0.value(HashAlgorithm.sha256)
            }
        }
    }

    @Test func lockoutClockAndManagement() throws {
        try compareWithStock { r in
            try r.step("parameters by the owner", .bytes, .dictionaryAttackParameters, [.owner], passwords: [[]]) { $0.u32(1); $0.u32(2); $0.u32(3) }
            try r.step("parameters", .bytes, .dictionaryAttackParameters, [.lockout], passwords: [[]]) { $0.u32(1); $0.u32(1000); $0.u32(3000) }
            for property in UInt32(0x20E)...0x211 { try r.property(property) }
            try r.define("one with DA", [.ownerWrite, .authRead], auth: [7])
            try r.write([1])
            for pin: [UInt8] in [[8], [7]] { try r.read(by: index, pin) }
            try r.property(0x20E)
            try r.property(0x200)
            try r.step("reset", .bytes, .dictionaryAttackLockReset, [.lockout], passwords: [[]])
            try r.read(by: index, [7])
            try r.step("no tries", .bytes, .dictionaryAttackParameters, [.lockout], passwords: [[]]) { $0.u32(0); $0.u32(1); $0.u32(1) }
            try r.read(by: index, [7])
            try r.property(0x200)
            for time in [UInt64(1) << 40, 5, 0xFFFF_0000_0000_0001] {
                try r.step("ClockSet", .bytes, .clockSet, [.owner], passwords: [[]]) { $0.u64(time) }
            }
            try r.step("ReadClock", .part { Array($0.parameters[8..<12] + $0.parameters.suffix(1)) }, .readClock)
            for rate: UInt8 in [0, 1, 3, 4, 0xFD, 0xFC] {
                try r.step("ClockRateAdjust \(rate)", .bytes, .clockRateAdjust, [.platform], passwords: [[]]) { $0.u8(rate) }
            }
            try r.step("SetAlgorithmSet", .bytes, .setAlgorithmSet, [.platform], passwords: [[]]) { $0.u32(5) }
            try r.property(0x20C)
            try r.step("PP_Commands", .bytes, .ppCommands, [.platform], passwords: [[]]) { $0.list([TPMCommandCode.clear]); $0.list([TPMCommandCode]()) }
            try r.step("PP_Commands by the owner", .bytes, .ppCommands, [.owner], passwords: [[]]) { $0.u32(0); $0.u32(0) }
            try r.step("commands with presence", .bytes, .getCapability) { $0.u32(3); $0.u32(0); $0.u32(9) }
            try r.step("commands with presence, further", .bytes, .getCapability) { $0.u32(3); $0.u32(0x12E); $0.u32(9) }
            for parameters: [UInt8] in [
                [0, 8, 0, 0x10], [0, 8, 0, 5, 0, 0x0B], [0, 8, 0, 5, 0, 9], [0, 1, 0, 0x10, 0, 0x10, 8, 0, 0, 0, 0, 0],
                [0, 1, 0, 0x10, 0, 0x10, 8, 1, 0, 0, 0, 0], [0, 0x23, 0, 0x10, 0, 0x10, 0, 3, 0, 0x10],
                [0, 0x23, 0, 0x10, 0, 0x10, 0, 0x77, 0, 0x10], [0, 0x25, 0, 6, 0, 128, 0, 0x43], [0, 0x25, 0, 6, 0, 127, 0, 0x43], [0, 0x10],
                [0, 0x25, 0, 0x10], [0, 8], [0, 8, 0, 0x10, 0],
            ] {
                try r.step("TestParms \(parameters)", .bytes, .testParms) { $0.raw(parameters) }
            }
        }
    }
}
