// The certificates that a host makes for itself and for its guests (RFC 5280; TCG EK Credential Profile 2.5; TCG Platform
// Certificate Profile 1.1 for the platform's attributes).
import CryptoBase
import TPMCrypto
import TPMWire
import Wire

/// What is still to be signed: a TBSCertificate or TBSCertList.
package struct Unsigned: Sendable {
    package let bytes: [UInt8]

    /// The hash that is signed.
    package static let scheme = Scheme(.ecdsa, .sha256)
    package var digest: [UInt8] { CryptoBase.digest(.sha256, bytes) }

    /// The whole, with a signature of the host's certificate key; nil if that is no ECDSA signature.
    package func signed(_ signature: Signature) -> [UInt8]? {
        guard case .ecc(.ecdsa, .sha256, let r, let s) = signature else { return nil }
        let pair = DER.element(DER.sequence, DER.number(r), DER.number(s))
        return DER.element(DER.sequence, bytes, Self.algorithm, DER.element(DER.bitString, [0], pair))
    }

    static let algorithm = scheme.algorithmIdentifier ?? []
}

/// What is certified of a guest, and where the certificate belongs.
package enum GuestCertificateKind: Sendable, Hashable {
    case endorsementKey
    case platform
}

/// The host as the issuer of certificates: its certificate key in the chip signs what is made here.
package struct CertificateAuthority: Sendable {
    private let key: PublicArea
    private let publicKey: [UInt8]
    private let keyIdentifier: [UInt8]
    private let name: [UInt8]
    /// Bytes of a serial number.
    package static let serialSize = 16
    /// Until the next revocation list, in seconds: a host makes a new one when it is asked.
    package static let listLifetime: Int64 = 30 * 86_400

    /// nil for a key that is not asymmetric.
    package init?(_ key: PublicArea) {
        guard let publicKey = key.subjectPublicKeyInfo, let bits = key.subjectPublicKey?.key else { return nil }
        self.key = key
        self.publicKey = publicKey
        // RFC 5280, 4.2.1.2, method 1
        keyIdentifier = digest(.sha1, bits)
        name = DistinguishedName.make([
            (OID.organization, "paratpm"), (OID.commonName, "paratpm host \(hexadecimal(keyIdentifier.prefix(8)))"),
        ])
    }

    /// A random positive serial number that has all its bytes.
    package static func newSerial() -> [UInt8] {
        var serial = randomBytes(serialSize)
        serial[0] = serial[0] & 0x3F | 0x40
        return serial
    }

    /// The host's own certificate.
    /// - Parameter from: seconds since 1970.
    package func hostCertificate(serial: [UInt8], from: Int64) -> Unsigned {
        let extensions = [
            Extension.make(OID.subjectKeyIdentifier, DER.element(DER.octetString, keyIdentifier)),
            Extension.make(OID.basicConstraints, critical: true, DER.element(DER.sequence, DER.yes, DER.number([0]))),
            // keyCertSign, cRLSign
            Extension.make(OID.keyUsage, critical: true, DER.element(DER.bitString, [1, 0x06])),
        ]
        return certificate(serial: serial, subject: name, from: from, publicKey, extensions)
    }

    /// A certificate of a guest's endorsement key; nil for a key that is none.
    package func guestCertificate(
        _ kind: GuestCertificateKind, of endorsementKey: PublicArea, guest: [UInt8], name guestName: String, serial: [UInt8], from: Int64
    ) -> Unsigned? {
        guard let guestKey = endorsementKey.subjectPublicKeyInfo else { return nil }
        // keyEncipherment or keyAgreement
        let usage: [UInt8] = endorsementKey.type == .rsa ? [5, 0x20] : [3, 0x08]
        var extensions = [
            Extension.make(OID.authorityKeyIdentifier, DER.element(DER.sequence, DER.element(0x80, keyIdentifier))),
            Extension.make(OID.basicConstraints, critical: true, DER.element(DER.sequence)),
            Extension.make(OID.keyUsage, critical: true, DER.element(DER.bitString, usage)),
            Extension.make(OID.extendedKeyUsage, DER.element(
                DER.sequence, DER.identifier(kind == .platform ? OID.platformCertificate : OID.endorsementKeyCertificate))),
            Extension.make(OID.subjectAlternativeName, DER.element(
                DER.sequence, DER.element(DER.context(4), kind == .platform ? Self.platformName : Self.tpmName))),
        ]
        if kind == .endorsementKey { extensions.append(Extension.make(OID.subjectDirectoryAttributes, Self.specification)) }
        let subject = DistinguishedName.make([(OID.commonName, guestName), (OID.serialNumber, hexadecimal(guest))])
        return certificate(serial: serial, subject: subject, from: from, guestKey, extensions)
    }

    private func certificate(
        serial: [UInt8], subject: [UInt8], from: Int64, _ publicKey: [UInt8], _ extensions: [[UInt8]]
    ) -> Unsigned {
        let validity = DER.element(DER.sequence, DERTime.encoded(from), DERTime.never)
        return Unsigned(bytes: DER.element(
            DER.sequence, DER.element(DER.context(0), DER.number([2])), DER.number(serial), Unsigned.algorithm, name, validity,
            subject, publicKey, DER.element(DER.context(3), DER.element(DER.sequence, extensions.flatMap { $0 }))))
    }

    /// A list of what is revoked (RFC 5280, 5).
    /// - Parameters:
    ///   - number: higher than that of the list before.
    ///   - revoked: serial number, and when, in seconds since 1970.
    package func revocationList(number: UInt64, at now: Int64, revoked: [(serial: [UInt8], time: Int64)]) -> Unsigned {
        let entries = revoked.flatMap { DER.element(DER.sequence, DER.number($0.serial), DERTime.encoded($0.time)) }
        let extensions = [
            Extension.make(OID.authorityKeyIdentifier, DER.element(DER.sequence, DER.element(0x80, keyIdentifier))),
            Extension.make(OID.crlNumber, DER.number(number.wire)),
        ]
        return Unsigned(bytes: DER.element(
            DER.sequence, DER.number([1]), Unsigned.algorithm, name, DERTime.encoded(now),
            DERTime.encoded(now + Self.listLifetime), entries.isEmpty ? [] : DER.element(DER.sequence, entries),
            DER.element(DER.context(0), DER.element(DER.sequence, extensions.flatMap { $0 }))))
    }

    /// The guest's TPM as GetCapability describes it.
    private static let tpmName = DistinguishedName.make([
        (OID.tpmManufacturer, "id:" + hexadecimal(Array(Identification.manufacturer.utf8)).uppercased()),
        (OID.tpmModel, "paratpm"),
        (OID.tpmVersion, "id:" + hexadecimal((Identification.firmwareVersion >> 32).wire.suffix(4))),
    ])

    private static let platformName = DistinguishedName.make([
        (OID.platformManufacturer, "paratpm"), (OID.platformModel, "virtual machine"), (OID.platformVersion, "2.0"),
    ])

    /// tpmSpecification: family 2.0, level 0, revision 1.59
    private static let specification = DER.element(
        DER.sequence, DER.element(
            DER.sequence, DER.identifier(OID.tpmSpecification), DER.element(
                DER.set, DER.element(
                    DER.sequence, DER.element(DER.utf8String, Array("2.0".utf8)), DER.number([0]), DER.number([159])))))
}

private enum Extension {
    static func make(_ identifier: [UInt8], critical: Bool = false, _ value: [UInt8]) -> [UInt8] {
        DER.element(DER.sequence, DER.identifier(identifier), critical ? DER.yes : [], DER.element(DER.octetString, value))
    }
}
