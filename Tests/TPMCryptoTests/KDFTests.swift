import TPMWire
import Testing

@testable import CryptoBase
@testable import TPMCrypto

// Expected values computed with Python's hmac and hashlib from the formulas of Part 1, 11.4.10, and with the
// AES-CFB of its cryptography package.
private let key = run(0x00, 32)
private let u = run(0x40, 32)
private let v = run(0x80, 32)

@Suite struct KDFTests {
    @Test(arguments: [
        (HashAlgorithm.sha1, "4eccadc5813e2b0854a58ad29b06bbf23188a5661058c6ebaec3301337e119d4"),
        (.sha256, "4cfbf4144b94620cadfb0b65f86d9772cd5c3fd3adb70f6cdf5ac455e51b0485"),
        (.sha384, "416d6b856159a4f17a4b6dccd8962a16da1300c8ee1a0147ba521d927bd5508a"),
        (.sha512, "a80fbe51198fbd61d365e7ee875e4f1e568de33bb0ca321465ad01d867c9a70d"),
    ])
    func kdfaOf256Bits(hash: HashAlgorithm, expected: String) {
        #expect(kdfa(hash, key: key, label: "ATH", contextU: u, contextV: v, bits: 256) == hex(expected))
    }

    @Test func kdfaClearsBitsAboveAnOddSize() {
        #expect(kdfa(.sha256, key: key, label: "CFB", contextU: u, contextV: v, bits: 1025) == hex("""
            00346b1462932c740d54be7878487db9c28d64949cb84bec78591a545c5cf3944875b914fb3a45b46eb10b87cfa085a0a2f6977d
            318344bc9bb09b75976e1bafbd545535d184dd380de9f7ce1d226543fe4339a549c4cb08b6ca8ede8987dfbac0a450b8c9e46702
            8803a889c405b22316d097302271f4bbe7c62b5c47d8033e92
            """))
    }

    @Test(arguments: [
        (HashAlgorithm.sha1, "ccc384f934d0fd13e781ffe7d44d73ee6ad21ba3c865848a935d3bfb49b18a22"),
        (.sha256, "8fd4a6b22128da55bcda0ab360e35dd724a285e21557f2fcd92a62d418c0210c"),
        (.sha384, "bf8fc0122ce17c79ec945993a301594db91d87ac5a2ba9935d6810c6020fcfe3"),
        (.sha512, "2d60f69a52c8209d6f62f617d3bf970b62d0b83353b5318d4f30f221a06dc3f7"),
    ])
    func kdfeOf256Bits(hash: HashAlgorithm, expected: String) {
        #expect(kdfe(hash, z: key, label: "SECRET", partyU: u, partyV: v, bits: 256) == hex(expected))
    }

    @Test func kdfeClearsBitsAboveAnOddSize() {
        #expect(kdfe(.sha384, z: key, label: "DUPLICATE", partyU: u, partyV: v, bits: 521) == hex("""
            006833b941f2b57e1e395be7050029bf1d9da73b89ff0ee26115e4fa5ea00f3f11c98b4f6424661c6eff088db015d9fdc59831f7
            b15b45d76c93d26b86700d08a2ce
            """))
    }

    @Test func mgf1OverSeveralBlocks() {
        #expect(mgf1(.sha1, seed: ascii("seed"), count: 100) == hex("""
            09d8db2214e56d4dec8f9a3099b851a46886fe3f682e3c4f6a35ff98dd072c1124a6b7b411e543f204ffbe1792ab51164538516a
            486f13eb429493635ecc3410846592b58abc991f06416d282a1f21a51c88ba9e3ea996286bc420e4a84c60aba8d13421
            """))
        #expect(mgf1(.sha256, seed: [], count: 0) == [])
    }
}

@Suite struct ParameterEncryptionTests {
    private let parameter = ascii("parameter of a command")

    @Test func xorIsItsOwnInverse() {
        let hidden = parameterXOR(.sha256, key: key, nonceNewer: u, nonceOlder: v, parameter)
        #expect(hidden == hex("a4be37588c2430d0ea88271e998c7c3cdff9208d8435"))
        #expect(parameterXOR(.sha256, key: key, nonceNewer: u, nonceOlder: v, hidden) == parameter)
        #expect(parameterXOR(.sha256, key: key, nonceNewer: u, nonceOlder: v, []) == [])
    }

    @Test(arguments: [
        (128, HashAlgorithm.sha256, "158aac3b787be783582b370ce31e578a5d0dcd37356f"),
        (256, .sha384, "253db9507d682acea16601c1e1b1dbde84f8f001e621"),
    ])
    func cfb(bits: Int, hash: HashAlgorithm, expected: String) {
        let hidden = parameterCFB(
            keyBits: bits, HMACContext(hash, key: key), nonceNewer: u, nonceOlder: v, parameter, encrypt: true)
        #expect(hidden == hex(expected))
        #expect(parameterCFB(
            keyBits: bits, HMACContext(hash, key: key), nonceNewer: u, nonceOlder: v, hidden, encrypt: false) == parameter)
    }
}
