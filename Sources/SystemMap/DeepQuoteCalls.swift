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

    /// The host's administrator asks for a guest, whatever that guest may have for itself.
    package enum OfGuest: Call {
        package static let number: UInt16 = 97
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var guest: [UInt8]
            package var name: GuestName
            /// DeepQuoteRequest
            package var request: [UInt8]
            package init(guest: [UInt8], name: GuestName, request: [UInt8]) {
                self.guest = guest
                self.name = name
                self.request = request
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guest = try reader.bytes(GuestID.size)
                guard let name = GuestName(try reader.text(max: 63)) else { throw .invalid(0) }
                self.name = name
                request = try reader.sized16(max: 256)
            }
            package func encode(to writer: inout WireWriter) {
                writer.raw(guest)
                writer.sized16(Array(name.text.utf8))
                writer.sized16(request)
            }
        }
        /// DeepQuote
        package typealias Reply = Blob
    }
}
