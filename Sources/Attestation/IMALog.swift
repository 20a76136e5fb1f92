// The runtime measurements of Linux's integrity measurement architecture (Documentation/ABI/testing/ima_policy; security/integrity/ima).
import AttestationFormats
import CryptoBase
import TPMWire
import Wire

enum IMALog {
    private static let defaultPCR = 10
    private static let nameMax = 64
    private static let dataMax = 1 << 20
    /// Fields of a violation are measured as ones (Part "violations" of the kernel's documentation), and logged as zeros.
    private static let violation = [UInt8](repeating: 0, count: PCRBank.sha1.digestSize)

    // MARK: binary_runtime_measurements

    /// A PCR, a SHA-1 digest, and a template's name: "ima", "ima-ng" …
    static func isBinary(_ bytes: [UInt8]) -> Bool {
        let head = 4 + PCRBank.sha1.digestSize
        guard bytes.count >= head + 4 + 3, bytes[1...3] == [0, 0, 0] else { return false }
        return Array(bytes[(head + 4)..<(head + 7)]) == Array("ima".utf8)
    }

    static func binary(_ bytes: [UInt8]) throws(FormatError) -> [EventLog.Event] {
        var reader = WireReader(bytes)
        var events: [EventLog.Event] = []
        do throws(WireError) {
            while !reader.isAtEnd, events.count < EventLog.eventsMax { events.append(try event(&reader)) }
            try reader.finish()
        } catch { throw FormatError("IMA's measurements do not decode") }
        return events
    }

    /// Numbers are little-endian, as on every machine that runs guests here.
    private static func event(_ reader: inout WireReader) throws(WireError) -> EventLog.Event {
        let pcr = Int(try reader.u32().byteSwapped)
        guard pcr < PCRSelection.pcrCount else { throw .invalid(0) }
        let templateHash = try reader.bytes(PCRBank.sha1.digestSize)
        let name = try reader.bytes(try size(&reader, max: nameMax))
        // The oldest template has no size: a SHA-1 digest, and a name behind its own.
        if name == Array("ima".utf8) {
            let digest = try reader.bytes(PCRBank.sha1.digestSize)
            let path = try reader.bytes(try size(&reader, max: 255))
            let padded = path + [UInt8](repeating: 0, count: 256 - path.count)
            return try measured(pcr, templateHash, digest + padded)
        }
        return try measured(pcr, templateHash, try reader.bytes(try size(&reader, max: dataMax)))
    }

    private static func size(_ reader: inout WireReader, max: Int) throws(WireError) -> Int {
        let size = Int(try reader.u32().byteSwapped)
        guard size <= max else { throw .oversized }
        return size
    }

    /// The kernel extends every bank with its own digest of the template's data.
    private static func measured(_ pcr: Int, _ templateHash: [UInt8], _ data: [UInt8]) throws(WireError) -> EventLog.Event {
        var digests: [PCRBank: [UInt8]] = [:]
        if templateHash == violation {
            for bank in PCRBank.allCases { digests[bank] = [UInt8](repeating: 0xFF, count: bank.digestSize) }
        } else {
            for bank in PCRBank.allCases { digests[bank] = digest(bank.hash, data) }
            guard digests[.sha1] == templateHash else { throw .invalid(0) }
        }
        return EventLog.Event(pcr: pcr, type: 0, digests: digests, data: data)
    }

    // MARK: ascii_runtime_measurements

    /// The lines of a text; nil for what is none.
    static func asciiLines(_ bytes: [UInt8]) -> [Substring]? {
        guard bytes.prefix(4096).allSatisfy({ $0 >= 0x20 || $0 == 0x0A }), let text = String(validating: bytes, as: UTF8.self) else { return nil }
        let lines = text.split(separator: "\n")
        guard let first = lines.first?.split(separator: " "), first.count >= 4, first[2].hasPrefix("ima") else { return nil }
        return lines
    }

    static func ascii(_ lines: [Substring]) throws(FormatError) -> [EventLog.Event] {
        guard lines.count < EventLog.eventsMax else { throw FormatError("IMA's measurements are too many") }
        var events: [EventLog.Event] = []
        for (number, line) in lines.enumerated() {
            guard let event = event(line) else { throw FormatError("line \(number + 1) is no measurement of IMA with the template ima-ng or ima-sig") }
            events.append(event)
        }
        return events
    }

    /// PCR, template hash, template's name, file's digest, path, and for ima-sig the signature.
    private static func event(_ line: Substring) -> EventLog.Event? {
        let fields = line.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: false)
        guard fields.count == 5, let pcr = Int(fields[0]), (0..<PCRSelection.pcrCount).contains(pcr),
            let templateHash = hexadecimalBytes(fields[1]), templateHash.count == PCRBank.sha1.digestSize
        else { return nil }
        let parts = fields[3].split(separator: ":")
        guard parts.count == 2, let digest = hexadecimalBytes(parts[1]) else { return nil }
        let named = Array("\(parts[0]):".utf8) + [0] + digest
        var path = fields[4]
        var signature: [UInt8] = []
        if fields[2] == "ima-sig", let space = path.lastIndex(of: " "), let hex = hexadecimalBytes(path[path.index(after: space)...]) {
            signature = hex
            path = path[..<space]
        }
        guard fields[2] == "ima-ng" || fields[2] == "ima-sig" else { return nil }
        var data = field(named) + field(Array(path.utf8) + [0])
        if fields[2] == "ima-sig" { data += field(signature) }
        return try? measured(pcr, templateHash, data)
    }

    private static func field(_ bytes: [UInt8]) -> [UInt8] { UInt32(bytes.count).byteSwapped.wire + bytes }
}
