// A policy session outside paratpm-policy: its state with a MAC.
import CryptoBase
import SystemMap
import TPMWire
import Wire

/// Token: PolicyState, then HMAC-SHA256 over domain, guest and state. It is no secret; nobody but the key's holder can make one.
package enum PolicyToken {
    package static let hash = HashAlgorithm.sha256
    package static let macSize = 32
    private static let domain = Array("paratpm policy token v1".utf8)

    package static func seal(_ state: PolicyState, key: HMACKey, guest: GuestID) -> [UInt8] {
        let wire = state.wire
        return wire + mac(wire, key, guest)
    }

    /// The state, if this key's holder sealed it for this guest.
    package static func open(_ token: [UInt8], key: HMACKey, guest: GuestID) -> PolicyState? {
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

    private static func mac(_ wire: [UInt8], _ key: HMACKey, _ guest: GuestID) -> [UInt8] { key.mac(domain + guest.bytes + wire) }
}
