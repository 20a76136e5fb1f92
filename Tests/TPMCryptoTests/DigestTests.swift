import TPMWire
import Testing

@testable import CryptoBase
@testable import TPMCrypto

@Suite struct DigestTests {
    @Test("FIPS 180-4 examples: \"abc\"", arguments: [
        (HashAlgorithm.sha1, "a9993e36 4706816a ba3e2571 7850c26c 9cd0d89d"),
        (.sha256, "ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad"),
        (.sha384, "cb00753f45a35e8b b5a03d699ac65007 272c32ab0eded163 1a8b605a43ff5bed 8086072ba1e7cc23 58baeca134c825a7"),
        (.sha512, """
            ddaf35a193617aba cc417349ae204131 12e6fa4e89a97ea2 0a9eeee64b55d39a
            2192992a274fc1a8 36ba3c23a3feebbd 454d4423643ce80e 2a9ac94fa54ca49f
            """),
    ])
    func abc(hash: HashAlgorithm, expected: String) {
        #expect(digest(hash, ascii("abc")) == hex(expected))
        #expect(digest(hash, ascii("a"), [], ascii("bc")) == hex(expected))
    }

    @Test func nothingAtAll() {
        // NIST CAVP, SHA256ShortMsg, Len = 0
        #expect(digest(.sha256) == hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
    }

    @Test func aMillionTimesA() {
        // FIPS 180-2, B.3
        var context = HashContext(.sha256)
        for _ in 0..<1000 { context.update([UInt8](repeating: 0x61, count: 1000)) }
        #expect(context.finished() == hex("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"))
    }

    @Test func aCopyGoesItsOwnWay() {
        var first = HashContext(.sha1)
        first.update(ascii("ab"))
        var second = first
        first.update(ascii("c"))
        second.update(ascii("d"))
        #expect(first.finished() == digest(.sha1, ascii("abc")))
        #expect(second.finished() == digest(.sha1, ascii("abd")))
    }

    @Test(arguments: HashAlgorithm.allCases)
    func aSavedContextGoesOnWhereItWas(hash: HashAlgorithm) throws {
        let message = run(0, 300)
        for split in [0, 1, 55, 63, 64, 65, 127, 128, 129, 256, 300] {
            var context = HashContext(hash)
            context.update(Array(message[..<split]))
            var restored = try #require(HashContext(saved: context.saved))
            #expect(restored.hash == hash && restored.saved == context.saved)
            restored.update(Array(message[split...]))
            #expect(restored.finished() == digest(hash, message))
        }
    }

    @Test(arguments: HashAlgorithm.allCases)
    func aSavedContextOfAnyOtherLengthIsRefused(hash: HashAlgorithm) {
        var context = HashContext(hash)
        context.update(run(0, 77))
        let saved = context.saved
        for count in 0..<saved.count { #expect(HashContext(saved: Array(saved[..<count])) == nil) }
        #expect(HashContext(saved: saved + [0]) == nil)
    }

    @Test func aSavedContextWithAWrongFieldIsRefused() {
        let saved = HashContext(.sha256).saved
        #expect(HashContext(saved: [0x00, 0x12] + saved[2...]) == nil)  // an algorithm we do not have
        #expect(HashContext(saved: [0x00, 0x0C] + saved[2...]) == nil)  // one with longer words
        #expect(HashContext(saved: saved[..<2] + [0x20] + saved[3...]) == nil)  // 2^61 bytes and more
        #expect(HashContext(saved: saved[..<9] + [1] + saved[10...]) == nil)  // a byte that is not there
    }
}

@Suite struct HMACTests {
    @Test("RFC 4231 test cases 1, 2 and 6", arguments: [
        ([UInt8](repeating: 0x0B, count: 20), "Hi There",
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (ascii("Jefe"), "what do ya want for nothing?",
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ([UInt8](repeating: 0xAA, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First",
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    ])
    func sha256(key: [UInt8], message: String, expected: String) {
        #expect(hmac(.sha256, key: key, ascii(message)) == hex(expected))
        // A key that was made ready serves as often as one likes, in parts as well.
        let ready = HMACKey(.sha256, key)
        for split in [0, 1, message.utf8.count] {
            #expect(ready.mac(ascii(message)) == hex(expected))
            var context = ready.context
            context.update(Array(ascii(message)[..<split]))
            context.update(Array(ascii(message)[split...]))
            #expect(context.finished() == hex(expected))
        }
    }

    @Test func otherHashes() {
        // RFC 2202 test case 2 and RFC 4231 test case 2
        let (key, message) = (ascii("Jefe"), ascii("what do ya want for nothing?"))
        #expect(hmac(.sha1, key: key, message) == hex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"))
        #expect(hmac(.sha384, key: key, message) == hex("""
            af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649
            """))
        #expect(hmac(.sha512, key: key, message) == hex("""
            164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd
            caeab1a34d4a6b4b636e070a38bce737
            """))
    }

    @Test(arguments: HashAlgorithm.allCases)
    func savedAndRestored(hash: HashAlgorithm) throws {
        var context = HMACContext(hash, key: run(1, 40))
        context.update(run(0, 100))
        let saved = context.saved
        var restored = try #require(HMACContext(saved: saved))
        restored.update([1, 2, 3])
        #expect(restored.hash == hash)
        #expect(restored.finished() == hmac(hash, key: run(1, 40), run(0, 100), [1, 2, 3]))
        for count in 0..<saved.count { #expect(HMACContext(saved: Array(saved[..<count])) == nil) }
        #expect(HMACContext(saved: saved + [0]) == nil)
    }
}
