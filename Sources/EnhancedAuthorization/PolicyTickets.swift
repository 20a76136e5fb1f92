// Tickets on which policies rest (Part 1, 11.4.8.3; Part 2, 10.7.4 and 10.7.5). They are made and known again by the checker alone.
import CryptoBase
import SystemMap
import TPMWire
import Wire

/// Makes a guest's tickets.
package struct TicketMint {
    /// The HMAC key for one hierarchy's tickets, 64 bytes
    private let key: (TicketHierarchy) -> Secret
    private let boot: [UInt8]

    /// - Parameter boot: the host's, with which the guests' times end, and so the tickets that have a timeout.
    package init(boot: [UInt8], key: @escaping (TicketHierarchy) -> Secret) {
        self.boot = boot
        self.key = key
    }

    /// TPMT_TK_VERIFIED: a key's signature over the digest was genuine.
    package func verified(_ hierarchy: TicketHierarchy, digest: [UInt8], keyName: [UInt8]) -> Ticket {
        ticket(StructureTag.verified, hierarchy) {
            $0.sized16(digest)
            $0.sized16(keyName)
        }
    }

    /// TPMT_TK_AUTH: an entity agreed, until the timeout.
    package func authorized(_ tag: UInt16, _ hierarchy: TicketHierarchy, _ authorization: AuthorizationTicket) -> Ticket {
        ticket(tag, hierarchy) {
            authorization.encode(to: &$0)
            $0.sized16(boot)
        }
    }

    /// TPMT_TK_HASHCHECK: the checker made the digest, of data that cannot be taken for a structure of the TPM's own.
    package func hashChecked(_ hierarchy: TicketHierarchy, _ hash: HashAlgorithm, digest: [UInt8]) -> Ticket {
        ticket(StructureTag.hashCheck, hierarchy) {
            $0.value(hash)
            $0.sized16(digest)
        }
    }

    /// The digest is an HMAC-SHA512, as libtpms has it.
    private func ticket(_ tag: UInt16, _ hierarchy: TicketHierarchy, _ body: (inout WireWriter) -> Void) -> Ticket {
        var writer = WireWriter()
        writer.u16(tag)
        body(&writer)
        var key = key(hierarchy).bytes
        defer { wipe(&key) }
        return Ticket(tag: tag, hierarchy: hierarchy.handle, digest: hmac(.sha512, key: key, writer.bytes))
    }
}

/// What a ticket of PolicySigned or PolicySecret covers.
package struct AuthorizationTicket: Sendable, Equatable {
    /// The guest's time after which it is void, in milliseconds
    package let timeout: UInt64
    /// Given without a nonce: `timeout` counts from a time that a TPM Reset sets back.
    package let expiresOnReset: Bool
    /// The guest's epoch in which it was given, and ends
    package let epoch: UInt64
    package let cpHash: [UInt8]
    package let policyRef: [UInt8]
    package let entityName: [UInt8]

    private static let expiresOnResetBit: UInt64 = 1 << 63

    /// TPM2B_TIMEOUT (its form is the TPM's own): 8 bytes, the first bit for expiresOnReset.
    package var timeoutBuffer: [UInt8] { (timeout | (expiresOnReset ? Self.expiresOnResetBit : 0)).wire }

    package init(timeout: UInt64, expiresOnReset: Bool, epoch: UInt64, entityName: [UInt8], _ terms: AuthorizationTerms) {
        self.timeout = timeout & ~Self.expiresOnResetBit
        self.expiresOnReset = expiresOnReset
        self.epoch = epoch
        cpHash = terms.cpHash
        policyRef = terms.policyRef
        self.entityName = entityName
    }

    /// What PolicyTicket's parameters claim; nil if the buffer is no TPM2B_TIMEOUT of ours.
    package init?(timeoutBuffer: [UInt8], epoch: UInt64, entityName: [UInt8], _ terms: AuthorizationTerms) {
        guard let timeout = try? UInt64(wire: timeoutBuffer) else { return nil }
        self.init(
            timeout: timeout, expiresOnReset: timeout & Self.expiresOnResetBit != 0, epoch: epoch, entityName: entityName, terms)
    }

    fileprivate func encode(to writer: inout WireWriter) {
        writer.sized16(cpHash)
        writer.sized16(policyRef)
        writer.sized16(entityName)
        writer.sized16(timeoutBuffer)
        writer.u64(epoch)
    }
}
