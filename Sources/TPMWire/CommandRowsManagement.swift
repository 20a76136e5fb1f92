// The command table, Part 3 chapters 21 to 34: audit, PCRs, policy, hierarchies, lockout, contexts, clock, capabilities, NV.

extension CommandTable {
    static let commandAudit = CommandChapter(21, "Command audit", [
        CommandRow(.setCommandCodeAuditStatus, "SetCommandCodeAuditStatus", "21.2", .answered, [.user(.provision)], [.nv],
            note: "The audit is over the guest's commands, which the chip never sees."),
    ])

    static let integrityCollection = CommandChapter(22, "Integrity collection (PCR)", [
        CommandRow(.pcrExtend, "PCR_Extend", "22.2", .answered, [.user(.pcrOrNull)], [.nv],
            note: "paratpm-pcr extends the guest's virtual PCRs: one chip has one set, and it is the host's."),
        CommandRow(.pcrEvent, "PCR_Event", "22.3", .answered, [.user(.pcrOrNull)], [.nv, .decrypts],
            note: "Hashed in software, then as PCR_Extend."),
        CommandRow(.pcrRead, "PCR_Read", "22.4", .answered,
            note: "Read from memory shared with paratpm-pcr, without asking any process."),
        CommandRow(.pcrAllocate, "PCR_Allocate", "22.5", .answered, [.user(.platform)], [.nv],
            note: "The guest's own banks, from its next reset on."),
        CommandRow(.pcrSetAuthPolicy, "PCR_SetAuthPolicy", "22.6", .answered, [.user(.platform)], [.nv, .decrypts],
            note: "PCR 20 to 22 can have one, as in a stock virtual TPM; the proxy keeps it and checks it."),
        CommandRow(.pcrSetAuthValue, "PCR_SetAuthValue", "22.7", .answered, [.user(.pcr)], [.decrypts],
            note: "As PCR_SetAuthPolicy; it lasts until the next Startup(CLEAR)."),
        CommandRow(.pcrReset, "PCR_Reset", "22.8", .answered, [.user(.pcr)], [.nv],
            note: "paratpm-pcr decides by the index's attributes and the locality that the door has set."),
    ])

    static let enhancedAuthorization = CommandChapter(23, "Enhanced authorization", [
        CommandRow(.policySigned, "PolicySigned", "23.3", .answered, [.plain(.object), .plain(.policySession)], [.decrypts, .encrypts],
            note: "paratpm-policy checks the signature and extends the token. Policies name virtual things, so the chip cannot evaluate them."),
        CommandRow(.policySecret, "PolicySecret", "23.4", .answered, [.user(.entity), .plain(.policySession)], [.decrypts, .encrypts],
            note: "The proxy checks the secret, which is its guest's own; paratpm-policy extends the token."),
        CommandRow(.policyTicket, "PolicyTicket", "23.5", .answered, [.plain(.policySession)], [.decrypts],
            note: "The ticket is checked with the proof that made it."),
        CommandRow(.policyOR, "PolicyOR", "23.6", .answered, [.plain(.policySession)],
            note: "Arithmetic on the digest."),
        CommandRow(.policyPCR, "PolicyPCR", "23.7", .answered, [.plain(.policySession)], [.decrypts],
            note: "paratpm-policy reads the virtual PCRs itself; their generation is checked again at use."),
        CommandRow(.policyLocality, "PolicyLocality", "23.8", .answered, [.plain(.policySession)],
            note: "Arithmetic on the digest; at use the locality is the one that the hypervisor set."),
        CommandRow(.policyNV, "PolicyNV", "23.9", .answered, [.user(.nvAuth), .plain(.nvIndex), .plain(.policySession)], [.decrypts],
            note: "The index is virtual; its contents are the guest's own word."),
        CommandRow(.policyCounterTimer, "PolicyCounterTimer", "23.10", .answered, [.plain(.policySession)], [.decrypts],
            note: "Compared with the guest's clock and counters; the chip's are the host's."),
        CommandRow(.policyCommandCode, "PolicyCommandCode", "23.11", .answered, [.plain(.policySession)],
            note: "Arithmetic on the digest."),
        CommandRow(.policyPhysicalPresence, "PolicyPhysicalPresence", "23.12", .answered, [.plain(.policySession)],
            note: "Arithmetic on the digest; at use it fails, because a virtual machine has no button to press."),
        CommandRow(.policyCpHash, "PolicyCpHash", "23.13", .answered, [.plain(.policySession)], [.decrypts],
            note: "Arithmetic on the digest; cpHash is made of virtual Names."),
        CommandRow(.policyNameHash, "PolicyNameHash", "23.14", .answered, [.plain(.policySession)], [.decrypts],
            note: "As PolicyCpHash."),
        CommandRow(.policyDuplicationSelect, "PolicyDuplicationSelect", "23.15", .answered, [.plain(.policySession)], [.decrypts],
            note: "Arithmetic on the digest; Names are virtual."),
        CommandRow(.policyAuthorize, "PolicyAuthorize", "23.16", .answered, [.plain(.policySession)], [.decrypts],
            note: "The ticket is checked with the proof that made it; then arithmetic on the digest."),
        CommandRow(.policyAuthValue, "PolicyAuthValue", "23.17", .answered, [.plain(.policySession)],
            note: "Arithmetic on the digest; the authValue is checked at use, in software."),
        CommandRow(.policyPassword, "PolicyPassword", "23.18", .answered, [.plain(.policySession)],
            note: "As PolicyAuthValue."),
        CommandRow(.policyGetDigest, "PolicyGetDigest", "23.19", .answered, [.plain(.policySession)], [.encrypts],
            note: "The digest stands in the token."),
        CommandRow(.policyNvWritten, "PolicyNvWritten", "23.20", .answered, [.plain(.policySession)],
            note: "Arithmetic on the digest; compared at use with the virtual index."),
        CommandRow(.policyTemplate, "PolicyTemplate", "23.21", .answered, [.plain(.policySession)], [.decrypts],
            note: "Arithmetic on the digest; the template is the guest's, not the twin's."),
        CommandRow(.policyAuthorizeNV, "PolicyAuthorizeNV", "23.22", .answered,
            [.user(.nvAuth), .plain(.nvIndex), .plain(.policySession)],
            note: "The policy is in a virtual index; then arithmetic on the digest."),
        CommandRow(.policyCapability, "PolicyCapability", "23.23", .answered, [.plain(.policySession)], [.decrypts],
            note: "Compared with the capabilities of the guest's TPM; the chip's differ. Revision 1.83."),
        CommandRow(.policyParameters, "PolicyParameters", "23.24", .answered, [.plain(.policySession)], [.decrypts],
            note: "Arithmetic on the digest. Revision 1.83."),
    ])

    static let hierarchies = CommandChapter(24, "Hierarchy commands", [
        CommandRow(.createPrimary, "CreatePrimary", "24.1", .backed, [.user(.hierarchyOrNull)], [.responseHandle, .decrypts, .encrypts],
            note: "The chip makes the twin the first time, and the state file remembers it: the same key at each boot, without making it again."),
        CommandRow(.hierarchyControl, "HierarchyControl", "24.2", .answered, [.user(.hierarchy)], [.nv, .extensive],
            note: "The guest's hierarchies are virtual: all its twins lie under one root of the chip."),
        CommandRow(.setPrimaryPolicy, "SetPrimaryPolicy", "24.3", .answered, [.user(.hierarchyAuth)], [.nv, .decrypts],
            note: "As HierarchyControl."),
        CommandRow(.changePPS, "ChangePPS", "24.4", .answered, [.user(.platform)], [.nv, .extensive],
            note: "A new seed id, so that former primaries are out of reach. The chip's seed is the host's."),
        CommandRow(.changeEPS, "ChangeEPS", "24.5", .answered, [.user(.platform)], [.nv, .extensive],
            note: "As ChangePPS."),
        CommandRow(.clear, "Clear", "24.6", .answered, [.user(.clear)], [.nv, .extensive],
            note: "The guest's owner goes, with a new seed id; the chip is never cleared."),
        CommandRow(.clearControl, "ClearControl", "24.7", .answered, [.user(.clear)], [.nv],
            note: "A flag of the guest's own."),
        CommandRow(.hierarchyChangeAuth, "HierarchyChangeAuth", "24.8", .answered, [.user(.hierarchyAuth)], [.nv, .decrypts],
            note: "The authValue is kept in the guest's state file."),
    ])

    static let dictionaryAttack = CommandChapter(25, "Dictionary attack functions", [
        CommandRow(.dictionaryAttackLockReset, "DictionaryAttackLockReset", "25.2", .answered, [.user(.lockout)], [.nv],
            note: "Each guest has a counter of its own, so none locks the chip, or another guest, out."),
        CommandRow(.dictionaryAttackParameters, "DictionaryAttackParameters", "25.3", .answered, [.user(.lockout)], [.nv],
            note: "As DictionaryAttackLockReset."),
    ])

    static let management = CommandChapter(26, "Miscellaneous management functions", [
        CommandRow(.ppCommands, "PP_Commands", "26.2", .answered, [.user(.platform)], [.nv],
            note: "It needs physical presence, which a virtual machine cannot assert: always TPM_RC_PP."),
        CommandRow(.setAlgorithmSet, "SetAlgorithmSet", "26.3", .answered, [.user(.platform)], [.nv],
            note: "A number that the guest's TPM keeps; no set narrows its algorithms."),
    ])

    static let fieldUpgrade = CommandChapter(27, "Field upgrade", [
        .refused(.fieldUpgradeStart, "FieldUpgradeStart", "27.2", note: "The chip's firmware is the host's, and paratpm is upgraded as a package."),
        .refused(.fieldUpgradeData, "FieldUpgradeData", "27.3", note: "As FieldUpgradeStart."),
        .refused(.firmwareRead, "FirmwareRead", "27.4", note: "There is no firmware to read."),
    ])

    static let contextManagement = CommandChapter(28, "Context management", [
        CommandRow(.contextSave, "ContextSave", "28.2", .answered, [.plain(.context)], [.noSessions],
            note: "The proxy writes the context under a key of its own: no slot, context gap or counter of the chip is involved."),
        CommandRow(.contextLoad, "ContextLoad", "28.3", .answered, [], [.responseHandle, .noSessions],
            note: "As ContextSave; the twin follows when it is used."),
        CommandRow(.flushContext, "FlushContext", "28.4", .answered, [], [.noSessions],
            note: "The proxy forgets the object, and the device owner its twin."),
        CommandRow(.evictControl, "EvictControl", "28.5", .answered, [.user(.provision), .plain(.object)], [.nv],
            note: "A persistent object is an envelope in the guest's state file; the chip's persistent slots are few and the host's."),
    ])

    static let clocks = CommandChapter(29, "Clocks and timers", [
        CommandRow(.readClock, "ReadClock", "29.1", .answered,
            note: "The guest's clock is its own: the chip's runs while the guest is off, and shows what the host does."),
        CommandRow(.clockSet, "ClockSet", "29.2", .answered, [.user(.provision)], [.nv],
            note: "As ReadClock; the chip's clock can only be set forward, for all."),
        CommandRow(.clockRateAdjust, "ClockRateAdjust", "29.3", .answered, [.user(.provision)],
            note: "Accepted; the rate is that of the host's clock, which is better than the adjustment."),
    ])

    static let capabilities = CommandChapter(30, "Capability commands", [
        CommandRow(.getCapability, "GetCapability", "30.2", .answered, [], [.inFailureMode],
            note: "The properties of the guest's TPM: what it has does not depend on what the chip has, but for algorithms that need it."),
        CommandRow(.testParms, "TestParms", "30.3", .answered,
            note: "Answered for the algorithms that the guest's TPM has."),
        .refused(.setCapability, "SetCapability", "30.4", note: "Later than revision 1.59."),
    ])

    static let nonVolatileStorage = CommandChapter(31, "Non-volatile storage", [
        CommandRow(.nvDefineSpace, "NV_DefineSpace", "31.3", .answered, [.user(.provision)], [.nv, .decrypts],
            note: "The guest's indices are in its state file: the chip's NV is small, wears out and is the host's."),
        CommandRow(.nvUndefineSpace, "NV_UndefineSpace", "31.4", .answered, [.user(.provision), .plain(.nvIndex)], [.nv],
            note: "As NV_DefineSpace."),
        CommandRow(.nvUndefineSpaceSpecial, "NV_UndefineSpaceSpecial", "31.5", .answered, [.admin(.nvIndex), .user(.platform)], [.nv],
            note: "As NV_DefineSpace."),
        CommandRow(.nvReadPublic, "NV_ReadPublic", "31.6", .answered, [.plain(.nvIndex)], [.encrypts],
            note: "As NV_DefineSpace."),
        CommandRow(.nvWrite, "NV_Write", "31.7", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.nv, .decrypts],
            note: "On disk before the answer, as in a chip."),
        CommandRow(.nvIncrement, "NV_Increment", "31.8", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.nv],
            note: "As NV_Write; a counter begins above every count of one that was deleted, so none ever goes back."),
        CommandRow(.nvExtend, "NV_Extend", "31.9", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.nv, .decrypts],
            note: "As NV_Write."),
        CommandRow(.nvSetBits, "NV_SetBits", "31.10", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.nv],
            note: "As NV_Write."),
        CommandRow(.nvWriteLock, "NV_WriteLock", "31.11", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.nv],
            note: "A flag of the virtual index."),
        CommandRow(.nvGlobalWriteLock, "NV_GlobalWriteLock", "31.12", .answered, [.user(.provision)], [.nv],
            note: "Locks this guest's indices only."),
        CommandRow(.nvRead, "NV_Read", "31.13", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.encrypts],
            note: "As NV_DefineSpace."),
        CommandRow(.nvReadLock, "NV_ReadLock", "31.14", .answered, [.user(.nvAuth), .plain(.nvIndex)], [.nv],
            note: "A flag of the virtual index."),
        CommandRow(.nvChangeAuth, "NV_ChangeAuth", "31.15", .answered, [.admin(.nvIndex)], [.nv, .decrypts],
            note: "The authValue is kept in the guest's state file."),
        CommandRow(.nvCertify, "NV_Certify", "31.16", .backed, [.user(.objectOrNull), .user(.nvAuth), .plain(.nvIndex)], [.decrypts, .encrypts],
            note: "The twin signs an attestation that is composed in software: the index is virtual."),
        .refused(.nvDefineSpace2, "NV_DefineSpace2", "31.17", note: "Later than revision 1.59."),
        .refused(.nvReadPublic2, "NV_ReadPublic2", "31.18", note: "Later than revision 1.59."),
    ])

    static let attachedComponents = CommandChapter(32, "Attached components", [
        .refused(.acGetCapability, "AC_GetCapability", "32.2", note: "Nothing is attached to a guest's TPM."),
        .refused(.acSend, "AC_Send", "32.3", note: "As AC_GetCapability."),
        .refused(.policyAcSendSelect, "Policy_AC_SendSelect", "32.4", note: "As AC_GetCapability."),
    ])

    static let countdownTimers = CommandChapter(33, "Authenticated countdown timers", [
        .refused(.actSetTimeout, "ACT_SetTimeout", "33.2", note: "A timer's signal would be a reset line, and a virtual TPM has none to its machine."),
    ])

    static let vendorSpecific = CommandChapter(34, "Vendor specific", [
        .refused(.vendorTest, "Vendor_TCG_Test", "34.2", note: "A guest's TPM has no vendor commands; the chip's would reach past the broker."),
    ])
}
