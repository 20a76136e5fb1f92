// Wrappers of duplicates and credentials: they open for who they are made for, and every changed byte is noticed.
import TPMCrypto
import TPMWire
import Testing
import Wire

@Suite struct WrappingTests {
    private let protector = PublicArea(
        nameAlgorithm: .sha256, attributes: [.restricted, .decrypt],
        parameters: .ecc(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, curve: .p256, kdf: .null),
        unique: .ecc(ECCPoint(x: [], y: [])))
    private let content = Array("TPM2B_SENSITIVE".utf8)

    @Test func anOuterWrapperOpensUnderItsSeedAndName() throws {
        let wrapper = try #require(OuterWrapper(protector: protector, seed: [1, 2, 3], name: [9]))
        let blob = wrapper.seal(content)
        #expect(blob.count == 2 + 32 + content.count)
        #expect(try wrapper.open(blob) == content)
        for (seed, name) in [([1, 2, 4], [9]), ([1, 2, 3], [8])] as [([UInt8], [UInt8])] {
            let other = try #require(OuterWrapper(protector: protector, seed: seed, name: name))
            #expect(throws: TPMRC.integrity) { try other.open(blob) }
        }
    }

    @Test func everyByteOfAWrapperCounts() throws {
        let outer = try #require(OuterWrapper(protector: protector, seed: [1], name: [2]))
        let inner = try #require(InnerWrapper(key: [UInt8](repeating: 3, count: 16), hash: .sha256, name: [2]))
        let (outerBlob, innerBlob) = (outer.seal(content), inner.seal(content))
        for index in outerBlob.indices {
            var damaged = outerBlob
            damaged[index] ^= 1
            #expect(throws: TPMRC.self) { try outer.open(damaged) }
            #expect(throws: TPMRC.self) { try outer.open(Array(outerBlob.prefix(index))) }
        }
        for index in innerBlob.indices {
            var damaged = innerBlob
            damaged[index] ^= 1
            #expect(throws: TPMRC.self) { try inner.open(damaged) }
            #expect(throws: TPMRC.self) { try inner.open(Array(innerBlob.prefix(index))) }
        }
        #expect(try inner.open(innerBlob) == content)
    }

    @Test func wrappersNeedABlockCipher() {
        var leaf = protector
        leaf.parameters = .ecc(symmetric: .null, scheme: .null, curve: .p256, kdf: .null)
        #expect(OuterWrapper(protector: leaf, seed: [1], name: []) == nil)
        #expect(InnerWrapper(key: [1], hash: .sha256, name: []) == nil)
    }

    @Test func aSensitiveAreaIsOneWholeTPM2B() throws {
        let area = SensitiveArea(type: .keyedHash, authValue: [1], seedValue: [2], sensitive: [3])
        #expect(try SensitiveArea(unwrapped: Sized(area).wire).sensitive == [3])
        #expect(throws: TPMRC.size) { try SensitiveArea(unwrapped: Sized(area).wire + [0]) }
        #expect(throws: TPMRC.size) { try SensitiveArea(unwrapped: Array(Sized(area).wire.dropLast())) }
        #expect(throws: TPMRC.insufficient) { try SensitiveArea(unwrapped: [0]) }
    }

    @Test func aSharedSeedIsRecoveredWithThePrivateKey() throws {
        let pair = ECCKeyPair.generate(.p384)
        var area = protector
        area.parameters = .ecc(symmetric: .aes(keyBits: 256, mode: .cfb), scheme: .null, curve: .p384, kdf: .null)
        area.unique = .ecc(pair.publicPoint)
        let (seed, secret) = try area.shareSeed(for: .identity)
        let point = try ECCPoint(wire: secret)
        let z = try #require(pair.agree(point)?.x)
        #expect(kdfe(.sha256, z: z, label: "IDENTITY", partyU: point.x, partyV: pair.publicPoint.x, bits: 256) == seed)
        area.unique = .ecc(ECCPoint(x: pair.publicPoint.y, y: pair.publicPoint.x))
        #expect(throws: TPMRC.key) { try area.shareSeed(for: .identity) }
    }
}
