// Hierarchies: authorizations, policies, proofs, and the ids that stand for their seeds (Part 1, 14).
import TPMCrypto
import TPMWire
import Wire

/// An authPolicy and the hash algorithm it is of; nil: no policy.
struct HierarchyPolicy: Equatable {
    var hash: HashAlgorithm?
    var digest: [UInt8] = []

    /// The digest has the size of its algorithm's.
    var isWhole: Bool { digest.count == hash?.digestSize ?? 0 }
}

/// What lasts of a hierarchy. The seed itself does not exist: a primary is remembered under its seed's id, so a new id makes
/// every former primary unreachable, which is all that changing a seed means.
struct Hierarchy: WireCodable {
    var authValue = Secret.empty
    var policy = HierarchyPolicy()
    /// Stands for the primary seed: 32 random bytes.
    var seedID = Secret(randomBytes(32))
    /// phProof, shProof, ehProof: 32 random bytes (Part 1, 14.4).
    var proof = Secret(randomBytes(32))

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        authValue = Secret(try reader.sized16(max: HashAlgorithm.largestDigest))
        policy = HierarchyPolicy(hash: try reader.hashOrNull(), digest: try reader.sized16(max: HashAlgorithm.largestDigest))
        seedID = Secret(try reader.bytes(32))
        proof = Secret(try reader.bytes(32))
    }
    func encode(to writer: inout WireWriter) {
        writer.sized16(authValue.bytes)
        writer.hashOrNull(policy.hash)
        writer.sized16(policy.digest)
        writer.raw(seedID.bytes)
        writer.raw(proof.bytes)
    }
}

/// The three lasting hierarchies and lockout's authorization. platformAuth and platformPolicy are here for their seed and
/// proof; their authorization is volatile (VolatileState).
struct HierarchyState: WireCodable {
    var owner = Hierarchy()
    var endorsement = Hierarchy()
    var platform = Hierarchy()
    var lockoutAuth = Secret.empty
    var lockoutPolicy = HierarchyPolicy()
    /// ClearControl
    var disableClear = false

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        owner = try reader.value()
        endorsement = try reader.value()
        platform = try reader.value()
        lockoutAuth = Secret(try reader.sized16(max: HashAlgorithm.largestDigest))
        lockoutPolicy = HierarchyPolicy(hash: try reader.hashOrNull(), digest: try reader.sized16(max: HashAlgorithm.largestDigest))
        disableClear = try reader.flag()
    }
    func encode(to writer: inout WireWriter) {
        writer.value(owner)
        writer.value(endorsement)
        writer.value(platform)
        writer.sized16(lockoutAuth.bytes)
        writer.hashOrNull(lockoutPolicy.hash)
        writer.sized16(lockoutPolicy.digest)
        writer.flag(disableClear)
    }
}

/// What a hierarchy has only while the power is on.
struct VolatileHierarchies {
    var platformAuth = Secret.empty
    var platformPolicy = HierarchyPolicy()
    var phEnable = true
    var phEnableNV = true
    var shEnable = true
    var ehEnable = true
    /// The NULL hierarchy's proof and seed: new at every TPM Reset.
    var nullProof = Secret(randomBytes(32))
    var nullSeed = Secret(randomBytes(32))
    /// The primaries that the chip made for the NULL hierarchy.
    var nullPrimaries: [[UInt8]: RememberedPrimary] = [:]

    /// - Parameter hierarchy: TPMI_RH_ENABLES (Part 2, 9.15)
    mutating func set(_ hierarchy: TPMHandle, enabled: Bool) {
        switch hierarchy {
        case .owner: shEnable = enabled
        case .endorsement: ehEnable = enabled
        case .platform: phEnable = enabled
        case .platformNV: phEnableNV = enabled
        default: break
        }
    }

    func isEnabled(_ hierarchy: TPMHandle) -> Bool {
        switch hierarchy {
        case .owner: shEnable
        case .endorsement: ehEnable
        case .platform: phEnable
        case .platformNV: phEnableNV
        default: true
        }
    }
}
