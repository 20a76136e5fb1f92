// Part 3, 18.8: a certificate that the caller has begun, completed and signed.
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_CertifyX509 (18.8)
    func certifyX509(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let reserved = try call.parameters.qualifyingData()
        let inScheme = try call.parameters.signatureScheme()
        let partialCertificate = try call.parameters.bytes(max: Limits.inputBuffer)
        try call.parameters.finish()

        guard reserved.isEmpty else { throw TPMRC.size.parameter(1) }
        let signKey = try object(call.handles[1], number: 2, orSequence: .key)
        guard signKey.isSigningKey, let nameAlgorithm = signKey.publicArea.nameAlgorithm else { throw TPMRC.key.handle(2) }
        let scheme: Scheme
        do throws(TPMRC) { scheme = try signKey.publicArea.signingScheme(inScheme) } catch { throw error.parameter(2) }
        let certified = try object(call.handles[0], orSequence: .asymmetric)
        guard let publicKey = certified.publicArea.subjectPublicKeyInfo, let hash = scheme.hash else {
            throw TPMRC.asymmetric.handle(1)
        }
        let partial = try PartialCertificate(partialCertificate)
        guard let algorithm = partial.signature ?? scheme.algorithmIdentifier else {
            throw TPMRC.scheme.handle(2)
        }
        try partial.checkExtensions(certified.attributes)

        let fields = [algorithm, partial.issuer, partial.validity, partial.subject, publicKey, partial.extensions]
        let serial = digest(nameAlgorithm, fields.flatMap { $0 } + signKey.name + certified.name).prefix(PartialCertificate.serialSize)
        let head = DER.element(DER.context(0), DER.number([2])) + DER.number(Array(serial))
        let certificate = DER.element(DER.sequence, head + fields.flatMap { $0 })
        let tbsDigest = digest(hash, certificate)
        let signature = try signKey.sign(digest: tbsDigest, scheme: scheme, for: .certificate(certificate))
        let added = head + (partial.signature == nil ? algorithm : []) + publicKey
        return Reply {
            $0.sized16(DER.element(DER.sequence, added))
            $0.sized16(tbsDigest)
            $0.value(signature)
        }
    }
}

/// What the caller gives of a TBSCertificate (RFC 5280, 4.1): a sequence of these fields, each whole with tag and length.
private struct PartialCertificate {
    /// AlgorithmIdentifier; nil: the TPM's to add
    let signature: [UInt8]?
    let issuer: [UInt8]
    let validity: [UInt8]
    let subject: [UInt8]
    let extensions: [UInt8]
    /// Bytes of a serial number
    static let serialSize = 20

    init(_ bytes: [UInt8]) throws(TPMRC) {
        guard !bytes.isEmpty else { throw TPMRC.value.parameter(3) }
        var outer = DER.Reader(bytes[...])
        guard let certificate = outer.next(), certificate.tag == DER.sequence, outer.rest.isEmpty else {
            throw TPMRC.size.parameter(3)
        }
        var sequences: [[UInt8]] = []
        var extensions: [UInt8]?
        var reader = DER.Reader(certificate.contents)
        while !reader.rest.isEmpty {
            guard let field = reader.next() else { throw TPMRC.value.parameter(3) }
            switch field.tag {
            case DER.sequence: sequences.append(Array(field.whole))
            case DER.context(3) where extensions == nil: extensions = Array(field.whole)
            default: throw TPMRC.value.parameter(3)
            }
        }
        guard (3...4).contains(sequences.count), let extensions else { throw TPMRC.value.parameter(3) }
        self.extensions = extensions
        signature = sequences.count == 4 ? sequences.removeFirst() : nil
        (issuer, validity, subject) = (sequences[0], sequences[1], sequences[2])
    }

    /// What the certificate says of the key's use must be so (Part 3, 18.8).
    func checkExtensions(_ attributes: ObjectAttributes) throws(TPMRC) {
        if let value = try bits(of: Self.objectAttributes), value != attributes.rawValue { throw TPMRC.attributes.handle(1) }
        guard let keyUsage = try bits(of: Self.keyUsage) else { throw TPMRC.value.parameter(3) }
        for (uses, needed) in Self.needs where keyUsage & uses != 0 {
            guard attributes.contains(needed) else { throw TPMRC.value.parameter(3) }
        }
    }

    /// 2.5.29.15
    private static let keyUsage = DER.identifier([0x55, 0x1D, 0x0F])
    /// tcg-tpmaObject, 2.23.133.10.1.1.1
    private static let objectAttributes = DER.identifier([0x67, 0x81, 0x05, 0x0A, 0x01, 0x01, 0x01])

    /// TPMA_X509_KEY_USAGE (Part 2, 8.13), and the attribute that a use needs.
    private static let needs: [(uses: UInt32, attribute: ObjectAttributes)] = [
        // digitalSignature, keyCertSign, cRLSign
        (1 << 31 | 1 << 26 | 1 << 25, .sign),
        // keyEncipherment, dataEncipherment, keyAgreement, encipherOnly, decipherOnly
        (1 << 29 | 1 << 28 | 1 << 27 | 1 << 24 | 1 << 23, .decrypt),
        // nonRepudiation
        (1 << 30, .fixedTPM),
        // keyAgreement
        (1 << 27, .restricted),
    ]

    /// The bits of an extension, the first one in bit 31; nil if there is no such extension.
    private func bits(of identifier: [UInt8]) throws(TPMRC) -> UInt32? {
        var field = DER.Reader(extensions[...])
        guard let contents = field.next()?.contents else { throw TPMRC.value.parameter(3) }
        var outer = DER.Reader(contents)
        guard let list = outer.next(), list.tag == DER.sequence, outer.rest.isEmpty else { throw TPMRC.value.parameter(3) }
        var reader = DER.Reader(list.contents)
        while !reader.rest.isEmpty {
            guard let one = reader.next(), one.tag == DER.sequence else { throw TPMRC.value.parameter(3) }
            guard one.contents.starts(with: identifier) else { continue }
            var parts = DER.Reader(one.contents)
            while let part = parts.next() {
                if part.tag == DER.octetString, let value = Self.bitField(part.contents) { return value }
            }
            throw TPMRC.value.parameter(3)
        }
        return nil
    }

    /// A BIT STRING of at most 32 bits.
    private static func bitField(_ bytes: ArraySlice<UInt8>) -> UInt32? {
        var reader = DER.Reader(bytes)
        guard let string = reader.next(), string.tag == DER.bitString, let unused = string.contents.first, unused < 8,
            (unused == 0 ? 1 : 2)...5 ~= string.contents.count
        else { return nil }
        let value = string.contents.dropFirst().enumerated().reduce(UInt32(0)) { $0 | UInt32($1.element) << (24 - 8 * $1.offset) }
        let used = 8 * (string.contents.count - 1) - Int(unused)
        return used == 0 ? 0 : value & (UInt32.max << (32 - used))
    }
}
