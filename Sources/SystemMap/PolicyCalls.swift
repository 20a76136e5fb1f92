// The interface of paratpm-policy: policy sessions as tokens (D8). The service keeps nothing; a token is the session's state
// with a MAC, which the proxy stores and hands back.
import IPC
import TPMWire
import Wire

package enum PolicyCalls {
    /// The largest token, in bytes.
    package static let tokenMax = 1024

    /// A new policy session: the token of an empty policy, and in it where the session's nonces come from (SessionNonces).
    package enum Start: Call {
        package static let number: UInt16 = 16
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var hash: HashAlgorithm
            package var trial: Bool
            /// When the guest's power came on (GuestTime)
            package var epoch: UInt64
            /// Of nonceTPM, in bytes
            package var nonceSize: UInt8
            package init(hash: HashAlgorithm, trial: Bool, epoch: UInt64, nonceSize: UInt8) {
                self.hash = hash
                self.trial = trial
                self.epoch = epoch
                self.nonceSize = nonceSize
            }
            package init(from reader: inout WireReader) throws(WireError) {
                hash = try reader.value()
                trial = try reader.flag()
                epoch = try reader.u64()
                nonceSize = try reader.u8()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(hash)
                writer.flag(trial)
                writer.u64(epoch)
                writer.u8(nonceSize)
            }
        }
        package typealias Reply = Blob
    }

    /// One Policy command of the guest.
    package enum Step: Call {
        package static let number: UInt16 = 17
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var token: [UInt8]
            package var step: PolicyStep
            package var moment: PolicyMoment
            package init(token: [UInt8], step: PolicyStep, at moment: PolicyMoment) {
                self.token = token
                self.step = step
                self.moment = moment
            }
            package init(from reader: inout WireReader) throws(WireError) {
                token = try reader.sized16(max: PolicyCalls.tokenMax)
                step = try reader.value()
                moment = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(token)
                writer.value(step)
                writer.value(moment)
            }
        }
        package struct Reply: WireCodable, Sendable {
            package var token: [UInt8]
            /// TPM2B_TIMEOUT and the ticket, of PolicySigned and PolicySecret with a negative expiration.
            package var timeout: [UInt8]
            package var ticket: Ticket?
            package init(token: [UInt8], timeout: [UInt8] = [], ticket: Ticket? = nil) {
                self.token = token
                self.timeout = timeout
                self.ticket = ticket
            }
            package init(from reader: inout WireReader) throws(WireError) {
                token = try reader.sized16(max: PolicyCalls.tokenMax)
                timeout = try reader.sized16(max: 16)
                ticket = try reader.flag() ? try reader.value() : nil
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(token)
                writer.sized16(timeout)
                writer.flag(ticket != nil)
                if let ticket { writer.value(ticket) }
            }
        }
    }

    /// TPM2_VerifySignature's part that PolicyAuthorize rests on: the signature is checked, and its ticket made.
    /// Errors are TPM response codes without a number.
    package enum Verify: Call {
        package static let number: UInt16 = 18
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var key: PublicArea
            package var digest: [UInt8]
            package var evidence: SignatureEvidence
            /// The key's
            package var hierarchy: TicketHierarchy
            package init(key: PublicArea, digest: [UInt8], evidence: SignatureEvidence, hierarchy: TicketHierarchy) {
                self.key = key
                self.digest = digest
                self.evidence = evidence
                self.hierarchy = hierarchy
            }
            package init(from reader: inout WireReader) throws(WireError) {
                key = try reader.value()
                digest = try reader.sized16(max: HashAlgorithm.largestDigest)
                evidence = try reader.value()
                hierarchy = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(key)
                writer.sized16(digest)
                writer.value(evidence)
                writer.value(hierarchy)
            }
        }
        package typealias Reply = Ticket
    }
}
