// A host's revocation list, as a verifier reads it (RFC 5280, 5). swift-certificates has none, so it is read with swift-asn1.
import AttestationFormats
import SwiftASN1
import TPMWire
import X509

/// A list of revoked certificates, decoded; not yet checked against its maker's key.
public struct RevocationList: Sendable {
    /// The contents of the revoked certificates' serial numbers.
    public let serials: Set<[UInt8]>
    private let made: GeneralizedTime
    private let next: GeneralizedTime
    /// TBSCertList, whole
    private let signed: ArraySlice<UInt8>
    private let signature: ArraySlice<UInt8>

    /// - Parameter der: exactly one list.
    public init(_ der: [UInt8]) throws(FormatError) {
        do {
            let (body, signature) = try DER.sequence(try DER.parse(der), identifier: .sequence) { parts in
                guard let body = parts.next(), let algorithm = parts.next() else { throw FormatError("fields are missing") }
                try Self.check(algorithm: algorithm)
                return (body, try ASN1BitString(derEncoded: &parts))
            }
            guard signature.paddingBits == 0 else { throw FormatError("a signature of odd bits") }
            self.signature = signature.bytes
            signed = body.encodedBytes
            (made, next, serials) = try Self.fields(of: body)
        } catch { throw FormatError("the revocation list does not decode: \(error)") }
    }

    /// ecdsa-with-SHA256, with which hosts sign
    private static func check(algorithm: ASN1Node) throws {
        let identifier = try DER.sequence(algorithm, identifier: .sequence) { try ASN1ObjectIdentifier(derEncoded: &$0) }
        guard identifier == [1, 2, 840, 10_045, 4, 3, 2] else { throw FormatError("not signed as hosts do") }
    }

    /// version, signature, issuer, thisUpdate, nextUpdate, revokedCertificates, extensions
    private static func fields(of body: ASN1Node) throws -> (GeneralizedTime, GeneralizedTime, Set<[UInt8]>) {
        try DER.sequence(body, identifier: .sequence) { fields in
            guard try Int(derEncoded: &fields) == 1, let algorithm = fields.next() else { throw FormatError("a list of version 2 is wanted") }
            try check(algorithm: algorithm)
            // The issuer's key is what counts.
            guard fields.next() != nil, let made = fields.next(), let next = fields.next() else { throw FormatError("fields are missing") }
            var serials: Set<[UInt8]> = []
            while let field = fields.next() {
                // Extensions number the list, and name that key.
                guard field.identifier == .sequence else { continue }
                serials = Set(try DER.sequence(of: Entry.self, identifier: .sequence, rootNode: field).map(\.serial))
            }
            return (try time(made), try time(next), serials)
        }
    }

    /// userCertificate, revocationDate, crlEntryExtensions
    private struct Entry: DERParseable {
        let serial: [UInt8]
        init(derEncoded node: ASN1Node) throws {
            serial = try DER.sequence(node, identifier: .sequence) { fields in
                let serial = try ArraySlice<UInt8>(derEncoded: &fields)
                while fields.next() != nil {}
                return Array(serial)
            }
        }
    }

    /// Time ::= CHOICE { utcTime, generalTime }
    private static func time(_ node: ASN1Node) throws -> GeneralizedTime {
        guard node.identifier == .utcTime else { return try GeneralizedTime(derEncoded: node) }
        let time = try UTCTime(derEncoded: node)
        return try GeneralizedTime(
            year: time.year, month: time.month, day: time.day, hours: time.hours, minutes: time.minutes, seconds: time.seconds,
            fractionalSeconds: 0)
    }

    /// Whether the list is the newest that can be expected: an old one may lack what was revoked since.
    /// - Parameter time: seconds since 1970.
    public func isCurrent(at time: Int64) -> Bool {
        guard let now = try? Self.time(DER.parse(DERTime.encoded(time))) else { return false }
        return made <= now && now <= next
    }

    package func isSigned(by key: PublicArea) -> Bool {
        X509.Certificate.PublicKey(key)?.isValidSignature(signature, for: signed, signatureAlgorithm: .ecdsaWithSHA256) ?? false
    }
}
