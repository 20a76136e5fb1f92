// X.509 certificates as a verifier reads them (RFC 5280): as much as chips' endorsement keys, and paratpm's own certificates, need.
import CryptoBase
import TPMCrypto
import TPMWire

/// A certificate, decoded. Its signature is checked with `isSigned(by:)`.
public struct Certificate: Sendable {
    /// TBSCertificate, whole
    let signed: [UInt8]
    /// The contents of the serial number.
    public let serial: [UInt8]
    /// Name, whole
    let issuer: [UInt8]
    let subject: [UInt8]
    /// Seconds since 1970
    let notBefore: Int64
    let notAfter: Int64
    /// SubjectPublicKeyInfo, whole
    let publicKey: [UInt8]
    let signatureAlgorithm: SignatureAlgorithm
    let signature: [UInt8]
    /// basicConstraints' cA, where it may sign certificates at all (keyUsage)
    public let isAuthority: Bool
    let mayNotBeUnderstood: Bool

    /// - Parameter der: exactly one certificate.
    public init(_ der: [UInt8]) throws(FormatError) {
        guard let parsed = Parsed(der) else { throw FormatError("the certificate does not decode") }
        guard let algorithm = SignatureAlgorithm(parsed.algorithm) else {
            throw FormatError("the certificate is signed with an algorithm that is not understood")
        }
        let extensions = parsed.extensions
        signed = parsed.signed
        serial = parsed.serial
        (issuer, subject) = (parsed.issuer, parsed.subject)
        (notBefore, notAfter) = (parsed.notBefore, parsed.notAfter)
        publicKey = parsed.publicKey
        signatureAlgorithm = algorithm
        signature = parsed.signature
        isAuthority = extensions.isAuthority
        mayNotBeUnderstood = extensions.hasUnknownCritical
    }

    /// Whether it is a certificate of this key.
    package func isOf(_ key: PublicArea) -> Bool {
        guard let own = key.subjectPublicKeyInfo else { return false }
        return SubjectPublicKey(publicKey)?.bits == SubjectPublicKey(own)?.bits
    }

    /// Whether this key signed it.
    package func isSigned(by key: PublicArea) -> Bool {
        signatureAlgorithm.verify(signature, of: signed, with: key)
    }

    /// The subject's attribute values, for people.
    public var subjectText: String { DistinguishedName.text(subject) }

    /// The value of the subject's attribute with this encoded identifier.
    func subjectAttribute(_ identifier: [UInt8]) -> String? {
        DistinguishedName.attributes(subject).first { $0.identifier == identifier }?.value
    }
}

/// The fields of a certificate where they stand.
private struct Parsed {
    var signed: [UInt8] = []
    var serial: [UInt8] = []
    var algorithm: [UInt8] = []
    var issuer: [UInt8] = []
    var subject: [UInt8] = []
    var notBefore: Int64 = 0
    var notAfter: Int64 = 0
    var publicKey: [UInt8] = []
    var extensions = Extensions()
    var signature: [UInt8] = []

    init?(_ der: [UInt8]) {
        var outer = DER.Reader(der[...])
        guard let certificate = outer.next(), certificate.tag == DER.sequence, outer.rest.isEmpty else { return nil }
        var parts = DER.Reader(certificate.contents)
        guard let body = parts.next(), body.tag == DER.sequence, let algorithm = parts.next(), algorithm.tag == DER.sequence,
            let bits = parts.next(), bits.tag == DER.bitString, bits.contents.first == 0, parts.rest.isEmpty, readBody(body.contents)
        else { return nil }
        signed = Array(body.whole)
        // The algorithm stands twice, and only once among what is signed (RFC 5280, 4.1.1.2).
        guard self.algorithm == Array(algorithm.whole) else { return nil }
        signature = Array(bits.contents.dropFirst())
    }

    private mutating func readBody(_ bytes: ArraySlice<UInt8>) -> Bool {
        var reader = DER.Reader(bytes)
        guard let version = reader.next(), version.tag == DER.context(0), let serial = reader.next(), serial.tag == DER.integer,
            let algorithm = reader.next(), let issuer = reader.next(), issuer.tag == DER.sequence,
            let validity = reader.next(), validity.tag == DER.sequence, let subject = reader.next(), subject.tag == DER.sequence,
            let publicKey = reader.next(), publicKey.tag == DER.sequence
        else { return false }
        var times = DER.Reader(validity.contents)
        guard let first = times.next().flatMap(DERTime.seconds), let last = times.next().flatMap(DERTime.seconds), times.rest.isEmpty
        else { return false }
        (notBefore, notAfter) = (first, last)
        (self.serial, self.algorithm) = (Array(serial.contents), Array(algorithm.whole))
        (self.issuer, self.subject, self.publicKey) = (Array(issuer.whole), Array(subject.whole), Array(publicKey.whole))
        while let field = reader.next() {
            // issuerUniqueID and subjectUniqueID say nothing here.
            guard field.tag == DER.context(3) else { continue }
            guard let extensions = Extensions(field.contents) else { return false }
            self.extensions = extensions
        }
        return reader.rest.isEmpty
    }
}

/// What the extensions say of the certificate's use.
private struct Extensions {
    var isAuthority = false
    var hasUnknownCritical = false

    init() {}

    init?(_ bytes: ArraySlice<UInt8>) {
        var outer = DER.Reader(bytes)
        guard let list = outer.next(), list.tag == DER.sequence, outer.rest.isEmpty else { return nil }
        var reader = DER.Reader(list.contents)
        var mayCertify = true
        while !reader.rest.isEmpty {
            guard let one = reader.next(), one.tag == DER.sequence, case var parts = DER.Reader(one.contents),
                let identifier = parts.next(), identifier.tag == DER.objectIdentifier, var value = parts.next()
            else { return nil }
            let isCritical = Array(value.whole) == DER.yes
            if isCritical {
                guard let next = parts.next() else { return nil }
                value = next
            }
            guard value.tag == DER.octetString, parts.rest.isEmpty else { return nil }
            switch Array(identifier.contents) {
            case X509.basicConstraints: isAuthority = Self.isAuthority(value.contents)
            case X509.keyUsage: mayCertify = Self.mayCertify(value.contents)
            case X509.subjectAlternativeName, X509.extendedKeyUsage: break
            default: hasUnknownCritical = hasUnknownCritical || isCritical
            }
        }
        isAuthority = isAuthority && mayCertify
    }

    private static func isAuthority(_ bytes: ArraySlice<UInt8>) -> Bool {
        var outer = DER.Reader(bytes)
        guard let list = outer.next(), list.tag == DER.sequence, case var fields = DER.Reader(list.contents) else { return false }
        return fields.next().map { Array($0.whole) == DER.yes } ?? false
    }

    /// keyCertSign, bit 5
    private static func mayCertify(_ bytes: ArraySlice<UInt8>) -> Bool {
        var reader = DER.Reader(bytes)
        guard let bits = reader.next(), bits.tag == DER.bitString, let first = bits.contents.dropFirst().first else { return false }
        return first & 0x04 != 0
    }
}

/// SubjectPublicKeyInfo, taken apart.
struct SubjectPublicKey {
    let algorithm: [UInt8]
    let bits: [UInt8]

    init?(_ der: [UInt8]) {
        var outer = DER.Reader(der[...])
        guard let info = outer.next(), info.tag == DER.sequence, case var parts = DER.Reader(info.contents),
            let algorithm = parts.next(), let bits = parts.next(), bits.tag == DER.bitString, parts.rest.isEmpty
        else { return nil }
        self.algorithm = Array(algorithm.contents)
        self.bits = Array(bits.contents)
    }

    /// The key as a TPM would describe it; nil for kinds that are not understood.
    var area: PublicArea? {
        let attributes: ObjectAttributes = [.sign]
        for curve in ECCCurve.allCases where bits.count == 2 + 2 * curve.fieldSize && bits[..<2] == [0, 4] {
            let point = ECCPoint(x: Array(bits[2..<2 + curve.fieldSize]), y: Array(bits[(2 + curve.fieldSize)...]))
            let area = PublicArea(
                nameAlgorithm: nil, attributes: attributes,
                parameters: .ecc(symmetric: .null, scheme: .null, curve: curve, kdf: .null), unique: .ecc(point))
            // The curve's name must be the one that such a key has.
            if area.subjectPublicKeyInfo.flatMap(SubjectPublicKey.init)?.algorithm == algorithm { return area }
        }
        guard algorithm.starts(with: X509.element(X509.rsaEncryption)), bits.first == 0 else { return nil }
        var outer = DER.Reader(bits.dropFirst())
        guard let key = outer.next(), key.tag == DER.sequence, case var numbers = DER.Reader(key.contents),
            let modulus = numbers.next(), modulus.tag == DER.integer, let exponent = numbers.next(), exponent.tag == DER.integer,
            exponent.contents.count <= 4, case let bytes = Array(modulus.contents.drop { $0 == 0 }), bytes.count <= PublicArea.rsaMax
        else { return nil }
        let e = exponent.contents.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        return PublicArea(
            nameAlgorithm: nil, attributes: attributes,
            parameters: .rsa(symmetric: .null, scheme: .null, keyBits: UInt16(bytes.count * 8), exponent: e), unique: .rsa(bytes))
    }
}

/// The signature algorithms of certificates.
struct SignatureAlgorithm: Sendable {
    private let scheme: Scheme

    /// - Parameter identifier: AlgorithmIdentifier, whole; nil for one that is not understood.
    init?(_ identifier: [UInt8]) {
        let known = [TPMAlgorithm.rsassa, .rsapss, .ecdsa].flatMap { algorithm in HashAlgorithm.allCases.map { Scheme(algorithm, $0) } }
        // What SHA-1 signs can be forged.
        guard let scheme = known.first(where: { $0.hash != .sha1 && $0.algorithmIdentifier == identifier }) else { return nil }
        self.scheme = scheme
    }

    func verify(_ signature: [UInt8], of bytes: [UInt8], with key: PublicArea) -> Bool {
        guard let hash = scheme.hash else { return false }
        let given: Signature
        if scheme.algorithm == .ecdsa {
            var outer = DER.Reader(signature[...])
            guard let pair = outer.next(), pair.tag == DER.sequence, outer.rest.isEmpty, case var numbers = DER.Reader(pair.contents),
                let r = numbers.next(), r.tag == DER.integer, let s = numbers.next(), s.tag == DER.integer, numbers.rest.isEmpty
            else { return false }
            given = .ecc(.ecdsa, hash, r: Array(r.contents), s: Array(s.contents))
        } else {
            given = .rsa(scheme.algorithm, hash, signature)
        }
        return (try? key.verifies(given, digest(hash, bytes))) ?? false
    }
}
