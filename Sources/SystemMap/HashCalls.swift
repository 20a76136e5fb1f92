// Hash-check tickets (Part 2, 10.7.6): a restricted key signs a digest only if paratpm-policy saw what it is of. So paratpm-policy hashes,
// where a ticket may be wanted.
import IPC
import TPMWire
import Wire

package enum HashCalls {
    /// Data in one call, in bytes
    package static let dataMax = 1024

    /// One step of a digest (TPM2_Hash; SequenceUpdate, SequenceComplete). Between steps the caller keeps the state.
    package enum Step: Call {
        package static let number: UInt16 = 48
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package static let stateMax = 512
        package struct Request: WireCodable, Sendable {
            package var hash: HashAlgorithm
            /// What the step before answered; empty at the beginning
            package var state: [UInt8]
            package var data: [UInt8]
            package var end: End?
            package init(hash: HashAlgorithm, state: [UInt8] = [], data: [UInt8], end: End? = nil) {
                self.hash = hash
                self.state = state
                self.data = data
                self.end = end
            }
            package init(from reader: inout WireReader) throws(WireError) {
                hash = try reader.value()
                state = try reader.sized16(max: Step.stateMax)
                data = try reader.sized16(max: HashCalls.dataMax)
                end = try reader.flag() ? try reader.value() : nil
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(hash)
                writer.sized16(state)
                writer.sized16(data)
                writer.flag(end != nil)
                if let end { writer.value(end) }
            }
        }
        package struct Reply: WireCodable, Sendable {
            /// The next step's state, or after the last step the digest
            package var result: [UInt8]
            /// nil where none was asked for, and of data that look like the TPM's own
            package var ticket: Ticket?
            package init(result: [UInt8], ticket: Ticket? = nil) {
                self.result = result
                self.ticket = ticket
            }
            package init(from reader: inout WireReader) throws(WireError) {
                result = try reader.sized16(max: Step.stateMax)
                ticket = try reader.flag() ? try reader.value() : nil
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(result)
                writer.flag(ticket != nil)
                if let ticket { writer.value(ticket) }
            }
        }
    }

    /// The last step, and the hierarchy that its ticket shall be of; nil: no ticket.
    package struct End: WireCodable, Sendable {
        package var ticket: TicketHierarchy?
        package init(ticket: TicketHierarchy?) { self.ticket = ticket }
        package init(from reader: inout WireReader) throws(WireError) {
            ticket = try reader.flag() ? try reader.value() : nil
        }
        package func encode(to writer: inout WireWriter) {
            writer.flag(ticket != nil)
            if let ticket { writer.value(ticket) }
        }
    }

    /// Whether a ticket is one of these: TPM_RC_TICKET if not.
    package enum Check: Call {
        package static let number: UInt16 = 49
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var ticket: Ticket
            package var proofDigest: [UInt8]
            package var hash: HashAlgorithm
            package var digest: [UInt8]
            package init(ticket: Ticket, proofDigest: [UInt8], hash: HashAlgorithm, digest: [UInt8]) {
                self.ticket = ticket
                self.proofDigest = proofDigest
                self.hash = hash
                self.digest = digest
            }
            package init(from reader: inout WireReader) throws(WireError) {
                ticket = try reader.value()
                proofDigest = try reader.bytes(TicketHierarchy.proofDigestSize)
                hash = try reader.value()
                digest = try reader.sized16(max: HashAlgorithm.largestDigest)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(ticket)
                writer.raw(proofDigest)
                writer.value(hash)
                writer.sized16(digest)
            }
        }
        package typealias Reply = Nothing
    }
}
