// PEM and base64 (RFC 7468, RFC 4648), as certificates travel in text.

/// Texts that carry DER objects.
public enum PEM {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// A text block: "CERTIFICATE", "X509 CRL".
    public static func text(_ label: String, _ der: [UInt8]) -> String {
        var lines: [String] = []
        let characters = base64(der)
        for start in stride(from: 0, to: characters.count, by: 64) {
            lines.append(String(decoding: characters[start..<min(start + 64, characters.count)], as: UTF8.self))
        }
        return "-----BEGIN \(label)-----\n" + lines.map { $0 + "\n" }.joined() + "-----END \(label)-----\n"
    }

    /// Every DER object of a file: the blocks of a text, or the one that the bytes are.
    public static func objects(_ bytes: [UInt8]) throws(FormatError) -> [[UInt8]] {
        guard let text = String(validating: bytes, as: UTF8.self), text.contains("-----BEGIN ") else { return [bytes] }
        var objects: [[UInt8]] = []
        var block: [UInt8]?
        for line in text.split(whereSeparator: \.isNewline) {
            if line.hasPrefix("-----BEGIN ") {
                block = []
            } else if line.hasPrefix("-----END ") {
                guard let object = block.flatMap(decoded) else { throw FormatError("a PEM block is no base64") }
                objects.append(object)
                block = nil
            } else {
                block?.append(contentsOf: line.utf8.filter { $0 > 0x20 })
            }
        }
        guard block == nil else { throw FormatError("a PEM block has no end") }
        return objects
    }

    private static func base64(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(UInt32(0)) { $0 << 8 | UInt32($1) } << (8 * UInt32(3 - group.count))
            for place in 0..<4 {
                result.append(place <= group.count ? alphabet[Int(bits >> (18 - 6 * UInt32(place)) & 0x3F)] : UInt8(ascii: "="))
            }
        }
        return result
    }

    private static func decoded(_ characters: [UInt8]) -> [UInt8]? {
        let digits = characters.prefix { $0 != UInt8(ascii: "=") }
        guard characters.count % 4 == 0, characters.count - digits.count <= 2,
            characters[digits.count...].allSatisfy({ $0 == UInt8(ascii: "=") })
        else { return nil }
        var result: [UInt8] = []
        var (bits, count) = (UInt32(0), 0)
        for character in digits {
            guard let value = alphabet.firstIndex(of: character) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            result.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
            bits &= 1 << UInt32(count) - 1
        }
        return result
    }
}
