// The identity of a guest or a service: an Ed25519 key pair (RFC 8032).
import CCrypto

package struct IdentityKey: Sendable {
    /// The seed, 32 bytes.
    package let privateKey: Secret
    /// 32 bytes
    package let publicKey: [UInt8]

    package static func generate() -> IdentityKey {
        var seed = randomBytes(32)
        defer { wipe(&seed) }
        return IdentityKey(seed: seed)
    }

    /// nil unless 32 bytes.
    package init?(privateKey: [UInt8]) {
        guard privateKey.count == 32 else { return nil }
        self.init(seed: privateKey)
    }

    private init(seed: [UInt8]) {
        privateKey = Secret(seed)
        publicKey = ed25519PublicKey(seed)
    }

    /// 64 bytes
    package func sign(_ message: [UInt8]) -> [UInt8] {
        var seed = privateKey.bytes
        defer { wipe(&seed) }
        return ed25519Sign(message, seed: seed, publicKey: publicKey)
    }

    package static func verify(_ signature: [UInt8], message: [UInt8], publicKey: [UInt8]) -> Bool {
        ed25519Verify(signature, message: message, publicKey: publicKey)
    }
}
