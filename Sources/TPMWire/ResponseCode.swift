// TPM_RC (Part 2, 6.6): a response code is the error.
import Wire

/// TPM_RC: format-zero and format-one codes, with the handle, session or parameter number folded in.
package struct TPMRC: Error, RawRepresentable, Hashable, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    private init(_ rawValue: UInt32) { self.rawValue = rawValue }

    package static let success = Self(0)
    package static let badTag = Self(0x01E)

    // Format zero (RC_VER1)
    package static let initialize = Self(0x100)
    package static let failure = Self(0x101)
    package static let sequence = Self(0x103)
    package static let isPrivate = Self(0x10B)
    package static let hmac = Self(0x119)
    package static let disabled = Self(0x120)
    package static let exclusive = Self(0x121)
    package static let authType = Self(0x124)
    package static let authMissing = Self(0x125)
    package static let policy = Self(0x126)
    package static let pcr = Self(0x127)
    package static let pcrChanged = Self(0x128)
    package static let upgrade = Self(0x12D)
    package static let tooManyContexts = Self(0x12E)
    package static let authUnavailable = Self(0x12F)
    package static let reboot = Self(0x130)
    package static let unbalanced = Self(0x131)
    package static let commandSize = Self(0x142)
    package static let commandCode = Self(0x143)
    package static let authSize = Self(0x144)
    package static let authContext = Self(0x145)
    package static let nvRange = Self(0x146)
    package static let nvSize = Self(0x147)
    package static let nvLocked = Self(0x148)
    package static let nvAuthorization = Self(0x149)
    package static let nvUninitialized = Self(0x14A)
    package static let nvSpace = Self(0x14B)
    package static let nvDefined = Self(0x14C)
    package static let badContext = Self(0x150)
    package static let cpHash = Self(0x151)
    package static let parent = Self(0x152)
    package static let needsTest = Self(0x153)
    package static let noResult = Self(0x154)
    package static let sensitive = Self(0x155)

    // Format one (RC_FMT1): these take a number
    package static let asymmetric = Self(0x081)
    package static let attributes = Self(0x082)
    package static let hash = Self(0x083)
    package static let value = Self(0x084)
    package static let hierarchy = Self(0x085)
    package static let keySize = Self(0x087)
    package static let mgf = Self(0x088)
    package static let mode = Self(0x089)
    package static let type = Self(0x08A)
    package static let handle = Self(0x08B)
    package static let kdf = Self(0x08C)
    package static let range = Self(0x08D)
    package static let authFail = Self(0x08E)
    package static let nonce = Self(0x08F)
    package static let pp = Self(0x090)
    package static let scheme = Self(0x092)
    package static let size = Self(0x095)
    package static let symmetric = Self(0x096)
    package static let tag = Self(0x097)
    package static let selector = Self(0x098)
    package static let insufficient = Self(0x09A)
    package static let signature = Self(0x09B)
    package static let key = Self(0x09C)
    package static let policyFail = Self(0x09D)
    package static let integrity = Self(0x09F)
    package static let ticket = Self(0x0A0)
    package static let reservedBits = Self(0x0A1)
    package static let badAuth = Self(0x0A2)
    package static let expired = Self(0x0A3)
    package static let policyCC = Self(0x0A4)
    package static let binding = Self(0x0A5)
    package static let curve = Self(0x0A6)
    package static let eccPoint = Self(0x0A7)

    // Warnings (RC_WARN)
    package static let contextGap = Self(0x901)
    package static let objectMemory = Self(0x902)
    package static let sessionMemory = Self(0x903)
    package static let memory = Self(0x904)
    package static let sessionHandles = Self(0x905)
    package static let objectHandles = Self(0x906)
    package static let locality = Self(0x907)
    package static let yielded = Self(0x908)
    package static let canceled = Self(0x909)
    package static let testing = Self(0x90A)
    /// TPM_RC_REFERENCE_H0; add the handle's index.
    package static let referenceH0 = Self(0x910)
    /// TPM_RC_REFERENCE_S0; add the session's index.
    package static let referenceS0 = Self(0x918)
    package static let nvRate = Self(0x920)
    package static let lockout = Self(0x921)
    package static let retry = Self(0x922)
    package static let nvUnavailable = Self(0x923)

    private func numbered(_ base: UInt32, _ number: Int) -> TPMRC {
        // Only a bare format-one code takes a number; others pass unchanged.
        guard rawValue & 0x80 != 0, rawValue & 0xF40 == 0 else { return self }
        return TPMRC(rawValue: rawValue | base | UInt32(number & 0xF) << 8)
    }

    /// The code with a parameter number, from 1. A code that takes no number, or has one, is unchanged.
    package func parameter(_ number: Int) -> TPMRC { numbered(0x40, number) }
    /// The code with a handle number, from 1.
    package func handle(_ number: Int) -> TPMRC { numbered(0x00, number) }
    /// The code with a session number, from 1.
    package func session(_ number: Int) -> TPMRC { numbered(0x800, number) }

    /// The code without its number.
    package var base: TPMRC {
        rawValue & 0x80 != 0 ? TPMRC(rawValue: rawValue & 0x0BF) : self
    }

    /// What a decoder's complaint means to a TPM's caller.
    package init(_ error: WireError) {
        switch error {
        case .truncated: self = .insufficient
        case .oversized, .leftover: self = .size
        case .invalid(let code): self.init(rawValue: code == 0 ? TPMRC.value.rawValue : code)
        }
    }
}

extension WireError {
    /// A value outside its TPM type.
    package static func rc(_ code: TPMRC) -> WireError { .invalid(code.rawValue) }
}
