// What the host does for its guest's TPM besides keeping its keys: it vouches for it.
import SystemMap
import TPMWire

package protocol HostService: AnyObject {
    /// A deep quote (docs/attestation.md).
    /// - Parameter request: DeepQuoteRequest, as the guest wrote it.
    func deepQuote(_ request: [UInt8]) throws(TPMRC) -> [UInt8]
    /// The certificates that the TPM shall have, and those that it shall not have any more.
    func certificates() throws(TPMRC) -> HostCalls.Certificates.Reply
    /// The certificate of a loaded twin, DER.
    func certify(_ index: TPMHandle, _ handle: UInt32) throws(TPMRC) -> [UInt8]
}
