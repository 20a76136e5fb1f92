// The gate secret, and everything that is derived from it (docs/architecture.md, D7).
import CryptoBase
import EnhancedAuthorization
import SystemMap
import TPMWire
import Wire

/// The gate secret is in this process's memory and, sealed, in the chip: a restart voids no token, and nobody who reads our
/// files can forge one.
package struct GateKeys: Sendable {
    package static let size = 32
    private let secret: Secret
    /// MAC key of tokens
    package let token: Secret

    package init(secret: Secret) {
        self.secret = secret
        var (bytes, key) = (secret.bytes, [UInt8]())
        key = kdfa(.sha256, key: bytes, label: "TOKEN", bits: 256)
        token = Secret(key)
        wipe(&bytes)
        wipe(&key)
    }

    /// What makes one guest's tickets. A hierarchy's key has the place of its proof (Part 1, 14.4), and ends when that does.
    package func mint(_ guest: GuestID) -> TicketMint {
        TicketMint { [self] hierarchy in
            var key = derive(.sha512, "TICKET", guest.bytes, hierarchy.wire)
            defer { wipe(&key) }
            return Secret(key)
        }
    }

    private func derive(_ hash: HashAlgorithm, _ label: String, _ first: [UInt8], _ second: [UInt8]) -> [UInt8] {
        var key = secret.bytes
        defer { wipe(&key) }
        return kdfa(hash, key: key, label: label, contextU: first, contextV: second, bits: hash.digestSize * 8)
    }
}
