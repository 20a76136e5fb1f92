import TPMWire
import Testing

@testable import CryptoBase
@testable import TPMCrypto

// A 2048-bit key, and what OpenSSL (Python cryptography 48) encrypted and signed with it.
private let modulus = hex("""
    b1dfef056bbc8ba6dda5a812571f4776007dab610c50f6060c7941e67c22c27ae75be1c486d6b1611ab5cb61aeb27ca06511a764
    897948a1c0c7d020efd4c2bc063008027ec2b0bb22ba7d5e22f565c1a70dafa64fced88dbcf67323011db071d880114ef494ec62
    adecb28cac9a8955c039da73329bd10ab7b1aa115eeb9cac98cbf1bab88dff6dfee2add829963fe0d4c4739f330af5b08346b4db
    6005eaf08f63deb4e2f9dabd06e9e778f898d4b716587c15e2a6d5687cf29b96152f5772387265966b3e745f6d517fa38eeec183
    34a4826c0db4549e4ed5f748236c0ad49a057d803e099445a8bc74e46bb29281ae4494ce422c23ce0bc426a3a3c0a173
    """)
private let prime = hex("""
    ea9cae3936913f6fcc6288abd333a686b4740bde4cec348b1981f44176336b33fa5d69b0e485083713cf03ad9f06fb8abec8aa16
    00fcbc76a3313b80835cf79f565782e2b0f4fe1306909db7498b05f01078907090d3baaa5cab4b3b2962b5331d47a75a43a123c6
    25212aa3967edc925e77e433a9af033c5f6074e32a3be777
    """)
private let publicKey = RSAPublicKey(modulus: modulus, exponent: 0)
private let privateKey = RSAPrivateKey(modulus: modulus, exponent: 65537, prime: prime)
private let label = ascii("SECRET") + [0]

@Suite struct RSAEncryptionTests {
    private let key: RSAPrivateKey

    init() throws { key = try #require(privateKey) }

    @Test("OAEP with the label \"SECRET\" and its NUL", arguments: [
        (HashAlgorithm.sha1, """
            019d4a960cb94ac386b080332f06576f97f46a9414f95ef5cd7ddf741320803a2f573d52f9b153d8424a0ce38f940b221be4ad85
            3a5411d299012f35c6b7b0c47ff3a7a9de1c5a3eb8f3cbc8acaa01aa3fcd1416d0aa37650d4d3ad847ee40411f61f46f0d240e33
            ad8a1dd9fb46b003745808ce0283a93c2571ef4ed396e4ec7eafd9e5c49a7dd477e5e7472f422e23c0fdf5aca1969782329784c6
            89749a992aae599a015ab0f96e80bcd99639e15cb5554240df76b3a2964417c25bb54440cdec126072f8268361a7accd825a4e46
            691b06afb43a3df29845a5c995b4c8742e3bbf20f8f45adacd0a464b01e4cc1e0496c7eae1fc1ae050f946da28df877f
            """),
        (.sha256, """
            a0f20f6eb18b7f1344e4694348ddb1431ded1407321a6369fcd9af74a6a3529b93972f6061e7af5b8eb640f56ce4aab395cafafb
            8fd1e690de432fdaa39423ca82066fa58a8c48f530c71b0c4913f2b1be532f5b05cac0905d5d25a6fc8a249770b0ee395c62744e
            6bade8d66f44a77e7083bc4548aa9c198eff95154425838ce5782b38ba00714c674f2291c30e9546f4038913abbaf9fd96bec908
            4ff0703c2b575d0a8d1af123037fcd02ec2c0bc504cbfacecba4ca9b1516ac5ce916b4af4940034e05a5bac7e31c601d7e62f5f7
            93cf3a2220e2ed0853ff25a6fe1b23c84f1ef95189592283753b5a2bca981ef6bf77dbc3cee133a9d32cfcb346b0429c
            """),
        (.sha384, """
            95884887886f8ba52439f3c7ef27c05ed87ce8826c252051afb227dcec5491fa5ee7affeb1e2ad5d28227b9d47d3917795eddc00
            7b5a8c8239e8a4cd1918acd980e961c556bae659fd16430c1ab27d93de5aa4bdd1534ee7eb47ee3b2711bd0c177160796fa95c81
            0ec107cc3f4e23390b11e4347fbf5b1e25c71bb70950bd2157cb1e12b38a5796459fc7ae57033b45cd4c097a64239f32f045ab34
            e219bcf4198e0d8668d51273f5ec18e7afe1507d447f38fc1afb5fcef404397940c83f9bcfb57ade276d4bc894ca408ab4aa8032
            2c725db706b18049072484e28b9849540578a70e6b2d0faa61469bdc37dbe4db60f4fbe41d276ed075d0ec1cde74569e
            """),
    ])
    func oaepFromOpenSSL(hash: HashAlgorithm, cipher: String) throws {
        #expect(try key.decrypt(hex(cipher), scheme: Scheme(.oaep, hash), label: label) == ascii("the secret"))
        #expect(throws: TPMRC.value) { try key.decrypt(hex(cipher), scheme: Scheme(.oaep, hash), label: []) }
        let other: HashAlgorithm = hash == .sha1 ? .sha256 : .sha1
        #expect(throws: TPMRC.value) { try key.decrypt(hex(cipher), scheme: Scheme(.oaep, other), label: label) }
    }

    @Test func pkcs1FromOpenSSL() throws {
        let cipher = hex("""
            4e7ee7f50317e60a62f48d2b61262893ce25830c85b2973846d377f14fa4cb18a01c207fbc2c5ca91df75b3d0a0f772314d05d0f
            03c5a6104374103d8197871e0ebeb0839195cb920b8f1854cefb53f59bb6aff250e81ee2b9f65f6761f1bec63272ef6fbb3af311
            26194e4441c7de3c8b6c35b6b2043bb72c5c7271dbff60ef1bf3b8cfe673659b7f19d63525a8d301d2bd9e73de2463509b90d0cd
            ff7e92cad54ff1c12b3f56ceea7c73f984dad0c59334de3efd028a9946b0ac4cbbae328e8ae9b6cb9c6d0fba54bc0039cfbc4bad
            d5902bff4a508b79badc86bb269b465b05858565e5ee08745284d0113523d9370f3d4381d45778a1d77bc69dd79241f5
            """)
        #expect(try key.decrypt(cipher, scheme: Scheme(.rsaes), label: []) == ascii("the secret"))
    }

    @Test(arguments: HashAlgorithm.allCases)
    func oaepRoundTrips(hash: HashAlgorithm) throws {
        let scheme = Scheme(.oaep, hash)
        let longest = 256 - 2 * hash.digestSize - 2
        for count in [0, 1, longest] {
            let message = randomBytes(count)
            let cipher = try publicKey.encrypt(message, scheme: scheme, label: label)
            #expect(cipher.count == 256)
            #expect(try key.decrypt(cipher, scheme: scheme, label: label) == message)
        }
        #expect(throws: TPMRC.value) { try publicKey.encrypt(run(0, longest + 1), scheme: scheme, label: label) }
    }

    @Test func oaepWithAHashTooLargeForTheKey() {
        let small = RSAPublicKey(modulus: [UInt8](repeating: 0xFF, count: 128), exponent: 0)
        #expect(throws: TPMRC.hash) { try small.encrypt([], scheme: Scheme(.oaep, .sha512), label: []) }
    }

    @Test func pkcs1RoundTrips() throws {
        for count in [0, 1, 245] {
            let message = randomBytes(count)
            let cipher = try publicKey.encrypt(message, scheme: Scheme(.rsaes), label: [])
            #expect(try key.decrypt(cipher, scheme: Scheme(.rsaes), label: []) == message)
        }
        #expect(throws: TPMRC.value) { try publicKey.encrypt(run(0, 246), scheme: Scheme(.rsaes), label: []) }
    }

    @Test func withoutPaddingAMessageIsANumber() throws {
        let cipher = try publicKey.encrypt([0x12, 0x34], scheme: .null, label: [])
        #expect(try publicKey.encrypt([UInt8](repeating: 0, count: 300) + [0x12, 0x34], scheme: .null, label: []) == cipher)
        #expect(try key.decrypt(cipher, scheme: .null, label: []) == [UInt8](repeating: 0, count: 254) + [0x12, 0x34])
        #expect(throws: TPMRC.value) { try publicKey.encrypt(modulus, scheme: .null, label: []) }
        #expect(throws: TPMRC.value) { try publicKey.encrypt([1] + modulus, scheme: .null, label: []) }
        #expect(throws: TPMRC.value) { try key.decrypt(modulus, scheme: .null, label: []) }
        #expect(throws: TPMRC.value) { try key.raw([1]) }
    }

    @Test func ciphersOfAnotherSizeAndOtherSchemes() {
        #expect(throws: TPMRC.size) { try key.decrypt(run(0, 255), scheme: .null, label: []) }
        #expect(throws: TPMRC.size) { try key.decrypt([0] + run(0, 256), scheme: .null, label: []) }
        #expect(throws: TPMRC.scheme) { try key.decrypt(run(0, 256), scheme: Scheme(.ecdsa, .sha256), label: []) }
        #expect(throws: TPMRC.scheme) { try publicKey.encrypt([1], scheme: Scheme(.rsapss, .sha256), label: []) }
    }

    @Test func wrongPaddingIsRefused() {
        for block in [[0, 2] + [UInt8](repeating: 7, count: 254),  // no separator
                      [0, 2] + [UInt8](repeating: 7, count: 7) + [0] + [UInt8](repeating: 7, count: 246),  // short filler
                      [0, 1] + [UInt8](repeating: 7, count: 100) + [0] + [UInt8](repeating: 7, count: 153)] {
            #expect(throws: TPMRC.value) { try pkcs1Unpad(block) }
        }
        #expect(throws: TPMRC.value) { try pkcs1Unpad([0, 2, 0]) }
        #expect(throws: TPMRC.value) { try oaepUnpad(run(0, 41), hash: .sha1, label: []) }
        #expect(throws: TPMRC.value) { try oaepUnpad([UInt8](repeating: 0, count: 128), hash: .sha1, label: []) }
    }

    @Test func everyTamperedOAEPBlockIsRefused() throws {
        let block = try oaepPad([1, 2, 3], hash: .sha1, label: label, size: 64)
        #expect(try oaepUnpad(block, hash: .sha1, label: label) == [1, 2, 3])
        for index in block.indices {
            var tampered = block
            tampered[index] ^= 0x80
            #expect(throws: TPMRC.value) { try oaepUnpad(tampered, hash: .sha1, label: label) }
        }
    }
}

@Suite struct RSASignatureTests {
    private let key: RSAPrivateKey
    private let message = run(0, 32)

    init() throws { key = try #require(privateKey) }

    @Test func pkcs1AsOpenSSLSigns() throws {
        let expected = hex("""
            82936ece20fd56ae327e1629d81f42b30b246b685c7f68b1533c87da165ce265a2353ade09426591c2397ef20bfb10342ccc2bda
            e0fc598e4c08decd40ff74777762b4de10b27f26f756b8059e848c05ee5ebd65c767e7fb94055fcd8277fd29d0d4bef9feb3e9c9
            8712b4b5ae0c2af560e94d41dbc585ed095f048c9569e4e3246e054af5beddaf46eefbc7c71cb5d91c050339e5b5004c75a4a7ad
            3952cdda5526cd49ee6374079cfa615fb8edd954fcc3e9722cab5ecb6ee028c31e57951d6d72da8493eff10d6c9c74ce23d79c2b
            acf2af985856572cb0cf579315f0d4458dd53ba878c00dde6032fcbcdd3f2c9bb9cdc09bbd78859e25c59ccbe47fd088
            """)
        #expect(try key.sign(digest: message, scheme: .rsassa, hash: .sha256) == expected)
        #expect(publicKey.verify(expected, digest: message, scheme: .rsassa, hash: .sha256))
        #expect(!publicKey.verify(expected, digest: message, scheme: .rsapss, hash: .sha256))
    }

    @Test("PSS of OpenSSL with salts of 32 bytes and of the largest size", arguments: [
        """
            af4bc36b834b77c70b6e202062a507be14322616abee6bbb5268c9ecc36fc62253d598ac029e598bb44f493dcc3b731e5ab15bf4
            0169e776b62b2fe9ec78fd9a6b208f121a8aefe102d1841efa81fc015d3e990ccfaa4ccb790c20ef677e6c63e7997e9fbe865fbb
            72d8b4d6fc91e52539444374e63b9b9fb63698b6fdb0e11e3f2fc4e9e8bff7f113bd25a7d09fd9071ec3c4bbf82077d272bdaeb2
            0f49bb39bb9d6433f7b6b9dbaff7eb23ade6d711f4aeca2693df6d68c493a6dcade540771ec743fafedc8522c943008443e5da87
            87cbde30d4c11f4a1af46b5a671c9b593e9b4979bce44816f9fa0f86d49412faa9bcbda1792ddf81afa79032632d1013
            """,
        """
            9139c4cff62658745fcc86cf6c5ba021e081562f321ae17854575e12180b6b5c6b90a2c50e58399d9fdb355b9864db578ad88766
            8861b6f87a2d1d477337e5124a1d6f75204e5b9b7c2f5e0f9481d6089ee05dd8040977d017d5ce777db88a8fb06f7a78b508024f
            0b64ef9ab37915cf41c8647d4f6d412a1c78682b6470bb721b88dec6e2719f248208972352afd82d0390654ca5b4a313cd764e6e
            3bb80dcf6dbe742a1914623c8ff80aceb8fe6434c387a20655ce4cbd3f244fa175080d3565a76810aa5edfdda4c369367335b9bd
            081f00d246fe96748afccff7260897a43a3adba3b82d317564bdacbdbf4520553d0d691678a3ab3eef6eab48191e299a
            """,
    ])
    func pssFromOpenSSL(signature: String) {
        #expect(publicKey.verify(hex(signature), digest: message, scheme: .rsapss, hash: .sha256))
        #expect(!publicKey.verify(hex(signature), digest: run(1, 32), scheme: .rsapss, hash: .sha256))
        #expect(!publicKey.verify(hex(signature), digest: message, scheme: .rsassa, hash: .sha256))
    }

    @Test(arguments: HashAlgorithm.allCases, [TPMAlgorithm.rsassa, .rsapss])
    func roundTrips(hash: HashAlgorithm, scheme: TPMAlgorithm) throws {
        let message = digest(hash, [1])
        let signature = try key.sign(digest: message, scheme: scheme, hash: hash)
        #expect(publicKey.verify(signature, digest: message, scheme: scheme, hash: hash))
        #expect(!publicKey.verify(signature, digest: digest(hash, [2]), scheme: scheme, hash: hash))
        #expect(!publicKey.verify([0] + signature, digest: message, scheme: scheme, hash: hash))
        for index in [0, 100, 255] {
            var tampered = signature
            tampered[index] ^= 1
            #expect(!publicKey.verify(tampered, digest: message, scheme: scheme, hash: hash))
        }
    }

    @Test func pssSaltFillsTheBlock() throws {
        // 0x01 right behind the cleared top bits: no padding zeros before the salt (Part 1, B.7).
        let block = try publicKey.encrypt(
            key.sign(digest: message, scheme: .rsapss, hash: .sha256), scheme: .null, label: [])
        let mask = mgf1(.sha256, seed: Array(block[223..<255]), count: 223)
        #expect((block[0] ^ mask[0]) & 0x7F == 1 && block[255] == 0xBC)
    }

    @Test func digestsAndSchemesThatDoNotFit() {
        for scheme in [TPMAlgorithm.rsassa, .rsapss] {
            #expect(throws: TPMRC.size) { try key.sign(digest: run(0, 31), scheme: scheme, hash: .sha256) }
        }
        #expect(throws: TPMRC.scheme) { try key.sign(digest: message, scheme: .ecdsa, hash: .sha256) }
        #expect(!publicKey.verify(run(0, 256), digest: message, scheme: .ecdsa, hash: .sha256))
    }
}

@Suite struct RSAKeyTests {
    @Test func theOtherPrimeWillDo() throws {
        let other = try #require(Arithmetic().exactQuotient(BigNumber(modulus), BigNumber(prime))?.bytes(128))
        let key = try #require(RSAPrivateKey(modulus: modulus, exponent: 0, prime: other))
        let cipher = try publicKey.encrypt([7], scheme: Scheme(.rsaes), label: [])
        #expect(try key.decrypt(cipher, scheme: Scheme(.rsaes), label: []) == [7])
    }

    @Test func numbersThatMakeNoKeyAreRefused() {
        var notADivisor = prime
        notADivisor[127] ^= 2
        for (modulus, exponent, prime) in [
            (modulus, UInt32(0), notADivisor), (modulus, 0, []), (modulus, 0, [0]), (modulus, 0, [1]), (modulus, 0, modulus),
            (modulus, 2, prime), (modulus, 1, prime), ([], 0, prime), ([0], 0, [0]), ([15], 0, [3]),
            (run(0, 255) + [2], 0, [2]),
        ] {
            #expect(RSAPrivateKey(modulus: modulus, exponent: exponent, prime: prime) == nil)
        }
    }

    @Test func publicNumbersThatMakeNoKeyEncryptNothing() {
        for modulus in [[], [0], [2], [UInt8](repeating: 0, count: 256), [UInt8](repeating: 0xFE, count: 256)] {
            let key = RSAPublicKey(modulus: modulus, exponent: 0)
            #expect(throws: TPMRC.self) { try key.encrypt([1], scheme: .null, label: []) }
            #expect(throws: TPMRC.self) { try key.encrypt([1], scheme: Scheme(.oaep, .sha1), label: []) }
            for scheme in [TPMAlgorithm.rsassa, .rsapss] {
                #expect(!key.verify(modulus, digest: run(0, 20), scheme: scheme, hash: .sha1))
                #expect(!key.verify([UInt8](repeating: 0, count: modulus.count), digest: run(0, 20), scheme: scheme, hash: .sha1))
            }
        }
    }
}
