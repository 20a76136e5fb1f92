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
    let secret: Secret
    let boot: [UInt8]
    /// MAC key of tokens
    package let token: HMACKey
    /// MAC key of digests under way
    let hash: Secret

    /// - Parameter boot: the host's, with which tokens end, and tickets that a time limit can have.
    package init(secret: Secret, boot: [UInt8]) {
        self.secret = secret
        self.boot = boot
        func key(_ label: String, _ context: [UInt8] = []) -> Secret {
            var (bytes, key) = (secret.bytes, [UInt8]())
            key = kdfa(.sha256, key: bytes, label: label, contextU: context, bits: 256)
            defer {
                wipe(&bytes)
                wipe(&key)
            }
            return Secret(key)
        }
        var tokenKey = key("TOKEN", boot).bytes
        token = HMACKey(PolicyToken.hash, tokenKey)
        wipe(&tokenKey)
        hash = key("HASH")
    }

    /// The authValue of a gated twin, as long as a digest of its nameAlg: it depends on everything that a policy could hang on.
    /// - Parameter object: the guest's public area.
    func authValue(_ guest: GuestID, _ object: PublicArea, _ spec: TwinSpec, salt: [UInt8]) -> Secret {
        var value = derive(.sha512, "GATE", guest.bytes, digest(.sha256, object.gateIdentity.wire) + salt)
        defer { wipe(&value) }
        value.removeLast(value.count - spec.nameAlgorithm.digestSize)
        // The TPM drops trailing zeros.
        if value.last == 0 { value[value.count - 1] = 1 }
        return Secret(value)
    }

    /// The checker's word that the chip made the object of this Name, under the gate.
    func mark(_ guest: GuestID, name: [UInt8]) -> [UInt8] {
        Array(derive(.sha256, "MARK", guest.bytes, name).prefix(GateSeal.markSize))
    }

    /// What makes one guest's tickets. A hierarchy's key has the place of its proof (Part 1, 14.4), and ends when that does.
    package func mint(_ guest: GuestID) -> TicketMint {
        TicketMint(boot: boot) { [self] hierarchy in
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
