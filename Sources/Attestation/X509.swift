// Names and times of X.509 (RFC 5280), and the identifiers that the TCG's profiles add (TCG EK Credential Profile 2.5).
import TPMCrypto

/// The contents of object identifiers.
enum X509 {
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
    /// 1.2.840.113549.1.1.1
    static let rsaEncryption: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]
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

    static func element(_ identifier: [UInt8]) -> [UInt8] { DER.identifier(identifier) }
}

enum DistinguishedName {
    /// RDNSequence of one attribute each.
    static func make(_ attributes: [(identifier: [UInt8], value: String)]) -> [UInt8] {
        DER.element(DER.sequence, attributes.flatMap { attribute in
            DER.element(DER.set, DER.element(
                DER.sequence, DER.identifier(attribute.identifier), DER.element(DER.utf8String, Array(attribute.value.utf8))))
        })
    }

    /// Every attribute of a Name, in order; what is no text is left out.
    static func attributes(_ name: [UInt8]) -> [(identifier: [UInt8], value: String)] {
        var outer = DER.Reader(name[...])
        guard let sequence = outer.next() else { return [] }
        var found: [(identifier: [UInt8], value: String)] = []
        var sets = DER.Reader(sequence.contents)
        while let set = sets.next() {
            var pairs = DER.Reader(set.contents)
            while let pair = pairs.next() {
                var parts = DER.Reader(pair.contents)
                guard let identifier = parts.next(), let value = parts.next(), let text = String(validating: value.contents, as: UTF8.self)
                else { continue }
                found.append((Array(identifier.contents), text))
            }
        }
        return found
    }

    static func text(_ name: [UInt8]) -> String {
        attributes(name).map { $0.value.filter { !$0.isNewline } }.joined(separator: ", ")
    }
}

enum DERTime {
    /// Seconds since 1970 of a UTCTime or GeneralizedTime in the form that RFC 5280, 4.1.2.5 demands; nil for any other.
    static func seconds(_ element: DER.Reader.Element) -> Int64? {
        var digits = element.contents.map { Int64($0) - 0x30 }
        guard digits.last == 0x5A - 0x30, digits.dropLast().allSatisfy({ (0...9).contains($0) }) else { return nil }
        digits.removeLast()
        func number(_ range: Range<Int>) -> Int64 { digits[range].reduce(0) { $0 * 10 + $1 } }
        let year: Int64
        switch (element.tag, digits.count) {
        case (DER.utcTime, 12): year = number(0..<2) + (number(0..<2) < 50 ? 2000 : 1900)
        case (DER.generalizedTime, 14): year = number(0..<4)
        default: return nil
        }
        let rest = digits.count - 10
        let (month, day) = (number(rest..<rest + 2), number(rest + 2..<rest + 4))
        guard (1...12).contains(month), (1...31).contains(day) else { return nil }
        let time = number(rest + 4..<rest + 6) * 3600 + number(rest + 6..<rest + 8) * 60 + number(rest + 8..<rest + 10)
        return days(year, month, day) * 86_400 + time
    }

    /// UTCTime until 2049, GeneralizedTime from then on.
    static func encoded(_ seconds: Int64) -> [UInt8] {
        let (year, month, day) = date(seconds.floorDivided(by: 86_400))
        let time = seconds - seconds.floorDivided(by: 86_400) * 86_400
        func two(_ value: Int64) -> [UInt8] { Array((value < 10 ? "0\(value)" : "\(value)").utf8) }
        let tail = [month, day, time / 3600, time / 60 % 60, time % 60].flatMap(two) + [UInt8(ascii: "Z")]
        if (1950..<2050).contains(year) { return DER.element(DER.utcTime, two(year % 100) + tail) }
        return DER.element(DER.generalizedTime, two(year / 100) + two(year % 100) + tail)
    }

    /// A certificate without a well-defined end (RFC 5280, 4.1.2.5).
    static let never = DER.element(DER.generalizedTime, Array("99991231235959Z".utf8))

    /// Days since 1970 of a date in the Gregorian calendar, counted in years that begin with March.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let y = month <= 2 ? year - 1 : year
        let era = y.floorDivided(by: 400)
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

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
