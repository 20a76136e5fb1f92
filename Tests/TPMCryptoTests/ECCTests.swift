import TPMWire
import Testing
import Wire

@testable import CryptoBase
@testable import TPMCrypto

@Suite struct ECCTests {
    @Test func diffieHellman() throws {
        // NIST CAVP, KAS_ECC_CDH_PrimitiveTest, P-256, COUNT = 0
        let peer = ECCPoint(
            x: hex("700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287"),
            y: hex("db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac"))
        let own = try #require(ECCKeyPair(
            curve: .p256, privateKey: hex("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534")))
        #expect(own.publicPoint.x == hex("ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230"))
        #expect(own.publicPoint.y == hex("28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141"))
        #expect(own.agree(peer)?.x == hex("46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b"))
    }

    @Test(arguments: ECCCurve.allCases)
    func bothSidesAgree(curve: ECCCurve) throws {
        let (a, b) = (ECCKeyPair.generate(curve), ECCKeyPair.generate(curve))
        let shared = try #require(a.agree(b.publicPoint))
        #expect(b.agree(a.publicPoint) == shared)
        #expect(shared.x.count == curve.fieldSize && shared.y.count == curve.fieldSize)
        #expect(isOnCurve(shared, curve) && isOnCurve(a.publicPoint, curve))
        #expect(a.privateKey.count == curve.fieldSize && a.privateKey != b.privateKey)
        let again = try #require(ECCKeyPair(curve: curve, privateKey: a.privateKey.bytes))
        #expect(again.publicPoint == a.publicPoint)
    }

    @Test("Derivation, computed in Python from Part 1, C.5", arguments: [
        (ECCCurve.p256, HashAlgorithm.sha256, "f7cbba5929736e5b6b4b0d6c9cca82746f8f8b424e9c52c318e841e80ab597d8",
         "ac67ad24758c26849e3eb9a867001eba5de8b0b08ac58d6a690dbb005063bfbb"),
        (.p521, .sha512, """
            01c3913f5e4094feb6824b6796cad9682840e629df5e69b3ffae3ba599119ec6cf0543a88f1e9ec39661dc11947bb384624d61df
            b634f32ce25147f4dfb858b46278
            """, """
            00dbdf7f480409b986204447cd786e125849163410b76a07c05928b218be95c958b5af0cce71cb145443c86b0fd5fe8e4a8a0a23
            c3354c86569e1a86876f8b482980
            """),
    ])
    func derivedFromASeed(curve: ECCCurve, hash: HashAlgorithm, scalar: String, x: String) {
        let key = ECCKeyPair(curve: curve, seed: run(0, 32), hash: hash, label: "ECC", context: run(0x40, 32))
        #expect(key.privateKey.bytes == hex(scalar))
        #expect(key.publicPoint.x == hex(x))
    }

    @Test func scalarsOutOfRangeAreRefused() {
        let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
        var below = order
        below[31] -= 1
        #expect(ECCKeyPair(curve: .p256, privateKey: []) == nil)
        #expect(ECCKeyPair(curve: .p256, privateKey: [0, 0]) == nil)
        #expect(ECCKeyPair(curve: .p256, privateKey: order) == nil)
        #expect(ECCKeyPair(curve: .p256, privateKey: [1] + order) == nil)
        #expect(ECCKeyPair(curve: .p256, privateKey: below) != nil)
        #expect(ECCKeyPair(curve: .p256, privateKey: [0, 0, 1])?.publicPoint.x
            == hex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"))  // G
    }

    @Test(arguments: ECCCurve.allCases)
    func pointsOffTheCurveAreRefused(curve: ECCCurve) {
        let key = ECCKeyPair.generate(curve)
        let good = ECCKeyPair.generate(curve).publicPoint
        var wrong = good
        wrong.y[curve.fieldSize - 1] ^= 1
        let tooLarge = ECCPoint(x: [UInt8](repeating: 0xFF, count: curve.fieldSize), y: good.y)
        let infinity = ECCPoint(x: [], y: [])
        for point in [wrong, tooLarge, infinity, ECCPoint(x: [0], y: [0]), ECCPoint(x: good.y, y: good.x)] {
            #expect(!isOnCurve(point, curve) && key.agree(point) == nil)
        }
        // Leading zeros do not change a number.
        #expect(key.agree(ECCPoint(x: [0, 0] + good.x, y: [0] + good.y)) == key.agree(good))
    }

    @Test func aCoordinateOfThePrimeOrMoreIsRefused() throws {
        // G's x plus p is the same number modulo p, and still fits the 66 bytes of P-521.
        let prime = hex("01" + String(repeating: "f", count: 130))
        let g = try #require(ECCKeyPair(curve: .p521, privateKey: [1])).publicPoint
        var sum = [UInt8](repeating: 0, count: 66)
        var carry = 0
        for i in (0..<66).reversed() {
            let digit = Int(g.x[i]) + Int(prime[i]) + carry
            sum[i] = UInt8(digit & 0xFF)
            carry = digit >> 8
        }
        #expect(!isOnCurve(ECCPoint(x: [UInt8(carry)] + sum, y: g.y), .p521))
    }

    @Test("RFC 6979, A.2.5 to A.2.7: \"sample\"", arguments: [
        (ECCCurve.p256, HashAlgorithm.sha256,
         "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
         "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
         "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
         "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"),
        (.p256, .sha512,
         "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
         "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
         "8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00",
         "2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE"),
        (.p384, .sha384,
         "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13",
         "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720",
         "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
         "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8"),
    ])
    func knownSignature(curve: ECCCurve, hash: HashAlgorithm, x: String, y: String, r: String, s: String) {
        let point = ECCPoint(x: hex(x), y: hex(y))
        let message = digest(hash, ascii("sample"))
        #expect(verifyECDSA(curve: curve, point: point, digest: message, r: hex(r), s: hex(s)))
        #expect(!verifyECDSA(curve: curve, point: point, digest: message, r: hex(s), s: hex(r)))
        #expect(!verifyECDSA(curve: curve, point: point, digest: digest(hash, []), r: hex(r), s: hex(s)))
    }

    @Test(arguments: ECCCurve.allCases, HashAlgorithm.allCases)
    func signatures(curve: ECCCurve, hash: HashAlgorithm) {
        let key = ECCKeyPair.generate(curve)
        let message = digest(hash, randomBytes(10))
        let ecdsa = key.signECDSA(digest: message)
        let point = key.publicPoint
        #expect(ecdsa.r.count == curve.fieldSize && ecdsa.s.count == curve.fieldSize)
        #expect(verifyECDSA(curve: curve, point: point, digest: message, r: ecdsa.r, s: ecdsa.s))
        #expect(!verifyECDSA(curve: curve, point: point, digest: digest(hash, []), r: ecdsa.r, s: ecdsa.s))
        let schnorr = key.signECSchnorr(digest: message, hash: hash)
        #expect(verifyECSchnorr(curve: curve, point: point, digest: message, hash: hash, r: schnorr.r, s: schnorr.s))
        #expect(!verifyECSchnorr(
            curve: curve, point: point, digest: digest(hash, []), hash: hash, r: schnorr.r, s: schnorr.s))
        #expect(!verifyECDSA(curve: curve, point: point, digest: message, r: schnorr.r, s: schnorr.s))
    }

    @Test func schnorrAsSwtpmSigns() throws {
        // tpm2_sign -s ecschnorr -d over SHA-256("sample"), with the key of NamesTests.primary
        guard case .ecc(let point) = try PublicArea(wire: NamesTests.primary).unique else {
            Issue.record("not an ECC key")
            return
        }
        let r = hex("833bf23556d4a526c51d478e0f9dcbe1f154cfad090f29bac7a37c826e91cd72")
        let s = hex("425fd97bd9cfad222b60b0170df942bfdb8ef7f850d82584a3d8347bd3a97f68")
        let message = digest(.sha256, ascii("sample"))
        #expect(verifyECSchnorr(curve: .p256, point: point, digest: message, hash: .sha256, r: r, s: s))
        #expect(!verifyECSchnorr(curve: .p256, point: point, digest: message, hash: .sha256, r: s, s: r))
    }

    @Test func signaturesOutOfRangeAreRefused() {
        let key = ECCKeyPair.generate(.p256)
        let message = digest(.sha256, [1])
        let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
        let good = key.signECDSA(digest: message)
        for (r, s) in [([], good.s), (good.r, []), ([0], [0]), (order, good.s), (good.r, order), ([1] + good.r, good.s)] {
            #expect(!verifyECDSA(curve: .p256, point: key.publicPoint, digest: message, r: r, s: s))
            #expect(!verifyECSchnorr(
                curve: .p256, point: key.publicPoint, digest: message, hash: .sha256, r: r, s: s))
        }
        #expect(!verifyECDSA(curve: .p256, point: ECCPoint(x: [], y: []), digest: message, r: good.r, s: good.s))
    }
}
