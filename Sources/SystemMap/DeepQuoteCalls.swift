// Deep quotes, which paratpm-policy composes from what paratpm-pcr and the chip say (docs/attestation.md).
import IPC
import TPMWire
import Wire

package enum DeepQuoteCalls {
    /// A guest's deep quote of itself. Errors are TPM response codes: TPM_RC_DISABLED for a guest that may not have one or a host
    /// without an identity, TPM_RC_RETRY for one that asks too often.
    package enum Own: Call {
        package static let number: UInt16 = 96
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        /// DeepQuoteRequest
        package typealias Request = Blob
        /// DeepQuote
        package typealias Reply = Blob
    }

    /// The host's administrator asks for a guest. Nothing but the host's own identity limits that.
    package enum OfGuest: Call {
        package static let number: UInt16 = 97
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var guest: [UInt8]
            /// DeepQuoteRequest
            package var request: [UInt8]
            package init(guest: [UInt8], request: [UInt8]) {
                self.guest = guest
                self.request = request
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guest = try reader.bytes(GuestID.size)
                request = try reader.sized16(max: 256)
            }
            package func encode(to writer: inout WireWriter) {
                writer.raw(guest)
                writer.sized16(request)
            }
        }
        /// DeepQuote
        package typealias Reply = Blob
    }
}
