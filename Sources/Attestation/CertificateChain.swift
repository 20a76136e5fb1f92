// From a certificate to a root that is trusted (RFC 5280, 6, without policies and name constraints, which no chip's maker uses).
import AttestationFormats

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
        for depth in 0..<lengthMax {
            try current.check(at: time)
            let next = issuers.first { issuer in
                issuer.subject == current.issuer && issuer.authorityDepth.map { depth <= $0 } ?? false && current.isSigned(by: issuer)
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
