// The whole system on one page: the roles, who calls whom, and where each interface is declared.
//
//    hypervisor ── control ──► paratpm-guest (door) ──► pcr, policy, device   (opens the proxy's channels)
//    hypervisor ── data ─────► paratpm-proxy ─────────► pcr, policy, device   (channels it was born with)
//    paratpm-policy ─────────────────────────────────► pcr, device
//    paratpm-device ── TCTI ─► the chip
//    paratpmctl ─────────────────────────────────────► every service          (admin calls)
//
// Calls go down only, so they cannot deadlock. Interfaces: DeviceCalls.swift, PCRCalls.swift, PolicyCalls.swift; what
// paratpm-device carries for paratpm-policy: CarryCalls.swift, and does with the host's own keys: HostCalls.swift and
// BindingCalls.swift; deep quotes: DeepQuoteCalls.swift; the host as a guest's first event:
// HostBindingCalls.swift; between the door and its own proxy: ProxyCalls.swift; the introduction
// that they share: Introduction.swift.

/// The processes of paratpm.
package enum Role: String, CaseIterable, Sendable {
    case device = "paratpm-device"
    case pcr = "paratpm-pcr"
    case policy = "paratpm-policy"
    case guest = "paratpm-guest"
    case proxy = "paratpm-proxy"
    case control = "paratpmctl"
}

/// The three services that doors open channels to.
package enum ServiceName: String, CaseIterable, Sendable {
    case device, pcr, policy
}

/// A guest: the SHA-256 digest of its public identity. A guest that is removed and added again is another guest.
package struct GuestID: Hashable, Sendable {
    package static let size = 32
    package let bytes: [UInt8]
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == Self.size else { return nil }
        self.bytes = bytes
    }
    /// All bytes at once: the services look a guest up for every command.
    package func hash(into hasher: inout Hasher) { bytes.withUnsafeBytes { hasher.combine(bytes: $0) } }
    /// Lower-case hexadecimal, as it stands in file names and logs.
    package var hex: String { hexString(bytes) }
}

/// Lower-case hexadecimal.
package func hexString(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 0xF)])
    }
    return String(decoding: text, as: UTF8.self)
}
