// The PCRs of a PC Client TPM: which localities may extend and reset each of them, and what a TPM Resume keeps.

/// Attributes of one PCR (TPM_PT_PCR, Part 2, 6.14; values of the PC Client Platform TPM Profile, 4.6, as libtpms has them).
package struct PCRAttributes: Sendable, Equatable {
    /// TPM_PT_PCR_SAVE: Shutdown(STATE) keeps the value.
    package let isStateSaved: Bool
    /// Not in TPM_PT_PCR_NO_INCREMENT: a change is counted in pcrUpdateCounter.
    package let isCounted: Bool
    /// TPM_PT_PCR_RESET_L0 to L4
    package let reset: LocalityAttributes
    /// TPM_PT_PCR_EXTEND_L0 to L4
    package let extend: LocalityAttributes
    /// TPM_PT_PCR_POLICY and TPM_PT_PCR_AUTH: one of the group that shares an authorization value and a policy.
    package let isInAuthGroup: Bool

    /// TPM_PT_PCR_DRTM_RESET: all ones from Startup on, and zero from a dynamic launch on.
    package var isDRTM: Bool { reset.allows(4) }

    /// Whether TPM2_PCR_Reset may reset it: a TPM with a DRTM allows none at locality 4, where only _TPM_Hash_End resets.
    package func isResettable(at locality: UInt8) -> Bool { locality != 4 && reset.allows(locality) }

    /// - Parameter pcr: 0 to 23.
    package static func of(_ pcr: Int) -> PCRAttributes { table[pcr] }

    /// PCRs whose changes are not counted.
    package static let uncounted = PCRSet(PCRSet.all.filter { !of($0).isCounted })

    private static func row(saved: Bool = false, counted: Bool = true, reset: UInt8, extend: UInt8, grouped: Bool = false) -> PCRAttributes {
        PCRAttributes(
            isStateSaved: saved, isCounted: counted, reset: LocalityAttributes(rawValue: reset),
            extend: LocalityAttributes(rawValue: extend), isInAuthGroup: grouped)
    }

    private static let table: [PCRAttributes] =
        // 0 to 15: the static root of trust
        Array(repeating: row(saved: true, reset: 0b00000, extend: 0b11111), count: 16) + [
            /* 16: debug */ row(counted: false, reset: 0b01111, extend: 0b11111),
            /* 17: D-CRTM and ACM */ row(reset: 0b10000, extend: 0b11100),
            /* 18: dynamic launch, locality 3 */ row(reset: 0b10000, extend: 0b11100),
            /* 19: trusted OS, locality 2 */ row(reset: 0b10000, extend: 0b01100),
            /* 20: trusted OS, locality 1 */ row(reset: 0b10100, extend: 0b01110, grouped: true),
            /* 21: for the dynamic OS */ row(counted: false, reset: 0b10100, extend: 0b00100, grouped: true),
            /* 22: for the dynamic OS */ row(counted: false, reset: 0b10100, extend: 0b00100, grouped: true),
            /* 23: application */ row(counted: false, reset: 0b01111, extend: 0b11111),
        ]
}
