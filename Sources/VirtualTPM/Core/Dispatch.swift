// From a row of the command table to the handler: the one place that knows both.
import TPMWire

extension VirtualTPM {
    /// Runs an authorized command. Handlers validate, then act.
    func perform(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        switch call.row.code {
        // 9 Start-up
        case .startup: try startup(&call)
        case .shutdown: try shutdown(&call)
        // 10 Testing
        case .selfTest: try selfTest(&call)
        case .incrementalSelfTest: try incrementalSelfTest(&call)
        case .getTestResult: try getTestResult(&call)
        // 11 Session commands
        case .startAuthSession: try startAuthSession(&call)
        case .policyRestart: try policyRestart(&call)
        // 12 Object commands
        case .create: try create(&call)
        case .load: try load(&call)
        case .loadExternal: try loadExternal(&call)
        case .readPublic: try readPublic(&call)
        case .activateCredential: try activateCredential(&call)
        case .makeCredential: try makeCredential(&call)
        case .unseal: try unseal(&call)
        case .objectChangeAuth: try objectChangeAuth(&call)
        case .createLoaded: try createLoaded(&call)
        // 13 Duplication commands
        case .duplicate: try duplicate(&call)
        case .rewrap: try rewrap(&call)
        case .import: try importObject(&call)
        // 14 Asymmetric primitives
        case .rsaEncrypt: try rsaEncrypt(&call)
        case .rsaDecrypt: try rsaDecrypt(&call)
        case .ecdhKeyGen: try ecdhKeyGen(&call)
        case .ecdhZGen: try ecdhZGen(&call)
        case .eccParameters: try eccParameters(&call)
        case .zGen2Phase: try zGen2Phase(&call)
        // 15 Symmetric primitives
        case .encryptDecrypt: try encryptDecrypt(&call)
        case .encryptDecrypt2: try encryptDecrypt2(&call)
        case .hash: try hash(&call)
        case .hmac: try hmac(&call)
        // 16 Random number generator
        case .getRandom: try getRandom(&call)
        case .stirRandom: try stirRandom(&call)
        // 17 Hash, MAC and event sequences
        case .hmacStart: try hmacStart(&call)
        case .hashSequenceStart: try hashSequenceStart(&call)
        case .sequenceUpdate: try sequenceUpdate(&call)
        case .sequenceComplete: try sequenceComplete(&call)
        case .eventSequenceComplete: try eventSequenceComplete(&call)
        // 18 Attestation
        case .certify: try certify(&call)
        case .certifyCreation: try certifyCreation(&call)
        case .quote: try quote(&call)
        case .getSessionAuditDigest: try getSessionAuditDigest(&call)
        case .getCommandAuditDigest: try getCommandAuditDigest(&call)
        case .getTime: try getTime(&call)
        case .certifyX509: try certifyX509(&call)
        // 19 Ephemeral EC keys
        case .ecEphemeral: try ecEphemeral(&call)
        case .commit: try commit(&call)
        // 20 Signing and signature verification
        case .verifySignature: try verifySignature(&call)
        case .sign: try sign(&call)
        // 21 Command audit
        case .setCommandCodeAuditStatus: try setCommandCodeAuditStatus(&call)
        // 22 Integrity collection (PCR)
        case .pcrExtend: try pcrExtend(&call)
        case .pcrEvent: try pcrEvent(&call)
        case .pcrRead: try pcrRead(&call)
        case .pcrReset: try pcrReset(&call)
        case .pcrAllocate: try pcrAllocate(&call)
        case .pcrSetAuthPolicy: try pcrSetAuthPolicy(&call)
        case .pcrSetAuthValue: try pcrSetAuthValue(&call)
        // 23 Enhanced authorization
        case .policySigned: try policySigned(&call)
        case .policySecret: try policySecret(&call)
        case .policyTicket: try policyTicket(&call)
        case .policyOR: try policyOR(&call)
        case .policyPCR: try policyPCR(&call)
        case .policyLocality: try policyLocality(&call)
        case .policyNV: try policyNV(&call)
        case .policyCounterTimer: try policyCounterTimer(&call)
        case .policyCommandCode: try policyCommandCode(&call)
        case .policyPhysicalPresence: try policyPhysicalPresence(&call)
        case .policyCpHash: try policyBind(.cpHash, &call)
        case .policyNameHash: try policyBind(.nameHash, &call)
        case .policyDuplicationSelect: try policyDuplicationSelect(&call)
        case .policyAuthorize: try policyAuthorize(&call)
        case .policyAuthValue: try policyAuthValue(&call)
        case .policyPassword: try policyPassword(&call)
        case .policyGetDigest: try policyGetDigest(&call)
        case .policyNvWritten: try policyNvWritten(&call)
        case .policyTemplate: try policyBind(.template, &call)
        case .policyAuthorizeNV: try policyAuthorizeNV(&call)
        case .policyCapability: try policyCapability(&call)
        case .policyParameters: try policyBind(.parameters, &call)
        // 24 Hierarchy commands
        case .createPrimary: try createPrimary(&call)
        case .hierarchyControl: try hierarchyControl(&call)
        case .setPrimaryPolicy: try setPrimaryPolicy(&call)
        case .changePPS: try changePPS(&call)
        case .changeEPS: try changeEPS(&call)
        case .clear: try clear(&call)
        case .clearControl: try clearControl(&call)
        case .hierarchyChangeAuth: try hierarchyChangeAuth(&call)
        // 25 Dictionary attack functions
        case .dictionaryAttackLockReset: try dictionaryAttackLockReset(&call)
        case .dictionaryAttackParameters: try dictionaryAttackParameters(&call)
        // 26 Miscellaneous management functions
        case .ppCommands: try ppCommands(&call)
        case .setAlgorithmSet: try setAlgorithmSet(&call)
        // 28 Context management
        case .contextSave: try contextSave(&call)
        case .contextLoad: try contextLoad(&call)
        case .flushContext: try flushContext(&call)
        case .evictControl: try evictControl(&call)
        // 29 Clocks and timers
        case .readClock: try readClock(&call)
        case .clockSet: try clockSet(&call)
        case .clockRateAdjust: try clockRateAdjust(&call)
        // 30 Capability commands
        case .getCapability: try getCapability(&call)
        case .testParms: try testParms(&call)
        // 31 Non-volatile storage
        case .nvDefineSpace: try nvDefineSpace(&call)
        case .nvUndefineSpace: try nvUndefineSpace(&call)
        case .nvUndefineSpaceSpecial: try nvUndefineSpaceSpecial(&call)
        case .nvReadPublic: try nvReadPublic(&call)
        case .nvWrite: try nvWrite(&call)
        case .nvIncrement: try nvIncrement(&call)
        case .nvExtend: try nvExtend(&call)
        case .nvSetBits: try nvSetBits(&call)
        case .nvWriteLock: try nvWriteLock(&call)
        case .nvGlobalWriteLock: try nvGlobalWriteLock(&call)
        case .nvRead: try nvRead(&call)
        case .nvCertify: try nvCertify(&call)
        case .nvReadLock: try nvReadLock(&call)
        case .nvChangeAuth: try nvChangeAuth(&call)
        default: throw .commandCode
        }
    }
}
