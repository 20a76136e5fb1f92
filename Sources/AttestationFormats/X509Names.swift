// Names and times of X.509 (RFC 5280), and the identifiers that the TCG's profiles add (TCG EK Credential Profile 2.5).
import TPMCrypto

/// The contents of object identifiers.
enum OID {
    // 2.5.29
    static let keyUsage: [UInt8] = [0x55, 0x1D, 0x0F]
    static let subjectAlternativeName: [UInt8] = [0x55, 0x1D, 0x11]
    static let basicConstraints: [UInt8] = [0x55, 0x1D, 0x13]
    static let crlNumber: [UInt8] = [0x55, 0x1D, 0x14]
    static let authorityKeyIdentifier: [UInt8] = [0x55, 0x1D, 0x23]
    static let subjectKeyIdentifier: [UInt8] = [0x55, 0x1D, 0x0E]
    static let extendedKeyUsage: [UInt8] = [0x55, 0x1D, 0x25]
    static let subjectDirectoryAttributes: [UInt8] = [0x55, 0x1D, 0x09]
    // 2.5.4
    static let commonName: [UInt8] = [0x55, 0x04, 0x03]
    static let serialNumber: [UInt8] = [0x55, 0x04, 0x05]
    static let organization: [UInt8] = [0x55, 0x04, 0x0A]
    /// tcg, 2.23.133
    private static let tcg: [UInt8] = [0x67, 0x81, 0x05]
    static let tpmManufacturer = tcg + [0x02, 0x01]
    static let tpmModel = tcg + [0x02, 0x02]
    static let tpmVersion = tcg + [0x02, 0x03]
    static let platformManufacturer = tcg + [0x05, 0x01, 0x01]
    static let platformModel = tcg + [0x05, 0x01, 0x04]
    static let platformVersion = tcg + [0x05, 0x01, 0x05]
    static let tpmSpecification = tcg + [0x02, 0x10]
    static let endorsementKeyCertificate = tcg + [0x08, 0x01]
    static let platformCertificate = tcg + [0x08, 0x02]
}

enum DistinguishedName {
    /// RDNSequence of one attribute each.
    static func make(_ attributes: [(identifier: [UInt8], value: String)]) -> [UInt8] {
        DER.element(DER.sequence, attributes.flatMap { attribute in
            DER.element(DER.set, DER.element(
                DER.sequence, DER.identifier(attribute.identifier), DER.element(DER.utf8String, Array(attribute.value.utf8))))
        })
    }
}

package enum DERTime {
    /// UTCTime until 2049, GeneralizedTime from then on.
    package static func encoded(_ seconds: Int64) -> [UInt8] {
        let (year, month, day) = date(seconds.floorDivided(by: 86_400))
        let time = seconds - seconds.floorDivided(by: 86_400) * 86_400
        func two(_ value: Int64) -> [UInt8] { Array((value < 10 ? "0\(value)" : "\(value)").utf8) }
        let tail = [month, day, time / 3600, time / 60 % 60, time % 60].flatMap(two) + [UInt8(ascii: "Z")]
        if (1950..<2050).contains(year) { return DER.element(DER.utcTime, two(year % 100) + tail) }
        return DER.element(DER.generalizedTime, two(year / 100) + two(year % 100) + tail)
    }

    /// A certificate without a well-defined end (RFC 5280, 4.1.2.5).
    static let never = DER.element(DER.generalizedTime, Array("99991231235959Z".utf8))

    /// Counted in years that begin with March.
    private static func date(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = shifted.floorDivided(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> Int64 { (self - (self % divisor + divisor) % divisor) / divisor }
}
