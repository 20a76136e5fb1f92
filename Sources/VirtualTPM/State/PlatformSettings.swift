// What the platform has set for the guest's TPM, besides its hierarchy.
import TPMWire
import Wire

struct PlatformSettings: WireCodable {
    /// PCR_Allocate; in force from the next Startup on.
    var banks = PCRBanks.all
    /// PCR_SetAuthPolicy: of the one group of PCRs that has a policy
    var pcrPolicy = HierarchyPolicy()
    /// SetAlgorithmSet: a number that the TPM keeps (TPM_PT_ALGORITHM_SET)
    var algorithmSet: UInt32 = 0

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        banks = try reader.value()
        pcrPolicy = HierarchyPolicy(hash: try reader.hashOrNull(), digest: try reader.sized16(max: HashAlgorithm.largestDigest))
        algorithmSet = try reader.u32()
    }
    func encode(to writer: inout WireWriter) {
        writer.value(banks)
        writer.hashOrNull(pcrPolicy.hash)
        writer.sized16(pcrPolicy.digest)
        writer.u32(algorithmSet)
    }
}
