// Where several things are wrong at once, what comes first in the order of the specification is named.
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

struct OrderOfChecksTests {
    @Test func aSaltNeedsAnAsymmetricKeyBeforeItIsLookedAt() throws {
        let guest = try Guest()
        func code(saltedWith key: PublicArea) throws -> TPMRC {
            let key = try #require(try guest.createPrimary(key).handle)
            return try guest.run(.startAuthSession, [key, .null]) {
                $0.sized16(randomBytes(16))
                $0.sized16([UInt8]())
                $0.u8(0)
                $0.value(TPMAlgorithm.null)
                $0.value(HashAlgorithm.sha256)
            }.code
        }
        #expect(try code(saltedWith: Templates.hmac) == TPMRC.key.handle(1))
        #expect(try code(saltedWith: Templates.eccSign) == TPMRC.value.parameter(2))
    }

    /// The attributes have reserved bits.
    @Test(arguments: [TPMCommandCode.createPrimary, .createLoaded])
    func aMissingNameAlgorithmIsNamedBeforeWhatIsBehindIt(command: TPMCommandCode) throws {
        func code(nameAlgorithm: TPMAlgorithm) throws -> TPMRC {
            try Guest().run(command, [.owner]) {
                $0.sized16(SensitiveCreate())
                $0.sized16(TPMAlgorithm.keyedHash.wire + nameAlgorithm.wire + hex("A1040072 0000 0010 0000"))
                guard command == .createPrimary else { return }
                $0.sized16([UInt8]())
                $0.list([PCRSelection]())
            }.code
        }
        #expect(try code(nameAlgorithm: .null) == TPMRC.hash.parameter(2))
        #expect(try code(nameAlgorithm: .sha256) == TPMRC.reservedBits.parameter(2))
    }

    /// TPM2_NV_ChangeAuth is in the role ADMIN.
    @Test func aPasswordInLockoutIsNotToldThatOnlyAPolicyWouldDo() throws {
        let guest = try Guest()
        let index = TPMHandle(0x0100_0001)
        let area = NVPublic(
            index: index, nameAlgorithm: .sha256, attributes: [.authRead, .authWrite], authPolicy: [], dataSize: 8)
        _ = try guest.succeed(.nvDefineSpace, [.owner]) {
            $0.sized16([UInt8]())
            $0.sized16(area)
        }
        func code() throws -> TPMRC { try guest.run(.nvChangeAuth, [index]) { $0.sized16([UInt8]("new".utf8)) }.code }
        #expect(try code() == .authType)
        for _ in 0..<3 { guest.tpm.registerAuthFailure(lockoutAuth: false) }
        #expect(try code() == .lockout)
    }
}
