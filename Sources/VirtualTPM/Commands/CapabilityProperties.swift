// TPM_PT: the properties of a guest's TPM (Part 2, 6.13), fixed and variable; and its algorithms (Part 2, 6.3 and 8.2).
import TPMCrypto
import TPMWire
import Wire

/// TPMS_TAGGED_PROPERTY (Part 2, 10.8.2)
struct TaggedProperty: WireCodable {
    let property: UInt32
    let value: UInt32

    init(_ property: UInt32, _ value: UInt32) {
        self.property = property
        self.value = value
    }
    init(_ property: UInt32, _ value: Int) { self.init(property, UInt32(clamping: value)) }
    /// Four characters, with NULs behind a shorter text.
    init(_ property: UInt32, _ text: String) {
        self.init(property, (Array(text.utf8) + [0, 0, 0, 0]).prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
    }
    init(from reader: inout WireReader) throws(WireError) {
        property = try reader.u32()
        value = try reader.u32()
    }
    func encode(to writer: inout WireWriter) {
        writer.u32(property)
        writer.u32(value)
    }
}

extension VirtualTPM {
    /// PT_GROUP: the fixed properties begin at 0x100, the variable ones at 0x200.
    private static let propertyGroup: UInt32 = 0x100

    /// The properties from `first` on, of its group only (Part 3, 30.2).
    func tpmProperties(from first: UInt32) -> [TaggedProperty] {
        switch max(first, Self.propertyGroup) / Self.propertyGroup {
        case 1: fixedProperties.filter { $0.property >= first }
        case 2: variableProperties.filter { $0.property >= first }
        default: []
        }
    }

    /// In failure mode a TPM still tells who made it (Part 3, 30.2): one property at a time.
    func identification(from first: UInt32, count: UInt32) -> CapabilityPage {
        let left = fixedProperties.filter { (0x105...0x10C).contains($0.property) && $0.property >= first }
        return CapabilityPage(left, count: min(count, 1), size: 8)
    }

    /// PT_FIXED
    private var fixedProperties: [TaggedProperty] {
        identifyingProperties + sizeProperties + [
            // The PC Client Platform TPM Profile, 1.05 of 4 September 2020
            TaggedProperty(0x123, 1),  // PS_FAMILY_INDICATOR: TPM_PS_PC
            TaggedProperty(0x124, 0),  // PS_LEVEL
            TaggedProperty(0x125, 0x105),  // PS_REVISION
            TaggedProperty(0x126, 248),  // PS_DAY_OF_YEAR
            TaggedProperty(0x127, 2020),  // PS_YEAR
            TaggedProperty(0x128, 128),  // SPLIT_MAX
            TaggedProperty(0x129, rules.commands.count),  // TOTAL_COMMANDS
            TaggedProperty(0x12A, rules.commands.count),  // LIBRARY_COMMANDS
            TaggedProperty(0x12B, 0),  // VENDOR_COMMANDS
            TaggedProperty(0x12C, Limits.nvBuffer),  // NV_BUFFER_MAX
            TaggedProperty(0x12D, 0),  // MODES: not FIPS 140-2
            TaggedProperty(0x12E, Limits.capabilityBuffer),  // MAX_CAP_BUFFER
        ]
    }

    private var identifyingProperties: [TaggedProperty] {
        [
            TaggedProperty(0x100, "2.0"),  // FAMILY_INDICATOR
            TaggedProperty(0x101, 0),  // LEVEL
            // The library specification's revision 1.59, of 8 November 2019
            TaggedProperty(0x102, 159),  // REVISION
            TaggedProperty(0x103, 312),  // DAY_OF_YEAR
            TaggedProperty(0x104, 2019),  // YEAR
            TaggedProperty(0x105, Identification.manufacturer),  // MANUFACTURER
            TaggedProperty(0x106, Identification.vendorStrings[0]),  // VENDOR_STRING_1
            TaggedProperty(0x107, Identification.vendorStrings[1]),  // VENDOR_STRING_2
            TaggedProperty(0x108, 0),  // VENDOR_STRING_3
            TaggedProperty(0x109, 0),  // VENDOR_STRING_4
            TaggedProperty(0x10A, 1),  // VENDOR_TPM_TYPE
            TaggedProperty(0x10B, UInt32(truncatingIfNeeded: Identification.firmwareVersion >> 32)),  // FIRMWARE_VERSION_1
            TaggedProperty(0x10C, UInt32(truncatingIfNeeded: Identification.firmwareVersion)),  // FIRMWARE_VERSION_2
        ]
    }

    private var sizeProperties: [TaggedProperty] {
        [
            TaggedProperty(0x10D, Limits.inputBuffer),  // INPUT_BUFFER
            TaggedProperty(0x10E, limits.transientObjects),  // HR_TRANSIENT_MIN
            TaggedProperty(0x10F, limits.persistentObjects),  // HR_PERSISTENT_MIN
            TaggedProperty(0x110, limits.sessions),  // HR_LOADED_MIN
            TaggedProperty(0x111, limits.sessions),  // ACTIVE_SESSIONS_MAX
            TaggedProperty(0x112, PCRSelection.pcrCount),  // PCR_COUNT
            TaggedProperty(0x113, PCRSelection.bitmapSize),  // PCR_SELECT_MIN
            TaggedProperty(0x114, UInt32.max),  // CONTEXT_GAP_MAX: sequence numbers of 64 bits
            TaggedProperty(0x116, 0),  // NV_COUNTERS_MAX: as many as indices
            TaggedProperty(0x117, NVPublic.dataMax),  // NV_INDEX_MAX
            TaggedProperty(0x118, 0b110),  // MEMORY: sharedNV, objectCopiedToRam
            TaggedProperty(0x119, Int(ClockState.updateInterval)),  // CLOCK_UPDATE
            TaggedProperty(0x11A, UInt32(HashAlgorithm.sha256.rawValue)),  // CONTEXT_HASH
            TaggedProperty(0x11B, UInt32(TPMAlgorithm.aes.rawValue)),  // CONTEXT_SYM
            TaggedProperty(0x11C, 256),  // CONTEXT_SYM_SIZE
            TaggedProperty(0x11D, 0),  // ORDERLY_COUNT: orderly counters are stored at once
            TaggedProperty(0x11E, bufferSize),  // MAX_COMMAND_SIZE
            TaggedProperty(0x11F, bufferSize),  // MAX_RESPONSE_SIZE
            TaggedProperty(0x120, HashAlgorithm.largestDigest),  // MAX_DIGEST
            TaggedProperty(0x121, SavedContext.sizeMax),  // MAX_OBJECT_CONTEXT
            TaggedProperty(0x122, SavedContext.sizeMax),  // MAX_SESSION_CONTEXT
        ]
    }

    /// PT_VAR
    private var variableProperties: [TaggedProperty] {
        let sessions = volatile.sessions
        let counters = durable.nv.values.count { $0.publicArea.attributes.indexType == .counter }
        let lockout = durable.lockout
        return [
            TaggedProperty(0x200, permanentAttributes),  // PERMANENT
            TaggedProperty(0x201, startupClearAttributes),  // STARTUP_CLEAR
            TaggedProperty(0x202, durable.nv.count),  // HR_NV_INDEX
            TaggedProperty(0x203, sessions.loaded.count),  // HR_LOADED
            TaggedProperty(0x204, limits.sessions - sessions.activeCount),  // HR_LOADED_AVAIL
            TaggedProperty(0x205, sessions.activeCount),  // HR_ACTIVE
            TaggedProperty(0x206, limits.sessions - sessions.activeCount),  // HR_ACTIVE_AVAIL
            TaggedProperty(0x207, limits.transientObjects - volatile.transient.count),  // HR_TRANSIENT_AVAIL
            TaggedProperty(0x208, durable.persistent.count),  // HR_PERSISTENT
            TaggedProperty(0x209, limits.persistentObjects - durable.persistent.count),  // HR_PERSISTENT_AVAIL
            TaggedProperty(0x20A, counters),  // NV_COUNTERS
            TaggedProperty(0x20B, limits.nvIndices - durable.nv.count),  // NV_COUNTERS_AVAIL
            TaggedProperty(0x20C, durable.settings.algorithmSet),  // ALGORITHM_SET
            TaggedProperty(0x20D, curves.count),  // LOADED_CURVES
            TaggedProperty(0x20E, lockout.failedTries),  // LOCKOUT_COUNTER
            TaggedProperty(0x20F, lockout.maxTries),  // MAX_AUTH_FAIL
            TaggedProperty(0x210, lockout.recoveryTime),  // LOCKOUT_INTERVAL
            TaggedProperty(0x211, lockout.lockoutRecovery),  // LOCKOUT_RECOVERY
            TaggedProperty(0x212, 0),  // NV_WRITE_RECOVERY
            TaggedProperty(0x213, UInt32(truncatingIfNeeded: durable.audit.counter >> 32)),  // AUDIT_COUNTER_0
            TaggedProperty(0x214, UInt32(truncatingIfNeeded: durable.audit.counter)),  // AUDIT_COUNTER_1
        ]
    }

    /// TPMA_PERMANENT (Part 2, 8.6)
    private var permanentAttributes: UInt32 {
        let hierarchies = durable.hierarchies
        var value: UInt32 = 1 << 10  // tpmGeneratedEPS
        if !hierarchies.owner.authValue.isEmpty { value |= 1 << 0 }
        if !hierarchies.endorsement.authValue.isEmpty { value |= 1 << 1 }
        if !hierarchies.lockoutAuth.isEmpty { value |= 1 << 2 }
        if hierarchies.disableClear { value |= 1 << 8 }
        if durable.lockout.isLockedOut { value |= 1 << 9 }
        return value
    }

    /// TPMA_STARTUP_CLEAR (Part 2, 8.7)
    private var startupClearAttributes: UInt32 {
        let hierarchies = volatile.hierarchies
        var value: UInt32 = 0
        if hierarchies.phEnable { value |= 1 << 0 }
        if hierarchies.shEnable { value |= 1 << 1 }
        if hierarchies.ehEnable { value |= 1 << 2 }
        if hierarchies.phEnableNV { value |= 1 << 3 }
        if volatile.isStartOrderly { value |= 1 << 31 }
        return value
    }
}

extension SavedContext {
    /// The largest TPMS_CONTEXT, in bytes.
    static let sizeMax = 18 + blobMax
}

/// TPMS_ALG_PROPERTY (Part 2, 10.8.1) with TPMA_ALGORITHM (Part 2, 8.2)
struct AlgorithmProperty: WireCodable {
    let algorithm: TPMAlgorithm
    let attributes: UInt32

    init(_ algorithm: TPMAlgorithm, _ attributes: Set<Attribute>) {
        self.algorithm = algorithm
        self.attributes = attributes.reduce(0) { $0 | $1.rawValue }
    }
    init(from reader: inout WireReader) throws(WireError) {
        algorithm = try reader.value()
        attributes = try reader.u32()
    }
    func encode(to writer: inout WireWriter) {
        writer.value(algorithm)
        writer.u32(attributes)
    }

    enum Attribute: UInt32 {
        case asymmetric = 0x001, symmetric = 0x002, hash = 0x004, object = 0x008
        case signing = 0x100, encrypting = 0x200, method = 0x400
    }
}

extension VirtualTPM {
    /// What the guest's TPM implements, ascending: digests and symmetric cryptography by itself, the rest as far as the chip does; and of all
    /// that, what its rules leave.
    var algorithmProperties: [AlgorithmProperty] {
        var all: [AlgorithmProperty] = [
            AlgorithmProperty(.hmac, [.hash, .signing]), AlgorithmProperty(.aes, [.symmetric]), AlgorithmProperty(.cmac, [.symmetric, .signing]),
            AlgorithmProperty(.mgf1, [.hash, .method]), AlgorithmProperty(.keyedHash, [.hash, .object, .signing, .encrypting]),
            AlgorithmProperty(.xor, [.hash, .symmetric]), AlgorithmProperty(.kdf1SP800_56A, [.hash, .method]),
            AlgorithmProperty(.kdf2, [.hash, .method]), AlgorithmProperty(.kdf1SP800_108, [.hash, .method]),
            AlgorithmProperty(.symcipher, [.object]),
        ]
        all += HashAlgorithm.allCases.map { AlgorithmProperty($0.algorithm, [.hash]) }
        all += SymmetricDefinition.modes.map { AlgorithmProperty($0, [.symmetric, .encrypting]) }
        if !rsaBits.isEmpty {
            all += [
                AlgorithmProperty(.rsa, [.asymmetric, .object]), AlgorithmProperty(.rsassa, [.asymmetric, .signing]),
                AlgorithmProperty(.rsaes, [.asymmetric, .encrypting]), AlgorithmProperty(.rsapss, [.asymmetric, .signing]),
                AlgorithmProperty(.oaep, [.asymmetric, .encrypting]),
            ]
        }
        if !curves.isEmpty {
            all += [
                AlgorithmProperty(.ecc, [.asymmetric, .object]), AlgorithmProperty(.ecdsa, [.asymmetric, .signing]),
                AlgorithmProperty(.ecdh, [.asymmetric, .method]),
                AlgorithmProperty(.ecdaa, [.asymmetric, .signing]), AlgorithmProperty(.ecschnorr, [.asymmetric, .signing]),
            ]
        }
        return all.filter { rules.vocabulary.has(.algorithm($0.algorithm)) }.sorted { $0.algorithm.rawValue < $1.algorithm.rawValue }
    }
}
