// An update key: an ECDSA key on P-256 in a PEM file, as `openssl genpkey` makes it, which approves states of the host.
import Attestation
import ChipClient
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

    func approve(_ values: PCRValues, _ selection: [PCRSelection], for guest: GuestID) throws(Failure) -> HostApproval {
        guard let bytes = values.concatenated(selection) else {
            throw Failure(.dataError, "the values of \(PCRChoice(selection)) are not all there")
        }
        var approval = HostApproval(selection: selection, values: bytes, signature: .null)
        let (r, s) = pair.signECDSA(digest: approval.signedDigest(for: guest))
        approval.signature = .ecc(.ecdsa, .sha256, r: r, s: s)
        return approval
    }

    /// prime256v1
    private static let curve = DER.identifier([0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07])

    /// PrivateKeyInfo (RFC 5208) or ECPrivateKey (RFC 5915)
    private static func pair(_ der: [UInt8]) -> ECCKeyPair? {
        var outer = DER.Reader(der[...])
        guard let sequence = outer.next(), sequence.tag == DER.sequence, case var fields = DER.Reader(sequence.contents),
            let version = fields.next(), version.tag == DER.integer, let second = fields.next()
        else { return nil }
        if second.tag == DER.octetString {
            let names = [fields.next()].compactMap { $0 }.filter { $0.tag == DER.context(0) }
            guard names.allSatisfy({ Array($0.contents) == curve }), second.contents.count == 32 else { return nil }
            return ECCKeyPair(curve: .p256, privateKey: Array(second.contents))
        }
        guard second.tag == DER.sequence, second.contents.suffix(curve.count).elementsEqual(curve), let inner = fields.next(),
            inner.tag == DER.octetString
        else { return nil }
        return pair(Array(inner.contents))
    }
}
