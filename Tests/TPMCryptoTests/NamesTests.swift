import TPMWire
import Testing
import Wire

@testable import CryptoBase
@testable import TPMCrypto

// Public areas and Names as swtpm (libtpms) and tpm2-tools 5.4 gave them.
@Suite struct NamesTests {
    /// tpm2_createprimary -C o -G ecc256:ecschnorr-sha256:null, tpm2_readpublic -f tss, without the size.
    static let primary = hex("""
        0023 000b 00040072 0000 0010 001c000b 0003 0010
        0020 6fb61cb11a7136472396a8fb3230d73a5ba05fd571287e87fece5e690c7e6d65
        0020 e7a374516ca780f8955079c51c99af44fe0de51e3dd27baafd678615b828d620
        """)
    private let primaryName = hex("000b 164c2d8b9f390a1a8cf8639781b61108f97e5d99d9bb9460b19c0fc247b7541c")

    @Test func nameOfAnObject() throws {
        #expect(try PublicArea(wire: Self.primary).name == primaryName)
    }

    @Test func anObjectWithoutNameAlgorithmHasNoName() throws {
        var area = try PublicArea(wire: Self.primary)
        area.nameAlgorithm = nil
        #expect(area.name == [])
    }

    @Test func qualifiedNameUnderTheOwner() {
        #expect(qualifiedName(parent: hex("40000001"), name: primaryName, .sha256)
            == hex("000b 35da8f78f06770503117cc2642bdbac5bc3e1a4fd986b6367d58000860be3677"))
    }

    @Test func nameOfAnNVIndex() throws {
        // tpm2_nvdefine 0x01500001 -C o -s 32 -a 'ownerread|ownerwrite|authread|authwrite' -g sha384
        let index = try NVPublic(wire: hex("01500001 000c 00060006 0000 0020"))
        #expect(index.name == hex("""
            000c 2d6461655c4bee1d37009ff4ce7a5e484e4dbc4f4bf91abb057e52cd269ecfc6ae64c916fc275e3a47c1833967921c26
            """))
    }
}
