// What a verification says: link by link, what was proved, or what fails first.
import AttestationFormats

/// One link of the chain of trust that holds.
public struct Link: Equatable, Sendable, CustomStringConvertible {
    /// The links, in the order in which they are checked.
    public enum Name: String, CaseIterable, Sendable {
        case endorsementKey = "endorsement key"
        case attestationKey = "attestation key"
        case certificateKey = "certificate key"
        case evidence = "evidence"
        case bundle = "bundle"
        case signature = "signature"
        case binding = "binding"
        case nonce = "nonce"
        case guest = "guest"
        case certificate = "guest's certificate"
        case hostPCRs = "host's PCRs"
        case guestPCRs = "guest's vPCRs"
        case eventLog = "event log"

        /// Says which link it is that does not even decode.
        func check<R>(_ body: () throws(FormatError) -> R) throws(BrokenLink) -> R {
            do throws(FormatError) { return try body() } catch { throw BrokenLink(self, error.description) }
        }
    }

    /// Which link it is.
    public let name: Name
    /// What it proves: the rest of a sentence that begins with the name.
    public let statement: String
    /// One line of a report.
    public var description: String { "\(name.rawValue): \(statement)" }

    init(_ name: Name, _ statement: String) {
        self.name = name
        self.statement = statement
    }
}

/// The first link that does not hold.
public struct BrokenLink: Error, Equatable, Sendable, CustomStringConvertible {
    /// Which link it is.
    public let name: Link.Name
    /// Why it does not hold: the rest of a sentence that begins with the name.
    public let reason: String
    /// One line of a report.
    public var description: String { "\(name.rawValue): \(reason)" }

    init(_ name: Link.Name, _ reason: String) {
        self.name = name
        self.reason = reason
    }
}
