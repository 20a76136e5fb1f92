// What the chip can do, asked once.
import SystemMap
import TPMWire

extension Chip {
    func describe() throws(ChipError) -> ChipDescription {
        let (algorithms, curves) = (Set(try algorithms()), Set(try curves()))
        let manufacturer = try properties(from: GetCapability.manufacturer, count: 1).first ?? 0
        let firmware = try properties(from: GetCapability.firmware, count: 2)
        return ChipDescription(
            manufacturer: manufacturer, firmware: firmware.reduce(0) { $0 << 32 | UInt64($1) },
            hashes: HashAlgorithm.allCases.filter { algorithms.contains($0.algorithm) },
            curves: ECCCurve.allCases.filter { curves.contains($0.rawValue) },
            rsaBits: try supported([1024, 2048, 3072, 4096]) { bits in
                .rsa(symmetric: .null, scheme: .null, keyBits: bits, exponent: 0)
            },
            aesBits: try supported([128, 192, 256]) { bits in .symcipher(.aes(keyBits: bits, mode: .cfb)) })
    }

    /// The chip's own limits by TPM_PT (Part 2, 6.13), for administrators.
    func ownLimits() throws(ChipError) -> [(key: String, value: String)] {
        let asked: [(String, UInt32)] = [
            ("transient-objects", 0x10E), ("loaded-sessions", 0x110), ("active-sessions", 0x111), ("context-gap", 0x114),
            ("nv-index-bytes", 0x117), ("command-bytes", 0x11E), ("object-context-bytes", 0x121),
        ]
        var lines: [(key: String, value: String)] = []
        for (name, property) in asked {
            if let value = try properties(from: property, count: 1).first { lines.append((name, String(value))) }
        }
        return lines
    }

    private func supported(
        _ sizes: [UInt16], _ parameters: (UInt16) -> PublicArea.Parameters
    ) throws(ChipError) -> [UInt16] {
        var found: [UInt16] = []
        for bits in sizes where try supports(parameters(bits)) { found.append(bits) }
        return found
    }
}

extension ChipDescription {
    /// TPM_PT_MANUFACTURER: four characters.
    var manufacturerText: String {
        let bytes = (0..<4).map { UInt8(truncatingIfNeeded: manufacturer >> (24 - 8 * $0)) }
        return String(decoding: bytes.filter { (0x21...0x7E).contains($0) }, as: UTF8.self)
    }
}
