// TPM2_Commit and ECDAA: what is signed fits the commitment, and a commitment is good for one signature.
import SystemMap
import TPMWire
import Testing
import Wire

@testable import TPMCrypto
@testable import VirtualTPM

@Suite struct AnonymousSignatureTests {
    private let message = digest(.sha256, [1])

    private func commit(_ guest: Guest, _ key: TPMHandle, p1: ECCPoint? = nil) throws -> (points: [ECCPoint], counter: UInt16) {
        var reader = try guest.succeed(.commit, [key]) {
            $0.sized16(p1 ?? ECCPoint(x: [], y: []))
            $0.sized16([])
            $0.sized16([])
        }
        let points = try (0..<3).map { _ in try reader.value(Sized<ECCPoint>.self).value }
        return (points, try reader.u16())
    }

    private func sign(_ guest: Guest, _ key: TPMHandle, _ scheme: Scheme) throws -> ResponseMessage {
        try guest.run(.sign, [key]) {
            $0.sized16(message)
            scheme.encode(to: &$0)
            $0.value(Ticket.null(StructureTag.hashCheck))
        }
    }

    private func template(_ curve: ECCCurve) -> PublicArea {
        Templates.ecc(Templates.fixed.union(.sign), scheme: Scheme(.ecdaa, .sha256), curve: curve)
    }

    /// [s - T d]G with T = H(nonceK || message): what was committed, if the signature is right (Part 1, C.4.2.2).
    private func committed(_ key: ECCKeyPair, _ nonceK: [UInt8], _ s: [UInt8]) throws -> ECCPoint {
        let math = Arithmetic()
        let n = BigNumber(CurveConstants(key.curve).n)
        let challenge = BigNumber(digest(.sha256, nonceK, message))
        let negative = try #require(math.product(challenge, n.minusOne(), modulo: n))
        let td = try #require(math.product(negative, BigNumber(key.privateKey.bytes), modulo: n))
        let r = try #require(math.sum(BigNumber(s), td, modulo: n)?.bytes(key.curve.fieldSize))
        return try #require(ECCKeyPair(curve: key.curve, privateKey: r)).publicPoint
    }

    @Test(arguments: [ECCCurve.p256, .bnP256]) func aSignatureFitsItsCommitment(curve: ECCCurve) throws {
        let guest = try Guest()
        let pair = ECCKeyPair.generate(curve)
        var publicArea = template(curve).with(unique: .ecc(pair.publicPoint))
        publicArea.attributes = [.sign, .userWithAuth]
        let key = try #require(try guest.run(.loadExternal) {
            $0.sized16(SensitiveArea(type: .ecc, authValue: [], seedValue: [], sensitive: pair.privateKey.bytes))
            $0.sized16(publicArea)
            $0.value(TPMHandle.null)
        }.handle)
        let (points, counter) = try commit(guest, key)
        let response = try sign(guest, key, Scheme(.ecdaa, .sha256, count: counter))
        guard case .ecc(.ecdaa, .sha256, let nonceK, let s) = try Signature(wire: response.parameters) else { throw TPMRC.scheme }
        #expect(try committed(pair, nonceK, s) == points[2])
    }

    @Test func aCommitmentIsGoodForOneSignature() throws {
        let guest = try Guest()
        let key = try #require(try guest.createPrimary(template(.bnP256)).handle)
        let counter = try commit(guest, key, p1: ECCKeyPair.generate(.bnP256).publicPoint).counter
        let scheme = Scheme(.ecdaa, .sha256, count: counter)
        #expect(try sign(guest, key, .null).code == TPMRC.scheme.parameter(2), "the counter comes with the command")
        #expect(try sign(guest, key, Scheme(.ecdaa, .sha256, count: counter &+ 1)).code == .value)
        #expect(try sign(guest, key, scheme).code == .success)
        #expect(try sign(guest, key, scheme).code == .value)
    }

    @Test func aPrimaryIsTheSameAgainAndAfterARestart() throws {
        let guest = try Guest()
        func name() throws -> [UInt8] { try guest.createPrimary(template(.bnP256)).publicArea.name }
        let first = try name()
        #expect(try name() == first)
        try guest.revive()
        try guest.startup()
        #expect(try name() == first)
    }

    @Test func anOrdinaryKeyIsLoadedAgain() throws {
        let guest = try Guest()
        let key = try guest.child(template(.bnP256))
        let counter = try commit(guest, key).counter
        #expect(try sign(guest, key, Scheme(.ecdaa, .sha256, count: counter)).code == .success)
    }

    /// It is the policy checker's to make and to use.
    @Test func aRestrictedOneSignsWhatTheTPMSays() throws {
        var restricted = template(.bnP256)
        restricted.attributes.insert(.restricted)
        let guest = try Guest()
        let key = try #require(try guest.createPrimary(restricted).handle)
        func quote(_ counter: UInt16) throws -> ResponseMessage {
            try guest.run(.quote, [key]) {
                $0.sized16([])
                Scheme(.ecdaa, .sha256, count: counter).encode(to: &$0)
                $0.list([PCRSelection(.sha256, pcrs: [0])])
            }
        }
        let other = try #require(try guest.createPrimary(template(.bnP256)).handle)
        #expect(try commit(guest, other).counter == 0, "one counter for all of a guest's keys")
        let counter = try commit(guest, key, p1: ECCKeyPair.generate(.bnP256).publicPoint).counter
        #expect(counter == 1)
        #expect(try sign(guest, key, Scheme(.ecdaa, .sha256, count: counter)).code == TPMRC.ticket.parameter(3))
        #expect(try quote(0).code == .value, "another key's")
        let response = try quote(counter)
        try #require(response.code == .success)
        var reader = WireReader(response.parameters)
        let statement = try reader.sized16()
        guard case .ecc(.ecdaa, .sha256, _, _) = try reader.value(Signature.self) else { throw TPMRC.scheme }
        #expect(Array(statement[6..<8]) == [0, 0], "qualifiedSigner is nobody")
        #expect(try quote(counter).code == .value)

        try guest.revive()
        try guest.startup()
        let again = try #require(try guest.createPrimary(restricted).handle)
        #expect(try quote(counter).code == .value, "a reset ends what was under way")
        #expect(again == key)
        #expect(try quote(try commit(guest, again).counter).code == .success)
    }

    @Test func onlyAnonymousKeysCommitThemselves() throws {
        let guest = try Guest()
        let key = try #require(try guest.createPrimary(Templates.eccSign).handle)
        let response = try guest.run(.commit, [key]) {
            $0.sized16(ECCPoint(x: [], y: []))
            $0.sized16([])
            $0.sized16([])
        }
        #expect(response.code == TPMRC.scheme.handle(1))
    }
}
