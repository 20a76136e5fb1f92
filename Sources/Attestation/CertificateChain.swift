// From a certificate to a root that is trusted (RFC 5280, 6, without policies and name constraints, which no chip's maker uses).

enum CertificateChain {
    private static let lengthMax = 8

    /// - Parameters:
    ///   - roots: trusted self-signed certificates, and certificates in between.
    ///   - time: seconds since 1970.
    /// - Returns: the root's subject, for people.
    static func verify(_ certificate: [UInt8], roots: [[UInt8]], time: Int64) throws(FormatError) -> String {
        var issuers: [Certificate] = []
        for root in roots { issuers.append(try Certificate(root)) }
        var current = try Certificate(certificate)
        for _ in 0..<lengthMax {
            try current.check(at: time)
            let next = issuers.first { issuer in
                issuer.subject == current.issuer && issuer.isAuthority
                    && SubjectPublicKey(issuer.publicKey)?.area.map(current.isSigned) ?? false
            }
            guard let next else { throw FormatError("nobody that is trusted signed the certificate of “\(current.subjectText)”") }
            if next.subject == next.issuer {
                try next.check(at: time)
                return next.subjectText
            }
            current = next
        }
        throw FormatError("the chain of certificates is too long")
    }
}

extension Certificate {
    /// Whether it may be used at this time, as far as it says so itself.
    func check(at time: Int64) throws(FormatError) {
        guard notBefore <= time, time <= notAfter else {
            throw FormatError("the certificate of “\(subjectText)” is not valid at this time")
        }
        guard !mayNotBeUnderstood else {
            throw FormatError("the certificate of “\(subjectText)” has a critical extension that is not understood")
        }
    }
}
