// The two NV indices of deep quotes, and the certificates that a TPM has from the beginning.
import SystemMap
import Testing
import TPMCrypto
import TPMWire
import Wire

@testable import VirtualTPM

/// A host that vouches for its guest with bytes of the test's choosing.
private final class FakeHost: HostService {
    var bundle: [UInt8] = []
    var refusal: TPMRC?
    private(set) var requests: [[UInt8]] = []
    var wanted: [HostCalls.Certificates.Entry] = []
    var withdrawn: [HostCalls.Certificates.Entry] = []
    private(set) var certified: [TPMHandle] = []

    func deepQuote(_ request: [UInt8]) throws(TPMRC) -> [UInt8] {
        requests.append(request)
        if let refusal { throw refusal }
        return bundle
    }
    func certificates() throws(TPMRC) -> HostCalls.Certificates.Reply { .init(wanted: wanted, withdrawn: withdrawn) }
    func certify(_ index: TPMHandle, _ handle: UInt32) throws(TPMRC) -> [UInt8] {
        certified.append(index)
        return index.wire + [UInt8](repeating: 0xC0, count: 500)
    }
}

private let (request, bundle) = (DeepQuoteIndex.request, DeepQuoteIndex.bundle)

@Suite struct DeepQuoteIndexTests {
    private let guest: Guest
    private let host = FakeHost()
    init() throws {
        guest = try Guest()
        guest.tpm.host = host
        host.bundle = (0..<900).map { UInt8($0 % 251) }
    }

    private func write(_ bytes: [UInt8], at offset: UInt16 = 0, by auth: TPMHandle = request) throws -> TPMRC {
        try guest.run(.nvWrite, [auth, request]) {
            $0.sized16(bytes)
            $0.u16(offset)
        }.code
    }
    private func read(_ size: UInt16, _ offset: UInt16, by auth: TPMHandle = bundle) throws -> ResponseMessage {
        try guest.run(.nvRead, [auth, bundle]) {
            $0.u16(size)
            $0.u16(offset)
        }
    }
    private func area(_ handle: TPMHandle) throws -> NVPublic {
        var reader = try guest.succeed(.nvReadPublic, [handle])
        return try reader.value(Sized<NVPublic>.self).value
    }

    @Test func whatIsWrittenIsAskedForAndTheBundleIsReadInParts() throws {
        #expect(try read(1, 0).code == .nvUninitialized)
        #expect(try write([1, 2, 3]) == .success)
        #expect(host.requests == [[1, 2, 3]])
        #expect(try area(bundle).dataSize == 900)
        let parts = [try read(512, 0), try read(388, 512)].map { Array($0.parameters.dropFirst(2)) }
        #expect(parts[0] + parts[1] == host.bundle)
        #expect(host.requests.count == 1, "reading asks for nothing")
        #expect(try read(1, 900).code == .nvRange)
    }

    @Test func aBundleStaysUntilTheNextRequestOrTheNextBoot() throws {
        #expect(try write([1], by: .owner) == .success)
        host.bundle = [7, 7]
        #expect(try read(900, 0, by: .owner).code == .success)
        #expect(try write([2]) == .success)
        #expect(try read(2, 0).parameters == [0, 2, 7, 7])
        guest.powerOn()
        try guest.startup()
        #expect(try read(1, 0).code == .nvUninitialized)
    }

    @Test func aRefusalIsTheCommandsAndLeavesNothingToRead() throws {
        #expect(try write([1]) == .success)
        host.refusal = .disabled
        #expect(try write([2]) == .disabled)
        host.refusal = .value
        #expect(try write([2]) == TPMRC.value.parameter(1))
        #expect(try read(1, 0).code == .nvUninitialized)
        #expect(try write([2], at: 4) == TPMRC.value.parameter(2))
        #expect(try write([UInt8](repeating: 0, count: 129)) == .nvRange)
    }

    @Test func theyAreNobodysToDefineWriteUndefineOrLock() throws {
        for handle in [request, bundle] {
            let area = NVPublic(index: handle, nameAlgorithm: .sha256, attributes: [.ownerRead, .ownerWrite], authPolicy: [], dataSize: 8)
            #expect(try guest.run(.nvDefineSpace, [.owner]) {
                $0.sized16([])
                $0.sized16(area)
            }.code == .nvDefined)
            #expect(try guest.run(.nvUndefineSpace, [.owner, handle]).code == TPMRC.attributes.handle(2))
            #expect(try guest.run(.nvUndefineSpace, [.platform, handle]).code == TPMRC.attributes.handle(2))
            #expect(try guest.run(.nvWriteLock, [.platform, handle]).code != .success)
        }
        #expect(try guest.run(.nvWrite, [.owner, bundle]) {
            $0.sized16([1])
            $0.u16(0)
        }.code == .nvAuthorization)
        let commits = guest.store.commits
        #expect(try write([1]) == .success)
        #expect(guest.store.commits == commits, "nothing of it lasts")
    }

    @Test func withoutAHostTheyAreNotThere() throws {
        guest.tpm.host = nil
        for handle in [request, bundle] { #expect(try guest.run(.nvReadPublic, [handle]).code == TPMRC.handle.handle(1)) }
        #expect(guest.tpm.refreshCertificates() == nil)
    }

    // MARK: Certificates

    private func contents(_ handle: TPMHandle) throws -> [UInt8] {
        let size = try area(handle).dataSize
        return Array(try guest.run(.nvRead, [handle, handle]) {
            $0.u16(size)
            $0.u16(0)
        }.parameters.dropFirst(2))
    }

    @Test func certificatesAreFetchedOnceAndAgainWhenTheyAreRenewed() throws {
        let (rsa, ecc) = (EndorsementCertificate.rsa2048.index, EndorsementCertificate.eccP256.index)
        host.wanted = [.init(index: rsa, digest: []), .init(index: ecc, digest: [])]
        #expect(guest.tpm.refreshCertificates() == nil)
        #expect(host.certified == [rsa, ecc])
        // PPWRITE, WRITEDEFINE, PPREAD, OWNERREAD, AUTHREAD, NO_DA, WRITTEN, PLATFORMCREATE
        #expect(try area(rsa).attributes.rawValue == 0x6207_2001)
        #expect(try contents(ecc) == ecc.wire + [UInt8](repeating: 0xC0, count: 500))
        host.wanted = try [.init(index: rsa, digest: digest(.sha256, contents(rsa))), .init(index: ecc, digest: [1])]
        #expect(guest.tpm.refreshCertificates() == nil)
        #expect(host.certified == [rsa, ecc, ecc])
        try guest.revive()
        try guest.startup()
        #expect(try contents(rsa).count == 504, "they last")
    }

    @Test func whatWasRevokedIsTakenAwayAndNothingElse() throws {
        let (rsa, ecc) = (EndorsementCertificate.rsa2048.index, EndorsementCertificate.eccP256.index)
        host.wanted = [.init(index: rsa, digest: []), .init(index: ecc, digest: [])]
        #expect(guest.tpm.refreshCertificates() == nil)
        host.wanted = [.init(index: ecc, digest: digest(.sha256, try contents(ecc)))]
        host.withdrawn = [.init(index: rsa, digest: [1]), .init(index: EndorsementCertificate.highP384.index, digest: [2])]
        #expect(guest.tpm.refreshCertificates() == nil)
        #expect(try contents(rsa).count == 504, "that is another certificate")
        host.withdrawn = [.init(index: rsa, digest: digest(.sha256, try contents(rsa)))]
        #expect(guest.tpm.refreshCertificates() == nil)
        #expect(try guest.run(.nvReadPublic, [rsa]).code == TPMRC.handle.handle(1))
        #expect(try contents(ecc).count == 504)
        try guest.revive()
        try guest.startup()
        #expect(try guest.run(.nvReadPublic, [rsa]).code == TPMRC.handle.handle(1), "it lasts")
    }

    @Test func aKeyThatTheGuestMayNotHaveIsNotCertified() throws {
        let (ecc, high) = (EndorsementCertificate.eccP256.index, EndorsementCertificate.highP384.index)
        host.wanted = [.init(index: high, digest: []), .init(index: ecc, digest: [])]
        _ = guest.tpm.obey(Rules(vocabulary: Vocabulary(without: [.curve(.p384)])))
        #expect(guest.tpm.refreshCertificates() == nil)
        #expect(host.certified == [ecc])
        _ = guest.tpm.obey(Rules())
        #expect(guest.tpm.refreshCertificates() == nil)
        #expect(host.certified.contains(high))
    }

    @Test func theCertifiedKeyIsTheOneThatTheTemplateGives() throws {
        host.wanted = [.init(index: EndorsementCertificate.eccP256.index, digest: [])]
        #expect(guest.tpm.refreshCertificates() == nil)
        let made = guest.device.log.count { $0.hasPrefix("create") }
        _ = try guest.succeed(.createPrimary, [.endorsement]) {
            $0.sized16(SensitiveCreate())
            $0.sized16(EndorsementCertificate.eccP256.template)
            $0.sized16([])
            $0.list([PCRSelection]())
        }
        #expect(guest.device.log.count { $0.hasPrefix("create") } == made)
    }

    @Test func anotherSeedTakesAnotherCertificate() throws {
        let ecc = EndorsementCertificate.eccP256.index
        host.wanted = [.init(index: ecc, digest: [])]
        #expect(guest.tpm.refreshCertificates() == nil)
        host.wanted = [.init(index: ecc, digest: digest(.sha256, try contents(ecc)))]
        #expect(try guest.run(.changeEPS, [.platform]).code == .success)
        #expect(guest.tpm.refreshCertificates() == nil)
        #expect(host.certified.count == 2)
    }
}
