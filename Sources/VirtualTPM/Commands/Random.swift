// Part 3, 16: random number generator.
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_GetRandom (16.1): at most as many bytes as the largest digest has.
    func getRandom(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let bytesRequested = Int(try call.parameters.next(UInt16.self))
        try call.parameters.finish()

        let randomBytes = try drawRandom(min(bytesRequested, HashAlgorithm.largestDigest))
        return Reply { $0.sized16(randomBytes) }
    }

    /// TPM2_StirRandom (16.2)
    func stirRandom(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let inData = try call.parameters.bytes(max: SensitiveCreate.dataMax)
        try call.parameters.finish()

        volatile.random.stir(inData)
        return .empty
    }
}
