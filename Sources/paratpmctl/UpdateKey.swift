// An update key: an ECDSA key on P-256 in a PEM file, as `openssl genpkey` makes it, which approves states of the host.
import Attestation
import ChipClient
import Crypto
import CryptoBase
import GuestIdentity
import SystemMap
import TPMCrypto
import TPMWire

struct UpdateKey {
    private let pair: ECCKeyPair
    var area: PublicArea { RootTemplate.updateKey(pair.publicPoint) }

    /// - Parameter path: PKCS#8 or SEC 1, not encrypted.
    init(_ path: String) throws(Failure) {
        var objects = try decode(path) { (bytes) throws(FormatError) in try PEM.objects(bytes) }
        defer { for i in objects.indices { wipe(&objects[i]) } }
        guard let pair = objects.lazy.compactMap(Self.pair).first else {
            throw Failure(.dataError, "\(path) holds no private key on P-256; make one with "
                + "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \(path)")
        }
        self.pair = pair
    }

    private static func pair(_ der: [UInt8]) -> ECCKeyPair? {
        guard let key = try? P256.Signing.PrivateKey(derRepresentation: der) else { return nil }
        return ECCKeyPair(curve: .p256, privateKey: Array(key.rawRepresentation))
    }

    func approve(_ values: PCRValues, _ selection: [PCRSelection], for guest: GuestID) throws(Failure) -> HostApproval {
        guard let bytes = values.concatenated(selection) else {
            throw Failure(.dataError, "the values of \(PCRChoice(selection)) are not all there")
        }
        var approval = HostApproval(selection: selection, values: bytes, signature: .null)
        let (r, s) = pair.signECDSA(digest: approval.signedDigest(for: guest))
        approval.signature = .ecc(.ecdsa, .sha256, r: r, s: s)
        return approval
    }
}
