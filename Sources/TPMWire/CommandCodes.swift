// The commands by number.
import Wire

/// TPM_CC (Part 2, 6.5.2)
///
/// Public and inlinable, which the compiler asks for before it makes a switch over codes in another module a table.
public struct TPMCommandCode: RawRepresentable, Hashable, Sendable, Comparable {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }
    @inlinable public init(_ rawValue: UInt32) { self.rawValue = rawValue }
    @inlinable public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
    @inlinable public static func == (a: Self, b: Self) -> Bool { a.rawValue == b.rawValue }
    @inlinable public static func ~= (pattern: Self, value: Self) -> Bool { pattern.rawValue == value.rawValue }
}

extension TPMCommandCode: WireCodable {
    public init(from reader: inout WireReader) throws(WireError) { rawValue = try reader.u32() }
    public var wire: [UInt8] { rawValue.wire }
    public func encode(to writer: inout WireWriter) { writer.u32(rawValue) }
}

extension TPMCommandCode {
    @inlinable public static var nvUndefineSpaceSpecial: Self { Self(0x11F) }
    @inlinable public static var evictControl: Self { Self(0x120) }
    @inlinable public static var hierarchyControl: Self { Self(0x121) }
    @inlinable public static var nvUndefineSpace: Self { Self(0x122) }
    @inlinable public static var changeEPS: Self { Self(0x124) }
    @inlinable public static var changePPS: Self { Self(0x125) }
    @inlinable public static var clear: Self { Self(0x126) }
    @inlinable public static var clearControl: Self { Self(0x127) }
    @inlinable public static var clockSet: Self { Self(0x128) }
    @inlinable public static var hierarchyChangeAuth: Self { Self(0x129) }
    @inlinable public static var nvDefineSpace: Self { Self(0x12A) }
    @inlinable public static var pcrAllocate: Self { Self(0x12B) }
    @inlinable public static var pcrSetAuthPolicy: Self { Self(0x12C) }
    @inlinable public static var ppCommands: Self { Self(0x12D) }
    @inlinable public static var setPrimaryPolicy: Self { Self(0x12E) }
    @inlinable public static var fieldUpgradeStart: Self { Self(0x12F) }
    @inlinable public static var clockRateAdjust: Self { Self(0x130) }
    @inlinable public static var createPrimary: Self { Self(0x131) }
    @inlinable public static var nvGlobalWriteLock: Self { Self(0x132) }
    @inlinable public static var getCommandAuditDigest: Self { Self(0x133) }
    @inlinable public static var nvIncrement: Self { Self(0x134) }
    @inlinable public static var nvSetBits: Self { Self(0x135) }
    @inlinable public static var nvExtend: Self { Self(0x136) }
    @inlinable public static var nvWrite: Self { Self(0x137) }
    @inlinable public static var nvWriteLock: Self { Self(0x138) }
    @inlinable public static var dictionaryAttackLockReset: Self { Self(0x139) }
    @inlinable public static var dictionaryAttackParameters: Self { Self(0x13A) }
    @inlinable public static var nvChangeAuth: Self { Self(0x13B) }
    @inlinable public static var pcrEvent: Self { Self(0x13C) }
    @inlinable public static var pcrReset: Self { Self(0x13D) }
    @inlinable public static var sequenceComplete: Self { Self(0x13E) }
    @inlinable public static var setAlgorithmSet: Self { Self(0x13F) }
    @inlinable public static var setCommandCodeAuditStatus: Self { Self(0x140) }
    @inlinable public static var fieldUpgradeData: Self { Self(0x141) }
    @inlinable public static var incrementalSelfTest: Self { Self(0x142) }
    @inlinable public static var selfTest: Self { Self(0x143) }
    @inlinable public static var startup: Self { Self(0x144) }
    @inlinable public static var shutdown: Self { Self(0x145) }
    @inlinable public static var stirRandom: Self { Self(0x146) }
    @inlinable public static var activateCredential: Self { Self(0x147) }
    @inlinable public static var certify: Self { Self(0x148) }
    @inlinable public static var policyNV: Self { Self(0x149) }
    @inlinable public static var certifyCreation: Self { Self(0x14A) }
    @inlinable public static var duplicate: Self { Self(0x14B) }
    @inlinable public static var getTime: Self { Self(0x14C) }
    @inlinable public static var getSessionAuditDigest: Self { Self(0x14D) }
    @inlinable public static var nvRead: Self { Self(0x14E) }
    @inlinable public static var nvReadLock: Self { Self(0x14F) }
    @inlinable public static var objectChangeAuth: Self { Self(0x150) }
    @inlinable public static var policySecret: Self { Self(0x151) }
    @inlinable public static var rewrap: Self { Self(0x152) }
    @inlinable public static var create: Self { Self(0x153) }
    @inlinable public static var ecdhZGen: Self { Self(0x154) }
    @inlinable public static var hmac: Self { Self(0x155) }
    @inlinable public static var `import`: Self { Self(0x156) }
    @inlinable public static var load: Self { Self(0x157) }
    @inlinable public static var quote: Self { Self(0x158) }
    @inlinable public static var rsaDecrypt: Self { Self(0x159) }
    @inlinable public static var hmacStart: Self { Self(0x15B) }
    @inlinable public static var sequenceUpdate: Self { Self(0x15C) }
    @inlinable public static var sign: Self { Self(0x15D) }
    @inlinable public static var unseal: Self { Self(0x15E) }
    @inlinable public static var policySigned: Self { Self(0x160) }
    @inlinable public static var contextLoad: Self { Self(0x161) }
    @inlinable public static var contextSave: Self { Self(0x162) }
    @inlinable public static var ecdhKeyGen: Self { Self(0x163) }
    @inlinable public static var encryptDecrypt: Self { Self(0x164) }
    @inlinable public static var flushContext: Self { Self(0x165) }
    @inlinable public static var loadExternal: Self { Self(0x167) }
    @inlinable public static var makeCredential: Self { Self(0x168) }
    @inlinable public static var nvReadPublic: Self { Self(0x169) }
    @inlinable public static var policyAuthorize: Self { Self(0x16A) }
    @inlinable public static var policyAuthValue: Self { Self(0x16B) }
    @inlinable public static var policyCommandCode: Self { Self(0x16C) }
    @inlinable public static var policyCounterTimer: Self { Self(0x16D) }
    @inlinable public static var policyCpHash: Self { Self(0x16E) }
    @inlinable public static var policyLocality: Self { Self(0x16F) }
    @inlinable public static var policyNameHash: Self { Self(0x170) }
    @inlinable public static var policyOR: Self { Self(0x171) }
    @inlinable public static var policyTicket: Self { Self(0x172) }
    @inlinable public static var readPublic: Self { Self(0x173) }
    @inlinable public static var rsaEncrypt: Self { Self(0x174) }
    @inlinable public static var startAuthSession: Self { Self(0x176) }
    @inlinable public static var verifySignature: Self { Self(0x177) }
    @inlinable public static var eccParameters: Self { Self(0x178) }
    @inlinable public static var firmwareRead: Self { Self(0x179) }
    @inlinable public static var getCapability: Self { Self(0x17A) }
    @inlinable public static var getRandom: Self { Self(0x17B) }
    @inlinable public static var getTestResult: Self { Self(0x17C) }
    @inlinable public static var hash: Self { Self(0x17D) }
    @inlinable public static var pcrRead: Self { Self(0x17E) }
    @inlinable public static var policyPCR: Self { Self(0x17F) }
    @inlinable public static var policyRestart: Self { Self(0x180) }
    @inlinable public static var readClock: Self { Self(0x181) }
    @inlinable public static var pcrExtend: Self { Self(0x182) }
    @inlinable public static var pcrSetAuthValue: Self { Self(0x183) }
    @inlinable public static var nvCertify: Self { Self(0x184) }
    @inlinable public static var eventSequenceComplete: Self { Self(0x185) }
    @inlinable public static var hashSequenceStart: Self { Self(0x186) }
    @inlinable public static var policyPhysicalPresence: Self { Self(0x187) }
    @inlinable public static var policyDuplicationSelect: Self { Self(0x188) }
    @inlinable public static var policyGetDigest: Self { Self(0x189) }
    @inlinable public static var testParms: Self { Self(0x18A) }
    @inlinable public static var commit: Self { Self(0x18B) }
    @inlinable public static var policyPassword: Self { Self(0x18C) }
    @inlinable public static var zGen2Phase: Self { Self(0x18D) }
    @inlinable public static var ecEphemeral: Self { Self(0x18E) }
    @inlinable public static var policyNvWritten: Self { Self(0x18F) }
    @inlinable public static var policyTemplate: Self { Self(0x190) }
    @inlinable public static var createLoaded: Self { Self(0x191) }
    @inlinable public static var policyAuthorizeNV: Self { Self(0x192) }
    @inlinable public static var encryptDecrypt2: Self { Self(0x193) }
    @inlinable public static var acGetCapability: Self { Self(0x194) }
    @inlinable public static var acSend: Self { Self(0x195) }
    @inlinable public static var certifyX509: Self { Self(0x197) }
    @inlinable public static var actSetTimeout: Self { Self(0x198) }
    @inlinable public static var eccEncrypt: Self { Self(0x199) }
    @inlinable public static var eccDecrypt: Self { Self(0x19A) }
    @inlinable public static var policyAcSendSelect: Self { Self(0x196) }
    @inlinable public static var policyCapability: Self { Self(0x19B) }
    @inlinable public static var policyParameters: Self { Self(0x19C) }
    @inlinable public static var nvDefineSpace2: Self { Self(0x19D) }
    @inlinable public static var nvReadPublic2: Self { Self(0x19E) }
    @inlinable public static var setCapability: Self { Self(0x19F) }
    @inlinable public static var vendorTest: Self { Self(0x2000_0000) }
}
