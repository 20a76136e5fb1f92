// TPM2_Commit and ECDAA beside stock swtpm: response codes, sizes and counters.
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct DifferentialAnonymousTests {
    private let message = digest(.sha256, [1])

    private func template(_ curve: ECCCurve, _ scheme: Scheme) -> PublicArea {
        var area = Template.eccSigning(scheme)
        area.parameters = .ecc(symmetric: .null, scheme: scheme, curve: curve, kdf: .null)
        return area
    }

    /// Whose signatures the policy checker makes.
    @Test func aRestrictedKey() throws {
        try compareWithStock { r in
            let c = r.connection
            var area = template(.bnP256, Scheme(.ecdaa, .sha256))
            area.attributes.insert(.restricted)
            let key = try c.primary(area).handle
            for title in ["once", "and again"] {
                try r.step("Commit \(title)", .part { $0.parameters.suffix(2) }, .commit, [key], passwords: [[]]) {
                    $0.sized16(ECCKeyPair.generate(.bnP256).publicPoint)
                    $0.sized16([])
                    $0.sized16([])
                }
            }
            try r.step("Sign without a ticket", .code, .sign, [key], passwords: [[]]) {
                $0.sized16(message)
                Scheme(.ecdaa, .sha256, count: 0).encode(to: &$0)
                $0.value(Ticket.null(StructureTag.hashCheck))
            }
            for (count, title) in [(UInt16(0), "first"), (0, "again"), (9, "never committed"), (1, "second")] {
                try r.step("Quote, \(title)", .code, .quote, [key], passwords: [[]]) {
                    $0.sized16([])
                    Scheme(.ecdaa, .sha256, count: count).encode(to: &$0)
                    $0.list([PCRSelection(.sha256, pcrs: [0])])
                }
            }
            try r.step("Certify itself", .code, .certify, [key, key], passwords: [[], []]) {
                $0.sized16([])
                Scheme(.ecdaa, .sha256, count: 1).encode(to: &$0)
            }
        }
    }

    @Test(arguments: [ECCCurve.p256, .bnP256]) func commitmentsAndSignatures(curve: ECCCurve) throws {
        try compareWithStock { r in
            let c = r.connection
            let key = try c.primary(template(curve, Scheme(.ecdaa, .sha256))).handle
            func commit(_ title: String, _ p1: ECCPoint = ECCPoint(x: [], y: []), s2: [UInt8] = [], y2: [UInt8] = [], by key: TPMHandle) throws {
                // Behind the points stands the counter.
                try r.step("Commit \(title)", .part { UInt16($0.parameters.count).wire + $0.parameters.suffix(2) }, .commit, [key], passwords: [[]]) {
                    $0.sized16(p1)
                    $0.sized16(s2)
                    $0.sized16(y2)
                }
            }
            func sign(_ title: String, _ scheme: Scheme, digest: [UInt8]? = nil, by key: TPMHandle) throws {
                // The sizes of nonceK and s are chance: stock leaves out leading zeros. sigAlg and hash are before them.
                try r.step("Sign \(title)", .part { Array($0.parameters.prefix(4)) }, .sign, [key], passwords: [[]]) {
                    $0.sized16(digest ?? message)
                    scheme.encode(to: &$0)
                    $0.value(Ticket.null(StructureTag.hashCheck))
                }
            }
            func ecdaa(_ count: UInt16, _ hash: HashAlgorithm = .sha256) -> Scheme { Scheme(.ecdaa, hash, count: count) }

            let onCurve = ECCKeyPair.generate(curve).publicPoint
            try commit("to nothing", by: key)
            try commit("to a point", onCurve, by: key)
            try commit("to no point of the curve", ECCPoint(x: message, y: message), by: key)
            try commit("with s2 alone", s2: [1], by: key)
            try commit("with y2 alone", y2: message, by: key)
            try commit("with s2 and a wrong y2", s2: [1], y2: message, by: key)
            try r.step("EC_Ephemeral", .size, .ecEphemeral) { $0.value(curve) }
            try commit("after an ephemeral key", by: key)

            try sign("without a scheme", .null, by: key)
            try sign("with another scheme", Scheme(.ecdsa, .sha256), by: key)
            try sign("with another hash", ecdaa(0, .sha384), by: key)
            try sign("with a counter that never was", ecdaa(77), by: key)
            try sign("a digest of another size", ecdaa(0), digest: [1], by: key)
            for count: UInt16 in [0, 0, 1, 3, 3] { try sign("with counter \(count)", ecdaa(count), by: key) }

            let ordinary = try c.primary(template(curve, Scheme(.ecdsa, .sha256))).handle
            try commit("by an ECDSA key", by: ordinary)
            try sign("ECDAA with an ECDSA key", ecdaa(1), by: ordinary)
            try c.flush(ordinary)
            // (Stock would sign with it, if the counter were another key's.)
            let open = try c.primary(template(curve, .null)).handle
            try commit("by a key without scheme", by: open)
            try c.flush(open)
            let storage = try c.primary(Template.rsaStorage).handle
            try commit("by an RSA key", by: storage)

            try commit("for a quote", by: key)
            // What the size of the TPMS_ATTEST is
            try r.step("Quote", .part { Array($0.parameters.prefix(2)) }, .quote, [key], passwords: [[]]) {
                $0.sized16([])
                ecdaa(4).encode(to: &$0)
                $0.list([PCRSelection(.sha256, pcrs: [0])])
            }
            try r.step("VerifySignature", .bytes, .verifySignature, [key]) {
                $0.sized16(message)
                $0.value(Signature.ecc(.ecdaa, .sha256, r: message, s: message))
            }
        }
    }
}
