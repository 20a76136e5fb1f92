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
