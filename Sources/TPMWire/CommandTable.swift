// The command table: every fact about a command stands once, in its row.
// Dispatch, GetCapability, policy words, documents and tests read the row.
import Wire

/// TPM_CC (Part 2, 6.5.2)
package struct TPMCommandCode: RawRepresentable, Hashable, Sendable, Comparable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package init(_ rawValue: UInt32) { self.rawValue = rawValue }
    package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

extension TPMCommandCode: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) { rawValue = try reader.u32() }
    package func encode(to writer: inout WireWriter) { writer.u32(rawValue) }
}

/// What a handle in a command's handle area may be: its interface type in Part 2, 9.
package enum HandleKind: Sendable {
    /// TPMI_DH_PCR
    case pcr
    /// TPMI_DH_PCR+
    case pcrOrNull
    /// TPMI_DH_OBJECT
    case object
    /// TPMI_DH_OBJECT+
    case objectOrNull
    /// TPMI_DH_ENTITY
    case entity
    /// TPMI_DH_ENTITY+
    case entityOrNull
    /// TPMI_RH_HIERARCHY+
    case hierarchyOrNull
    /// TPMI_RH_HIERARCHY_AUTH: owner, endorsement, platform, lockout
    case hierarchyAuth
    /// TPMI_RH_PROVISION: owner, platform
    case provision
    /// TPMI_RH_CLEAR: lockout, platform
    case clear
    /// TPMI_RH_PLATFORM
    case platform
    /// TPMI_RH_LOCKOUT
    case lockout
    /// TPMI_RH_ENDORSEMENT
    case endorsement
    /// TPMI_RH_NV_INDEX
    case nvIndex
    /// TPMI_RH_NV_AUTH: owner, platform, or the index itself
    case nvAuth
    /// TPMI_SH_AUTH_SESSION
    case session
    /// TPMI_SH_HMAC
    case hmacSession
    /// TPMI_SH_POLICY
    case policySession
    /// TPMI_DH_CONTEXT: a session or a transient object
    case context
    /// TPMI_DH_PARENT+: an object or a hierarchy
    case parent
}

/// The authorization that a handle needs (Part 1, 19.2)
package enum AuthRole: Sendable { case user, admin, dup }

package struct HandleSlot: Sendable {
    package let kind: HandleKind
    /// nil: no authorization
    package let role: AuthRole?
    package static func plain(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: nil) }
    package static func user(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: .user) }
    package static func admin(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: .admin) }
    package static func dup(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: .dup) }
}

/// How paratpm answers a command (docs/architecture.md, "Three classes of command").
package enum CommandClass: Sendable {
    /// Semantics only: the chip is not asked.
    case answered
    /// The chip does a part of it for the guest.
    case backed
}

package struct CommandRow: Sendable {
    package let code: TPMCommandCode
    /// The name without TPM2_, as Part 3 writes it.
    package let name: String
    /// Section of Part 3 (revision 1.59).
    package let section: String
    package let commandClass: CommandClass
    package let handles: [HandleSlot]
    package let flags: Flags

    package struct Flags: OptionSet, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }
        /// TPMA_CC.nv: the command may write NV.
        package static let nv = Self(rawValue: 1 << 0)
        /// TPMA_CC.extensive: it may flush any number of loaded contexts.
        package static let extensive = Self(rawValue: 1 << 1)
        /// TPMA_CC.flushed: it flushes the context of a transient handle that it names.
        package static let flushed = Self(rawValue: 1 << 2)
        /// TPMA_CC.rHandle: the response has a handle.
        package static let responseHandle = Self(rawValue: 1 << 3)
        /// The first command parameter is a TPM2B, so a session may decrypt it.
        package static let decrypts = Self(rawValue: 1 << 4)
        /// The first response parameter is a TPM2B, so a session may encrypt it.
        package static let encrypts = Self(rawValue: 1 << 5)
        /// Sessions of any kind are not allowed (TPM_ST_NO_SESSIONS only).
        package static let noSessions = Self(rawValue: 1 << 6)
        /// Allowed before TPM2_Startup.
        package static let beforeStartup = Self(rawValue: 1 << 7)
        /// Allowed in failure mode.
        package static let inFailureMode = Self(rawValue: 1 << 8)
    }

    /// TPMA_CC (Part 2, 8.9)
    package var attributes: UInt32 {
        var value = code.rawValue & 0xFFFF
        if flags.contains(.nv) { value |= 1 << 22 }
        if flags.contains(.extensive) { value |= 1 << 23 }
        if flags.contains(.flushed) { value |= 1 << 24 }
        value |= UInt32(handles.count) << 25
        if flags.contains(.responseHandle) { value |= 1 << 28 }
        return value
    }

    /// Handles whose use must be authorized come first; so many sessions are needed at least.
    package var authorizedHandles: Int { handles.count { $0.role != nil } }
}

package enum CommandTable {
    /// Every command that a guest can call, in ascending order of code.
    package static let rows: [CommandRow] = allRows.sorted { $0.code < $1.code }

    private static let byCode: [TPMCommandCode: CommandRow] = Dictionary(uniqueKeysWithValues: rows.map { ($0.code, $0) })

    package static func row(_ code: TPMCommandCode) -> CommandRow? { byCode[code] }

    private static func row(
        _ code: TPMCommandCode, _ name: String, _ section: String, _ commandClass: CommandClass,
        _ handles: [HandleSlot] = [], _ flags: CommandRow.Flags = []
    ) -> CommandRow {
        CommandRow(code: code, name: name, section: section, commandClass: commandClass, handles: handles, flags: flags)
    }

    private static let allRows: [CommandRow] = [
        // 9 Start-up
        row(.startup, "Startup", "9.3", .answered, [], [.nv, .noSessions, .beforeStartup]),
        row(.shutdown, "Shutdown", "9.4", .answered, [], [.nv]),
        // 10 Testing
        row(.selfTest, "SelfTest", "10.2", .answered, [], [.nv]),
        row(.incrementalSelfTest, "IncrementalSelfTest", "10.3", .answered, [], [.nv]),
        row(.getTestResult, "GetTestResult", "10.4", .answered, [], [.encrypts, .inFailureMode]),
        // 11 Session commands
        row(.startAuthSession, "StartAuthSession", "11.1", .backed, [.plain(.objectOrNull), .plain(.entityOrNull)],
            [.responseHandle, .decrypts, .encrypts]),
        row(.policyRestart, "PolicyRestart", "11.2", .answered, [.plain(.policySession)]),
        // 12 Object commands
        row(.create, "Create", "12.1", .backed, [.user(.object)], [.decrypts, .encrypts]),
        row(.load, "Load", "12.2", .answered, [.user(.object)], [.responseHandle, .decrypts, .encrypts]),
        row(.loadExternal, "LoadExternal", "12.3", .answered, [], [.responseHandle, .decrypts, .encrypts]),
        row(.readPublic, "ReadPublic", "12.4", .answered, [.plain(.object)], [.encrypts]),
        row(.unseal, "Unseal", "12.7", .backed, [.user(.object)], [.encrypts]),
        // 14 Asymmetric primitives
        row(.rsaEncrypt, "RSA_Encrypt", "14.2", .answered, [.plain(.object)], [.decrypts, .encrypts]),
        row(.rsaDecrypt, "RSA_Decrypt", "14.3", .backed, [.user(.object)], [.decrypts, .encrypts]),
        row(.ecdhKeyGen, "ECDH_KeyGen", "14.4", .answered, [.plain(.object)], [.encrypts]),
        row(.ecdhZGen, "ECDH_ZGen", "14.5", .backed, [.user(.object)], [.decrypts, .encrypts]),
        // 15 Symmetric primitives
        row(.hash, "Hash", "15.4", .answered, [], [.decrypts, .encrypts]),
        row(.hmac, "HMAC", "15.5", .backed, [.user(.object)], [.decrypts, .encrypts]),
        // 16 Random number generator
        row(.getRandom, "GetRandom", "16.1", .answered, [], [.encrypts]),
        row(.stirRandom, "StirRandom", "16.2", .answered, [], [.nv, .decrypts]),
        // 17 Hash and HMAC sequences
        row(.hashSequenceStart, "HashSequenceStart", "17.3", .answered, [], [.responseHandle, .decrypts]),
        row(.sequenceUpdate, "SequenceUpdate", "17.4", .answered, [.user(.object)], [.decrypts]),
        row(.sequenceComplete, "SequenceComplete", "17.5", .answered, [.user(.object)], [.flushed, .decrypts, .encrypts]),
        // 18 Attestation
        row(.quote, "Quote", "18.4", .backed, [.user(.objectOrNull)], [.decrypts, .encrypts]),
        // 20 Signing and signature verification
        row(.verifySignature, "VerifySignature", "20.1", .answered, [.plain(.object)], [.decrypts]),
        row(.sign, "Sign", "20.2", .backed, [.user(.object)], [.decrypts]),
        // 22 Integrity collection (PCR)
        row(.pcrExtend, "PCR_Extend", "22.2", .answered, [.user(.pcrOrNull)], [.nv]),
        row(.pcrEvent, "PCR_Event", "22.3", .answered, [.user(.pcrOrNull)], [.nv, .decrypts]),
        row(.pcrRead, "PCR_Read", "22.4", .answered),
        row(.pcrReset, "PCR_Reset", "22.8", .answered, [.user(.pcr)], [.nv]),
        // 23 Enhanced authorization
        row(.policySecret, "PolicySecret", "23.4", .answered, [.user(.entity), .plain(.policySession)], [.decrypts, .encrypts]),
        row(.policyOR, "PolicyOR", "23.6", .answered, [.plain(.policySession)]),
        row(.policyPCR, "PolicyPCR", "23.7", .answered, [.plain(.policySession)], [.decrypts]),
        row(.policyCommandCode, "PolicyCommandCode", "23.11", .answered, [.plain(.policySession)]),
        row(.policyAuthValue, "PolicyAuthValue", "23.17", .answered, [.plain(.policySession)]),
        row(.policyPassword, "PolicyPassword", "23.18", .answered, [.plain(.policySession)]),
        row(.policyGetDigest, "PolicyGetDigest", "23.19", .answered, [.plain(.policySession)], [.encrypts]),
        // 24 Hierarchy commands
        row(.createPrimary, "CreatePrimary", "24.1", .backed, [.user(.hierarchyOrNull)], [.responseHandle, .decrypts, .encrypts]),
        row(.clear, "Clear", "24.6", .answered, [.user(.clear)], [.nv, .extensive]),
        row(.hierarchyChangeAuth, "HierarchyChangeAuth", "24.8", .answered, [.user(.hierarchyAuth)], [.nv, .decrypts]),
        // 28 Context management
        row(.contextSave, "ContextSave", "28.2", .answered, [.plain(.context)], [.noSessions]),
        row(.contextLoad, "ContextLoad", "28.3", .answered, [], [.responseHandle, .noSessions]),
        row(.flushContext, "FlushContext", "28.4", .answered, [], [.noSessions]),
        row(.evictControl, "EvictControl", "28.5", .answered, [.user(.provision), .plain(.object)], [.nv]),
        // 29 Clocks and timers
        row(.readClock, "ReadClock", "29.1", .answered, [], [.noSessions]),
        // 30 Capability commands
        row(.getCapability, "GetCapability", "30.2", .answered, [], [.inFailureMode]),
        // 31 Non-volatile storage
        row(.nvDefineSpace, "NV_DefineSpace", "31.3", .answered, [.user(.provision)], [.nv, .decrypts]),
        row(.nvUndefineSpace, "NV_UndefineSpace", "31.4", .answered, [.user(.provision), .plain(.nvIndex)], [.nv]),
        row(.nvReadPublic, "NV_ReadPublic", "31.6", .answered, [.plain(.nvIndex)], [.encrypts]),
        row(.nvWrite, "NV_Write", "31.7", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.nv, .decrypts]),
        row(.nvRead, "NV_Read", "31.13", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.encrypts]),
    ]
}

extension TPMCommandCode {
    package static let nvUndefineSpaceSpecial = Self(0x11F)
    package static let evictControl = Self(0x120)
    package static let hierarchyControl = Self(0x121)
    package static let nvUndefineSpace = Self(0x122)
    package static let changeEPS = Self(0x124)
    package static let changePPS = Self(0x125)
    package static let clear = Self(0x126)
    package static let clearControl = Self(0x127)
    package static let clockSet = Self(0x128)
    package static let hierarchyChangeAuth = Self(0x129)
    package static let nvDefineSpace = Self(0x12A)
    package static let pcrAllocate = Self(0x12B)
    package static let pcrSetAuthPolicy = Self(0x12C)
    package static let ppCommands = Self(0x12D)
    package static let setPrimaryPolicy = Self(0x12E)
    package static let clockRateAdjust = Self(0x130)
    package static let createPrimary = Self(0x131)
    package static let nvGlobalWriteLock = Self(0x132)
    package static let getCommandAuditDigest = Self(0x133)
    package static let nvIncrement = Self(0x134)
    package static let nvSetBits = Self(0x135)
    package static let nvExtend = Self(0x136)
    package static let nvWrite = Self(0x137)
    package static let nvWriteLock = Self(0x138)
    package static let dictionaryAttackLockReset = Self(0x139)
    package static let dictionaryAttackParameters = Self(0x13A)
    package static let nvChangeAuth = Self(0x13B)
    package static let pcrEvent = Self(0x13C)
    package static let pcrReset = Self(0x13D)
    package static let sequenceComplete = Self(0x13E)
    package static let setAlgorithmSet = Self(0x13F)
    package static let setCommandCodeAuditStatus = Self(0x140)
    package static let incrementalSelfTest = Self(0x142)
    package static let selfTest = Self(0x143)
    package static let startup = Self(0x144)
    package static let shutdown = Self(0x145)
    package static let stirRandom = Self(0x146)
    package static let activateCredential = Self(0x147)
    package static let certify = Self(0x148)
    package static let policyNV = Self(0x149)
    package static let certifyCreation = Self(0x14A)
    package static let duplicate = Self(0x14B)
    package static let getTime = Self(0x14C)
    package static let getSessionAuditDigest = Self(0x14D)
    package static let nvRead = Self(0x14E)
    package static let nvReadLock = Self(0x14F)
    package static let objectChangeAuth = Self(0x150)
    package static let policySecret = Self(0x151)
    package static let rewrap = Self(0x152)
    package static let create = Self(0x153)
    package static let ecdhZGen = Self(0x154)
    package static let hmac = Self(0x155)
    package static let `import` = Self(0x156)
    package static let load = Self(0x157)
    package static let quote = Self(0x158)
    package static let rsaDecrypt = Self(0x159)
    package static let hmacStart = Self(0x15B)
    package static let sequenceUpdate = Self(0x15C)
    package static let sign = Self(0x15D)
    package static let unseal = Self(0x15E)
    package static let policySigned = Self(0x160)
    package static let contextLoad = Self(0x161)
    package static let contextSave = Self(0x162)
    package static let ecdhKeyGen = Self(0x163)
    package static let encryptDecrypt = Self(0x164)
    package static let flushContext = Self(0x165)
    package static let loadExternal = Self(0x167)
    package static let makeCredential = Self(0x168)
    package static let nvReadPublic = Self(0x169)
    package static let policyAuthorize = Self(0x16A)
    package static let policyAuthValue = Self(0x16B)
    package static let policyCommandCode = Self(0x16C)
    package static let policyCounterTimer = Self(0x16D)
    package static let policyCpHash = Self(0x16E)
    package static let policyLocality = Self(0x16F)
    package static let policyNameHash = Self(0x170)
    package static let policyOR = Self(0x171)
    package static let policyTicket = Self(0x172)
    package static let readPublic = Self(0x173)
    package static let rsaEncrypt = Self(0x174)
    package static let startAuthSession = Self(0x176)
    package static let verifySignature = Self(0x177)
    package static let eccParameters = Self(0x178)
    package static let firmwareRead = Self(0x179)
    package static let getCapability = Self(0x17A)
    package static let getRandom = Self(0x17B)
    package static let getTestResult = Self(0x17C)
    package static let hash = Self(0x17D)
    package static let pcrRead = Self(0x17E)
    package static let policyPCR = Self(0x17F)
    package static let policyRestart = Self(0x180)
    package static let readClock = Self(0x181)
    package static let pcrExtend = Self(0x182)
    package static let pcrSetAuthValue = Self(0x183)
    package static let nvCertify = Self(0x184)
    package static let eventSequenceComplete = Self(0x185)
    package static let hashSequenceStart = Self(0x186)
    package static let policyPhysicalPresence = Self(0x187)
    package static let policyDuplicationSelect = Self(0x188)
    package static let policyGetDigest = Self(0x189)
    package static let testParms = Self(0x18A)
    package static let commit = Self(0x18B)
    package static let policyPassword = Self(0x18C)
    package static let zGen2Phase = Self(0x18D)
    package static let ecEphemeral = Self(0x18E)
    package static let policyNvWritten = Self(0x18F)
    package static let policyTemplate = Self(0x190)
    package static let createLoaded = Self(0x191)
    package static let policyAuthorizeNV = Self(0x192)
    package static let encryptDecrypt2 = Self(0x193)
    package static let certifyX509 = Self(0x197)
    package static let policyCapability = Self(0x19B)
    package static let policyParameters = Self(0x19C)
}
