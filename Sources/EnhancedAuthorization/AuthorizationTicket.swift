// TPMT_TK_AUTH: an authorization that its holder may present again, until it expires.
import CryptoBase
import TPMWire
import Wire

/// What a ticket of PolicySecret (or PolicySigned) says (Part 2, 10.7.5).
package struct AuthorizationTicket: Sendable, Equatable {
    /// TPM_ST_AUTH_SECRET or TPM_ST_AUTH_SIGNED
    package let tag: UInt16
    /// The entity's
    package let hierarchy: TPMHandle
    /// The guest's time after which it is void, in milliseconds
    package let timeout: UInt64
    /// Given without a nonce: `timeout` counts from a time that a TPM Reset sets back.
    package let expiresOnReset: Bool
    package let cpHash: [UInt8]
    package let policyRef: [UInt8]
    package let entityName: [UInt8]

    private static let expiresOnResetBit: UInt64 = 1 << 63

    /// TPM2B_TIMEOUT (its form is the TPM's own): 8 bytes, the first bit for expiresOnReset.
    package var timeoutBuffer: [UInt8] {
        (timeout & ~Self.expiresOnResetBit | (expiresOnReset ? Self.expiresOnResetBit : 0)).wire
    }

    /// The ticket, whose digest is an HMAC-SHA512 as libtpms has it.
    package func minted(key: [UInt8]) -> Ticket {
        var writer = WireWriter()
        writer.u16(tag)
        writer.sized16(cpHash)
        writer.sized16(policyRef)
        writer.sized16(entityName)
        writer.sized16(timeoutBuffer)
        return Ticket(tag: tag, hierarchy: hierarchy, digest: hmac(.sha512, key: key, writer.bytes))
    }
}
