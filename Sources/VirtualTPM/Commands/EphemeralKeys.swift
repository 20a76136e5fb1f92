// Part 3, 19: ephemeral elliptic-curve keys.
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_EC_Ephemeral (19.3)
    func ecEphemeral(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let curve = try call.parameters.curve(of: device.chip)
        try call.parameters.finish()

        let (counter, key) = volatile.commitments.begin(curve)
        return Reply {
            $0.sized16(key.publicPoint)
            $0.u16(counter)
        }
    }
}

/// The ephemeral keys that are under way (Part 1, C.2.2). None is kept: each follows from a nonce and its count.
struct Commitments {
    /// As many may be under way; an older one is lost.
    private static let window: UInt64 = 128
    private let nonce = Secret(randomBytes(VirtualTPM.contextHash.digestSize))
    private var next: UInt64 = 0
    private var open: Set<UInt64> = []

    /// A new key, and the lower bits of its count.
    mutating func begin(_ curve: ECCCurve) -> (counter: UInt16, key: ECCKeyPair) {
        let count = next
        next &+= 1
        open.insert(count)
        open.remove(count &- Self.window)
        return (UInt16(truncatingIfNeeded: count), key(of: count, curve))
    }

    /// nil for a counter that is not under way.
    func key(_ counter: UInt16, _ curve: ECCCurve) -> ECCKeyPair? { count(counter).map { key(of: $0, curve) } }

    /// A counter is good for one use.
    mutating func end(_ counter: UInt16) {
        if let count = count(counter) { open.remove(count) }
    }

    private func count(_ counter: UInt16) -> UInt64? { open.first { UInt16(truncatingIfNeeded: $0) == counter } }

    private func key(of count: UInt64, _ curve: ECCCurve) -> ECCKeyPair {
        ECCKeyPair(curve: curve, seed: nonce.bytes, hash: VirtualTPM.contextHash, label: "EPHEMERAL", context: count.wire)
    }
}
