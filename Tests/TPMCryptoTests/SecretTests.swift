import Testing

@testable import CryptoBase
@testable import TPMCrypto

@Suite struct SecretTests {
    @Test func neverPrintsItsBytes() {
        let secret = Secret([0x41, 0x42, 0x43])
        var dumped = ""
        dump(secret, to: &dumped)
        for text in ["\(secret)", String(reflecting: secret), dumped, String(describing: Optional(secret))] {
            #expect(text.contains("Secret(3 bytes)"))
            #expect(!text.contains("65") && !text.contains("ABC"))
        }
    }

    @Test func comparesByContents() {
        #expect(Secret([1, 2]) == Secret([1, 2]))
        #expect(Secret([1, 2]) != Secret([1, 3]))
        #expect(Secret([1, 2]) != Secret([1, 2, 0]))
        #expect(Secret([]) == .empty && Secret.empty.isEmpty && Secret.empty.bytes == [])
        #expect(constantTimeEqual([], []) && constantTimeEqual([7], [7]))
        #expect(!constantTimeEqual([7], [8]) && !constantTimeEqual([7], []))
    }

    @Test func wipeLeavesZerosAndOtherCopiesAlone() {
        var bytes: [UInt8] = [1, 2, 3]
        let copy = bytes
        wipe(&bytes)
        #expect(bytes == [0, 0, 0] && copy == [1, 2, 3])
        var nothing: [UInt8] = []
        wipe(&nothing)
    }

    @Test func randomBytesHaveTheirCountAndDiffer() {
        #expect(randomBytes(0) == [])
        #expect(randomBytes(1000).count == 1000)
        #expect(randomBytes(32) != randomBytes(32))
    }
}
