// PEM (RFC 7468), as certificates travel in text.
import AttestationFormats
import SwiftASN1

/// Texts that carry DER objects.
public enum PEM {
    /// A text block: "CERTIFICATE", "X509 CRL".
    public static func text(_ label: String, _ der: [UInt8]) -> String { PEMDocument(type: label, derBytes: der).pemString + "\n" }

    /// Every DER object of a file: the blocks of a text, or the one that the bytes are.
    public static func objects(_ bytes: [UInt8]) throws(FormatError) -> [[UInt8]] {
        guard let text = String(validating: bytes, as: UTF8.self), text.contains("-----BEGIN ") else { return [bytes] }
        do { return try PEMDocument.parseMultiple(pemString: text).map(\.derBytes) } catch {
            throw FormatError("the PEM text does not decode: \(error)")
        }
    }
}
