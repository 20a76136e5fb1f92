// The NV indices by which a guest gets deep quotes with stock tools, and the event log of what its host measured
// (docs/attestation.md). They are there without being
// defined, are in no list, take no space and do not outlast the power.
import TPMCrypto
import TPMWire
import Wire

package enum DeepQuoteIndex {
    // In the TPM manufacturer's range (TCG Registry of Reserved TPM 2.0 Handles, 2.2).
    /// Written: the nonce and the selection.
    package static let request = TPMHandle(0x010A_5000)
    /// Read: the bundle.
    package static let bundle = TPMHandle(0x010A_5001)
    /// Read: the event log that begins with the host's PCRs.
    package static let hostEvents = TPMHandle(0x010A_5002)

    /// Bytes that can be written.
    fileprivate static let requestSize: UInt16 = 128
    /// Nobody can define, undefine, lock or extend them.
    fileprivate static let attributes: NVAttributes = [
        .authRead, .ownerRead, .ppRead, .noDA, .platformCreate, .policyDelete,
    ]
}

extension VirtualTPM {
    /// The index that a handle names, defined by the guest or one of ours.
    func nv(_ handle: TPMHandle) -> NVIndex? {
        if let index = durable.nv[handle] { return index }
        guard host != nil else { return nil }
        switch handle {
        case DeepQuoteIndex.request:
            let attributes = DeepQuoteIndex.attributes.union([.authWrite, .ownerWrite, .ppWrite, .written])
            return deepQuoteIndex(handle, attributes, [UInt8](repeating: 0, count: Int(DeepQuoteIndex.requestSize)))
        case DeepQuoteIndex.bundle: return readableIndex(handle, volatile.deepQuote)
        case DeepQuoteIndex.hostEvents: return readableIndex(handle, hostEvents)
        default: return nil
        }
    }

    private func readableIndex(_ handle: TPMHandle, _ data: [UInt8]) -> NVIndex {
        deepQuoteIndex(handle, data.isEmpty ? DeepQuoteIndex.attributes : DeepQuoteIndex.attributes.union(.written), data)
    }

    private func deepQuoteIndex(_ handle: TPMHandle, _ attributes: NVAttributes, _ data: [UInt8]) -> NVIndex {
        let area = NVPublic(
            index: handle, nameAlgorithm: .sha256, attributes: attributes, authPolicy: [], dataSize: UInt16(clamping: data.count))
        var index = NVIndex(publicArea: area, authValue: .empty)
        index.data = data
        return index
    }

    /// TPM2_NV_Write to the request index: the bundle is made now, and stays the same until the next request, in however many
    /// parts it is read.
    func requestDeepQuote(_ request: [UInt8], offset: Int) throws(TPMRC) {
        guard offset == 0 else { throw TPMRC.value.parameter(2) }
        volatile.deepQuote = []
        do throws(TPMRC) { volatile.deepQuote = try host?.deepQuote(request) ?? [] } catch { throw error.parameter(1) }
    }
}
