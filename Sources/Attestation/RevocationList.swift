// A host's revocation list, as a verifier reads it (RFC 5280, 5).
import TPMCrypto
import TPMWire

/// A list of revoked certificates, decoded; not yet checked against its maker's key.
public struct RevocationList: Sendable {
    /// The contents of the revoked certificates' serial numbers.
    public let serials: Set<[UInt8]>
    private let signed: [UInt8]
    private let algorithm: SignatureAlgorithm
    private let signature: [UInt8]

    /// Until the next list, in seconds: a host makes a new one when something changes or it is asked.
    package static let lifetime: Int64 = 30 * 86_400

    /// - Parameter der: exactly one list.
    public init(_ der: [UInt8]) throws(FormatError) {
        let wrong = FormatError("the revocation list does not decode")
        var outer = DER.Reader(der[...])
        guard let list = outer.next(), list.tag == DER.sequence, outer.rest.isEmpty, case var parts = DER.Reader(list.contents),
            let body = parts.next(), body.tag == DER.sequence, let identifier = parts.next(), let bits = parts.next(),
            bits.tag == DER.bitString, bits.contents.first == 0, parts.rest.isEmpty,
            let algorithm = SignatureAlgorithm(Array(identifier.whole)), let serials = Self.serials(body.contents)
        else { throw wrong }
        self.serials = serials
        signed = Array(body.whole)
        self.algorithm = algorithm
        signature = Array(bits.contents.dropFirst())
    }

    /// version, signature, issuer, thisUpdate, nextUpdate, revokedCertificates, extensions
    private static func serials(_ body: ArraySlice<UInt8>) -> Set<[UInt8]>? {
        var reader = DER.Reader(body)
        guard let version = reader.next(), version.tag == DER.integer, let algorithm = reader.next(), algorithm.tag == DER.sequence,
            let issuer = reader.next(), issuer.tag == DER.sequence, let last = reader.next(), DERTime.seconds(last) != nil,
            let next = reader.next(), DERTime.seconds(next) != nil, let field = reader.next()
        else { return nil }
        var serials: Set<[UInt8]> = []
        guard field.tag == DER.sequence else { return serials }
        var entries = DER.Reader(field.contents)
        while !entries.rest.isEmpty {
            guard let entry = entries.next(), case var parts = DER.Reader(entry.contents), let serial = parts.next(),
                serial.tag == DER.integer
            else { return nil }
            serials.insert(Array(serial.contents))
        }
        return serials
    }

    package func isSigned(by key: PublicArea) -> Bool { algorithm.verify(signature, of: signed, with: key) }
}
