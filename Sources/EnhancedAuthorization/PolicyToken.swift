// A policy session outside paratpm-policy: its state with a MAC.
import CryptoBase
import SystemMap
import TPMWire
import Wire

/// Token: PolicyState, then HMAC-SHA256 over domain, guest and state. It is no secret; nobody but the key's holder can make one.
package enum PolicyToken {
    package static let macSize = 32
    private static let domain = Array("paratpm policy token v1".utf8)

    package static func seal(_ state: PolicyState, key: Secret, guest: GuestID) -> [UInt8] {
        let wire = state.wire
        return wire + mac(wire, key, guest)
    }

    /// The state, if this key's holder sealed it for this guest.
    package static func open(_ token: [UInt8], key: Secret, guest: GuestID) -> PolicyState? {
        guard token.count > macSize else { return nil }
        let wire = Array(token.dropLast(macSize))
        guard constantTimeEqual(mac(wire, key, guest), Array(token.suffix(macSize))) else { return nil }
        return try? PolicyState(wire: wire)
    }

    /// What a token says, unproven: for the proxy, which has it from paratpm-policy and cannot check the MAC.
    package static func state(of token: [UInt8]) -> PolicyState? {
        guard token.count > macSize else { return nil }
        return try? PolicyState(wire: Array(token.dropLast(macSize)))
    }

    private static func mac(_ wire: [UInt8], _ key: Secret, _ guest: GuestID) -> [UInt8] {
        var bytes = key.bytes
        defer { wipe(&bytes) }
        return hmac(.sha256, key: bytes, domain, guest.bytes, wire)
    }
}
