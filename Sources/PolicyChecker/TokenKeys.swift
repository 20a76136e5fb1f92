// The key under which policy tokens are sealed, and what is derived from it.
import CryptoBase
import EnhancedAuthorization
import GuestIdentity
import SystemMap
import TPMWire
import Wire

/// Kept in a file that only this service's user may read, so that a restart voids no token. Whoever reads the file can forge
/// tokens: when keys are gated (docs/architecture.md, D7), a key sealed in the chip takes its place.
package struct TokenKeys: Sendable {
    package static let size = 32
    /// MAC key of tokens
    package let token: Secret

    package init(token: Secret) { self.token = token }

    /// The instance's key; made when the service starts for the first time.
    package static func acquire(_ instance: Instance) throws(Failure) -> TokenKeys {
        try Files.makeDirectory(instance.policyDirectory, mode: 0o700)
        if var bytes = try Files.read(instance.tokenKey, max: size) {
            defer { wipe(&bytes) }
            guard bytes.count == size else {
                throw Failure(.dataError, "\(instance.tokenKey) is damaged; it was left alone. Without it no running guest's policy session continues: move it away to start with a new key")
            }
            return TokenKeys(token: Secret(bytes))
        }
        var bytes = randomBytes(size)
        defer { wipe(&bytes) }
        try Files.write(instance.tokenKey, bytes, mode: 0o600, replacing: false)
        return TokenKeys(token: Secret(bytes))
    }

    /// What makes one guest's tickets. A hierarchy's key has the place of its proof (Part 1, 14.4), and ends when that does.
    package func mint(_ guest: GuestID) -> TicketMint {
        TicketMint { [self] hierarchy in
            var key = token.bytes
            var derived = kdfa(
                .sha512, key: key, label: "TICKET", contextU: guest.bytes, contextV: hierarchy.wire, bits: 512)
            defer {
                wipe(&key)
                wipe(&derived)
            }
            return Secret(derived)
        }
    }
}
