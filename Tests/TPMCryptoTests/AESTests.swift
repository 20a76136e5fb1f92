import Testing

@testable import CryptoBase
@testable import TPMCrypto

private let key128 = hex("2b7e151628aed2a6abf7158809cf4f3c")
private let key256 = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
private let plaintext = hex("""
    6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
    30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710
    """)
private let iv = run(0, 16)

@Suite struct AESTests {
    @Test("FIPS 197, C.1 to C.3", arguments: [
        (16, "69c4e0d86a7b0430d8cdb78070b4c55a"), (24, "dda97ca4864cdfe06eaf70a0ec0d7191"),
        (32, "8ea2b7ca516745bfeafc49904b496089"),
    ])
    func block(keySize: Int, expected: String) {
        var none: [UInt8] = []
        let block = hex("00112233445566778899aabbccddeeff")
        #expect(aes(.ecb, key: run(0, keySize), iv: &none, block, encrypt: true) == hex(expected))
        #expect(aes(.ecb, key: run(0, keySize), iv: &none, hex(expected), encrypt: false) == block)
    }

    @Test("SP 800-38A, F.1.1, F.2.1, F.2.5, F.3.13, F.3.17, F.4.1, F.5.1, F.5.5", arguments: [
        (AESMode.ecb, key128, iv, "3ad77bb40d7a3660a89ecaf32466ef97", "7b0c785e27e8ad3f8223207104725dd4"),
        (.cbc, key128, iv, "7649abac8119b246cee98e9b12e9197d", "3ff1caa1681fac09120eca307586e1a7"),
        (.cbc, key256, iv, "f58c4c04d6e5f1ba779eabfb5f7bfbd6", "b2eb05e2c39be9fcda6c19078c6a9d1b"),
        (.cfb, key128, iv, "3b3fd92eb72dad20333449f8e83cfb4a", "c04b05357c5d1c0eeac4c66f9ff7f2e6"),
        (.cfb, key256, iv, "dc7e84bfda79164b7ecd8486985d3860", "75a385741ab9cef82031623d55b1e471"),
        (.ofb, key128, iv, "3b3fd92eb72dad20333449f8e83cfb4a", "304c6528f659c77866a510d9c1d6ae5e"),
        (.ctr, key128, run(0xF0, 16), "874d6191b620e3261bef6864990db6ce", "1e031dda2fbe03d1792170a0f3009cee"),
        (.ctr, key256, run(0xF0, 16), "601ec313775789a5b7a7f504bbf3d228", "dfc9c58db67aada613c2dd08457941a6"),
    ])
    func firstAndLastBlock(mode: AESMode, key: [UInt8], iv: [UInt8], first: String, last: String) throws {
        var chain = iv
        let encrypted = try #require(aes(mode, key: key, iv: &chain, plaintext, encrypt: true))
        #expect(Array(encrypted[..<16]) == hex(first))
        #expect(Array(encrypted[48...]) == hex(last))
        chain = iv
        #expect(aes(mode, key: key, iv: &chain, encrypted, encrypt: false) == plaintext)
    }

    @Test(arguments: [AESMode.cfb, .ctr, .ofb, .cbc, .ecb], [true, false])
    func aSecondCallGoesOn(mode: AESMode, encrypt: Bool) throws {
        var whole = iv
        let once = try #require(aes(mode, key: key128, iv: &whole, plaintext, encrypt: encrypt))
        var parts = iv
        let first = try #require(aes(mode, key: key128, iv: &parts, Array(plaintext[..<32]), encrypt: encrypt))
        let second = try #require(aes(mode, key: key128, iv: &parts, Array(plaintext[32...]), encrypt: encrypt))
        #expect(first + second == once && parts == whole)
    }

    @Test(arguments: [true, false])
    func anUnfinishedCFBBlockLeavesItsCiphertextAndKeyStream(encrypt: Bool) throws {
        var chain = iv
        let result = try #require(aes(.cfb, key: key128, iv: &chain, Array(plaintext[..<21]), encrypt: encrypt))
        let ciphertext = encrypt ? result : Array(plaintext[..<21])
        var noChain: [UInt8] = []
        let keyStream = try #require(aes(.ecb, key: key128, iv: &noChain, Array(ciphertext[..<16]), encrypt: true))
        #expect(chain == Array(ciphertext[16...]) + Array(keyStream[5...]))
    }

    @Test func lengthsThatDoNotFitAreRefused() {
        var chain = iv
        var short = run(0, 15)
        for mode in [AESMode.cbc, .ecb] {
            #expect(aes(mode, key: key128, iv: &chain, run(0, 17), encrypt: true) == nil)
        }
        for mode in [AESMode.cfb, .ctr, .ofb, .cbc] {
            #expect(aes(mode, key: key128, iv: &short, run(0, 16), encrypt: true) == nil)
            #expect(aes(mode, key: run(0, 17), iv: &chain, run(0, 16), encrypt: true) == nil)
            #expect(aes(mode, key: key128, iv: &chain, [], encrypt: true) == [])
        }
        #expect(chain == iv)
    }
}

@Suite struct AEADTests {
    // McGrew and Viega, "The Galois/Counter Mode of Operation", test cases 13, 14 and 16
    @Test func emptyAndZeros() {
        let (key, nonce) = ([UInt8](repeating: 0, count: 32), [UInt8](repeating: 0, count: 12))
        #expect(aeadSeal(key: key, nonce: nonce, associated: [], []) == hex("530f8afbc74536b9a963b4f1c4cb738b"))
        #expect(aeadSeal(key: key, nonce: nonce, associated: [], [UInt8](repeating: 0, count: 16))
            == hex("cea7403d4d606b6e074ec5d3baf39d18 d0d1c8a799996bf0265b98b5d48ab919"))
    }

    private let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
    private let nonce = hex("cafebabefacedbaddecaf888")
    private let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    private let plaintext = hex("""
        d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5
        aa0de657ba637b39
        """)
    private let sealed = hex("""
        522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e63
        93ba7a0abcc9f662 76fc6ece0f4e1768cddf8853bb2d551b
        """)

    @Test func withAssociatedData() {
        #expect(aeadSeal(key: key, nonce: nonce, associated: associated, plaintext) == sealed)
        #expect(aeadOpen(key: key, nonce: nonce, associated: associated, sealed) == plaintext)
    }

    @Test func everyChangedBitIsRefused() {
        for index in sealed.indices {
            var tampered = sealed
            tampered[index] ^= 1 << UInt8(index % 8)
            #expect(aeadOpen(key: key, nonce: nonce, associated: associated, tampered) == nil)
        }
        for count in 0..<sealed.count {
            #expect(aeadOpen(key: key, nonce: nonce, associated: associated, Array(sealed[..<count])) == nil)
        }
        #expect(aeadOpen(key: key, nonce: nonce, associated: [], sealed) == nil)
        #expect(aeadOpen(key: key, nonce: run(0, 12), associated: associated, sealed) == nil)
        #expect(aeadOpen(key: run(0, 32), nonce: nonce, associated: associated, sealed) == nil)
    }
}
