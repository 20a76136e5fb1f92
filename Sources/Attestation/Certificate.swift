// X.509 certificates as a verifier reads them: swift-certificates', and what the makers of chips do otherwise.
import AttestationFormats
import FoundationEssentials
import SwiftASN1
import TPMWire
import X509

/// A certificate, decoded. Its signature is checked with `isSigned(by:)`.
public struct Certificate: Sendable {
    private let certificate: X509.Certificate
    /// TBSCertificate, whole
    private let signed: ArraySlice<UInt8>

    /// - Parameter der: exactly one certificate.
    public init(_ der: [UInt8]) throws(FormatError) {
        do {
            let node = try DER.parse(der)
            certificate = try X509.Certificate(derEncoded: try EncryptionKey.renamed(node))
            signed = try Self.signedPart(node)
        } catch { throw FormatError("the certificate does not decode: \(error)") }
        guard certificate.signatureAlgorithm != .sha1WithRSAEncryption else {
            throw FormatError("the certificate is signed over a SHA-1 digest, which can be forged")
        }
    }

    /// What is signed; everything else of a certificate must have one form only, or it could be changed and still hold.
    private static func signedPart(_ node: ASN1Node) throws -> ArraySlice<UInt8> {
        let parts = node.children
        // The algorithm stands twice, and only once among what is signed (RFC 5280, 4.1.1.2).
        guard parts.count == 3, parts[0].children.count > 2, parts[0].children[2].encodedBytes == parts[1].encodedBytes else {
            throw FormatError("two signature algorithms")
        }
        guard try ASN1BitString(derEncoded: parts[2]).paddingBits == 0 else { throw FormatError("a signature of odd bits") }
        return parts[0].encodedBytes
    }

    /// The contents of the serial number.
    public var serial: [UInt8] { Array(certificate.serialNumber.bytes) }
    var issuer: X509.DistinguishedName { certificate.issuer }
    var subject: X509.DistinguishedName { certificate.subject }

    /// The subject, for people: on one line, whatever it is.
    public var subjectText: String {
        String(String.UnicodeScalarView(subject.description.unicodeScalars.filter { $0.properties.generalCategory != .control }))
    }

    /// The subject's serialNumber, in which a guest's certificate has the guest's identity.
    var subjectSerialNumber: String? {
        subject.lazy.flatMap(\.self).first { $0.type == .NameAttributes.serialNumber }.flatMap { String($0.value) }
    }

    /// Whether it may certify at all: basicConstraints' cA and, where it says what its key is used for, keyCertSign.
    public var isAuthority: Bool { authorityDepth != nil }

    /// How many authorities may stand between this one and the certificate at the end; nil if it is none.
    var authorityDepth: Int? {
        guard let constraints = try? certificate.extensions.basicConstraints, case .isCertificateAuthority(let depth) = constraints,
            let usage = try? certificate.extensions.keyUsage ?? KeyUsage(keyCertSign: true), usage.keyCertSign
        else { return nil }
        return depth ?? Int.max
    }

    /// Whether it is a certificate of this key.
    package func isOf(_ key: PublicArea) -> Bool { X509.Certificate.PublicKey(key) == certificate.publicKey }

    /// Whether this key signed it.
    package func isSigned(by key: PublicArea) -> Bool { X509.Certificate.PublicKey(key).map(isSigned) ?? false }

    /// Whether the key of this certificate signed it.
    func isSigned(by issuer: Certificate) -> Bool { isSigned(by: issuer.certificate.publicKey) }

    private func isSigned(by key: X509.Certificate.PublicKey) -> Bool {
        key.isValidSignature(certificate.signature.rawRepresentation, for: signed, signatureAlgorithm: certificate.signatureAlgorithm)
    }

    /// What may be critical. Alternative names and uses bind nobody here: the key itself is compared.
    private static let understood: Set<ASN1ObjectIdentifier> = [
        .X509ExtensionID.basicConstraints, .X509ExtensionID.keyUsage, .X509ExtensionID.subjectAlternativeName,
        .X509ExtensionID.extendedKeyUsage,
    ]

    /// Whether it may be used at this time, as far as it says so itself.
    func check(at time: Int64) throws(FormatError) {
        let now = Date(timeIntervalSince1970: Double(time))
        guard certificate.notValidBefore <= now, now <= certificate.notValidAfter else {
            throw FormatError("the certificate of “\(subjectText)” is not valid at this time")
        }
        guard certificate.extensions.allSatisfy({ !$0.critical || Self.understood.contains($0.oid) }) else {
            throw FormatError("the certificate of “\(subjectText)” has a critical extension that is not understood")
        }
    }
}

extension X509.Certificate.PublicKey {
    /// nil for keys that certificates of this kind do not have.
    init?(_ key: PublicArea) {
        guard let info = key.subjectPublicKeyInfo, let key = try? Self(derEncoded: info) else { return nil }
        self = key
    }
}

extension ASN1Node {
    /// The nodes that it consists of; none for a primitive one.
    fileprivate var children: [ASN1Node] {
        guard case .constructed(let nodes) = content else { return [] }
        return Array(nodes)
    }
}

/// Some makers of chips name an endorsement key id-RSAES-OAEP after its only use (RFC 4055, 4.1). It is an RSA key like any other, but
/// swift-certificates knows it by its common name only.
private enum EncryptionKey {
    private static let rsaesOAEP: ASN1ObjectIdentifier = [1, 2, 840, 113_549, 1, 1, 7]
    /// Where SubjectPublicKeyInfo stands among a TBSCertificate's fields.
    private static let place = 6

    /// The certificate with its key named rsaEncryption, where it was named otherwise.
    static func renamed(_ certificate: ASN1Node) throws -> ASN1Node {
        let parts = certificate.children
        guard certificate.identifier == .sequence, let fields = parts.first?.children, fields.count > place, case let info = fields[place].children, info.count == 2,
            let name = info[0].children.first, try ASN1ObjectIdentifier(derEncoded: name) == rsaesOAEP
        else { return certificate }
        var coder = DER.Serializer()
        try coder.appendConstructedNode(identifier: .sequence) { coder in
            try coder.appendConstructedNode(identifier: .sequence) { coder in
                for field in fields[..<place] { coder.serialize(field) }
                try coder.appendConstructedNode(identifier: .sequence) { coder in
                    try coder.appendConstructedNode(identifier: .sequence) { coder in
                        try coder.serialize(ASN1ObjectIdentifier.AlgorithmIdentifier.rsaEncryption)
                        try coder.serialize(ASN1Null())
                    }
                    coder.serialize(info[1])
                }
                for field in fields[(place + 1)...] { coder.serialize(field) }
            }
            for part in parts.dropFirst() { coder.serialize(part) }
        }
        return try DER.parse(coder.serializedBytes)
    }
}
