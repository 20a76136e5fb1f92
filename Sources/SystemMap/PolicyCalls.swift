// The interface of paratpm-policy: policy sessions as tokens (D8). The service keeps nothing; a token is the session's state
// with a MAC, which the proxy stores and hands back.
import IPC
import TPMWire
import Wire

package enum PolicyCalls {
    /// The largest token, in bytes.
    package static let tokenMax = 1024

    /// A new policy session: the token of an empty policy.
    package enum Start: Call {
        package static let number: UInt16 = 16
        package static let callers: Caller = [.proxy]
        package struct Request: WireCodable, Sendable {
            package var hash: HashAlgorithm
            package var trial: Bool
            /// The session's first nonceTPM, which expirations and PolicySigned refer to.
            package var nonceTPM: [UInt8]
            /// The guest's `time` (milliseconds since its power came on) at which the session started.
            package var startTime: UInt64
            package init(hash: HashAlgorithm, trial: Bool, nonceTPM: [UInt8], startTime: UInt64) {
                self.hash = hash
                self.trial = trial
                self.nonceTPM = nonceTPM
                self.startTime = startTime
            }
            package init(from reader: inout WireReader) throws(WireError) {
                hash = try reader.value()
                trial = try reader.flag()
                nonceTPM = try reader.sized16(max: HashAlgorithm.largestDigest)
                startTime = try reader.u64()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(hash)
                writer.flag(trial)
                writer.sized16(nonceTPM)
                writer.u64(startTime)
            }
        }
        package typealias Reply = Blob
    }

    /// One Policy command of the guest.
    package enum Step: Call {
        package static let number: UInt16 = 17
        package static let callers: Caller = [.proxy]
        package struct Request: WireCodable, Sendable {
            package var token: [UInt8]
            package var step: PolicyStep
            package init(token: [UInt8], step: PolicyStep) {
                self.token = token
                self.step = step
            }
            package init(from reader: inout WireReader) throws(WireError) {
                token = try reader.sized16(max: PolicyCalls.tokenMax)
                step = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(token)
                writer.value(step)
            }
        }
        package struct Reply: WireCodable, Sendable {
            package var token: [UInt8]
            /// TPM2B_TIMEOUT and the ticket, of PolicySecret with a negative expiration.
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
}

/// A Policy command as the checker sees it. Errors are TPM response codes with their parameter number.
package enum PolicyStep: WireCodable, Sendable {
    case restart
    /// PolicyPCR: the digest that the caller expects (may be empty) and the selection
    case pcr(expected: [UInt8], selection: [PCRSelection])
    case authValue
    case password
    case commandCode(TPMCommandCode)
    case or([[UInt8]])
    /// PolicySecret, after the proxy authorized the entity. `now` is the guest's time in milliseconds; `hierarchy` is the
    /// entity's, for the ticket.
    case secret(entityName: [UInt8], hierarchy: TPMHandle, policyRef: [UInt8], cpHash: [UInt8], nonce: [UInt8], expiration: Int32, now: UInt64)

    package static let orMax = 8
    private static let nameMax = 2 + HashAlgorithm.largestDigest

    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 0: self = .restart
        case 1:
            self = .pcr(expected: try reader.sized16(max: HashAlgorithm.largestDigest),
                        selection: try reader.list(max: PCRSelection.listMax))
        case 2: self = .authValue
        case 3: self = .password
        case 4: self = .commandCode(try reader.value())
        case 5:
            let count = try reader.u8()
            guard count <= Self.orMax else { throw .oversized }
            var digests: [[UInt8]] = []
            for _ in 0..<count { digests.append(try reader.sized16(max: HashAlgorithm.largestDigest)) }
            self = .or(digests)
        case 6:
            self = .secret(
                entityName: try reader.sized16(max: Self.nameMax), hierarchy: try reader.value(),
                policyRef: try reader.sized16(max: HashAlgorithm.largestDigest),
                cpHash: try reader.sized16(max: HashAlgorithm.largestDigest),
                nonce: try reader.sized16(max: HashAlgorithm.largestDigest),
                expiration: Int32(bitPattern: try reader.u32()), now: try reader.u64())
        default: throw .invalid(0)
        }
    }

    package func encode(to writer: inout WireWriter) {
        switch self {
        case .restart: writer.u8(0)
        case .pcr(let expected, let selection):
            writer.u8(1)
            writer.sized16(expected)
            writer.list(selection)
        case .authValue: writer.u8(2)
        case .password: writer.u8(3)
        case .commandCode(let code):
            writer.u8(4)
            writer.value(code)
        case .or(let digests):
            writer.u8(5)
            writer.u8(UInt8(digests.count))
            for digest in digests { writer.sized16(digest) }
        case .secret(let entityName, let hierarchy, let policyRef, let cpHash, let nonce, let expiration, let now):
            writer.u8(6)
            writer.sized16(entityName)
            writer.value(hierarchy)
            writer.sized16(policyRef)
            writer.sized16(cpHash)
            writer.sized16(nonce)
            writer.u32(UInt32(bitPattern: expiration))
            writer.u64(now)
        }
    }
}
