import Testing

@testable import CryptoBase
@testable import TPMCrypto

@Suite struct IdentityKeyTests {
    @Test("RFC 8032, 7.1: tests 1, 2, 3 and SHA(abc)", arguments: [
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         """
         e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b
         """),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         """
         92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00
         """),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         """
         6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a
         """),
        ("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
         "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
         """
         ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f
         """,
         """
         dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589
         09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704
         """),
    ])
    func knownAnswer(privateKey: String, publicKey: String, message: String, signature: String) throws {
        let key = try #require(IdentityKey(privateKey: hex(privateKey)))
        #expect(key.publicKey == hex(publicKey))
        #expect(key.sign(hex(message)) == hex(signature))
        #expect(IdentityKey.verify(hex(signature), message: hex(message), publicKey: hex(publicKey)))
    }

    @Test("OpenSSL's signatures (Python cryptography 48): seed n n n …, message 0 1 2 …", arguments: [
        (UInt8(1), 0, "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c", """
            778cda0634c021fae8b1a9fa655ba13230f6fcfc5c5d519afb0872ec9bf1d64241cc3eed8ad47270d86d30e762ad17677c6fb179
            7e35bca7eba30388257e020f
            """),
        (8, 50, "1398f62c6d1a457c51ba6a4b5f3dbd2f69fca93216218dc8997e416bd17d93ca", """
            e4a32dd896ef853bd8128241e33fa6d6d0b8a59c86a160dc8b97aa87785c227e0bf9043ebfe0585fade48e979f95b3552eb2d08a
            2265dc22832121be8a5da60d
            """),
        (15, 100, "d9bf2148748a85c89da5aad8ee0b0fc2d105fd39d41a4c796536354f0ae2900c", """
            ccc38fdaae3a966e36d2489a7a8871d5b0cfdb0462bca442b9baeb7e459dbb72a0e69e077a6f58aeb2dd61e2f47cd5f300f6dd51
            1e37986b40c6bc030cbdb204
            """),
        (22, 150, "511c34a1a2cb521df16bb246b8de8e7997ce235c7e76b22a3d7503a24819dd8a", """
            05d0bac7961db17338502e8d659293afb9d2e83eac0427b1beda85313db0a4efa6b803b22dc479cdcadbfc63e60f3c712a5c149c
            9920bf800fdd464a69714f0b
            """),
    ])
    func asOpenSSL(seed: UInt8, count: Int, publicKey: String, signature: String) throws {
        let key = try #require(IdentityKey(privateKey: [UInt8](repeating: seed, count: 32)))
        #expect(key.publicKey == hex(publicKey))
        #expect(key.sign(run(0, count)) == hex(signature))
    }

    @Test func aChangedByteAnywhereIsRefused() {
        let key = IdentityKey.generate()
        let signature = key.sign([1, 2, 3])
        #expect(IdentityKey.verify(signature, message: [1, 2, 3], publicKey: key.publicKey))
        #expect(!IdentityKey.verify(signature, message: [1, 2, 4], publicKey: key.publicKey))
        #expect(!IdentityKey.verify(signature, message: [1, 2, 3], publicKey: IdentityKey.generate().publicKey))
        for index in stride(from: 0, to: 64, by: 7) {
            var tampered = signature
            tampered[index] ^= 0x10
            #expect(!IdentityKey.verify(tampered, message: [1, 2, 3], publicKey: key.publicKey))
        }
        for count in [0, 1, 32, 63] {
            #expect(!IdentityKey.verify(Array(signature[..<count]), message: [1, 2, 3], publicKey: key.publicKey))
        }
        #expect(!IdentityKey.verify(signature + [0], message: [1, 2, 3], publicKey: key.publicKey))
    }

    @Test func anUnreducedSIsRefused() {
        // S + L satisfies the same equation (RFC 8032, 5.1.7, step 1).
        let key = IdentityKey.generate()
        var signature = key.sign([])
        let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
        var carry = 0
        for i in 0..<32 {
            let sum = Int(signature[32 + i]) + Int(order[i]) + carry
            signature[32 + i] = UInt8(sum & 0xFF)
            carry = sum >> 8
        }
        #expect(carry == 0)
        #expect(!IdentityKey.verify(signature, message: [], publicKey: key.publicKey))
    }

    @Test func malformedKeysAreRefused() {
        let signature = [UInt8](repeating: 0, count: 64)
        let notReduced = hex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")  // y = p
        let negativeZero = hex("0100000000000000000000000000000000000000000000000000000000000080")  // x = 0, odd
        let offCurve = hex("0200000000000000000000000000000000000000000000000000000000000000")
        for key in [[], run(0, 31), run(0, 33), notReduced, negativeZero, offCurve] {
            #expect(!IdentityKey.verify(signature, message: [], publicKey: key))
        }
        #expect(IdentityKey(privateKey: run(0, 31)) == nil)
        #expect(IdentityKey(privateKey: run(0, 33)) == nil)
    }
}
