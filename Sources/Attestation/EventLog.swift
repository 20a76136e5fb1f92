// Event logs, and the PCRs that they lead to (TCG PC Client Platform Firmware Profile 1.05, 10; Linux's IMA).
import AttestationFormats
import CryptoBase
import TPMWire
import Wire

/// What was measured, in the order in which it was.
///
/// Firmware's logs come as SHA-1 only (TCG_PCR_EVENT) or crypto-agile (TCG_PCR_EVENT2 behind a "Spec ID Event03"), as SeaBIOS and OVMF
/// write them and Linux shows them in `binary_bios_measurements`; IMA's come as `binary_runtime_measurements` or
/// `ascii_runtime_measurements`.
public struct EventLog: Sendable {
    /// One measurement.
    public struct Event: Sendable {
        /// 0 to 23
        public let pcr: Int
        /// TCG_EVENTTYPE; 0 for IMA's.
        public let type: UInt32
        /// What was extended, for each bank of which the log speaks.
        public let digests: [PCRBank: [UInt8]]
        /// What the event says of itself, which no PCR vouches for unless the digest is that of the data.
        public let data: [UInt8]

        /// EV_NO_ACTION extends nothing.
        public var isExtended: Bool { type != CryptoAgileLog.noAction }
        /// Whether the digests are those of the data.
        public var isDigestOfData: Bool { !digests.isEmpty && digests.allSatisfy { digest($0.key.hash, data) == $0.value } }
    }
    /// In the order in which they were measured.
    public let events: [Event]

    /// The most events that a log may have.
    static let eventsMax = 1 << 20

    init(_ events: [Event]) { self.events = events }

    /// Reads a log of any of the four formats.
    public init(_ bytes: [UInt8]) throws(FormatError) {
        if let text = IMALog.asciiLines(bytes) {
            self.init(try IMALog.ascii(text))
        } else if IMALog.isBinary(bytes) {
            self.init(try IMALog.binary(bytes))
        } else {
            self.init(try FirmwareLog.events(bytes))
        }
    }

    /// The PCRs that logs of one boot lead to, all 24 of each bank.
    public static func replay(_ logs: [EventLog], banks: Set<PCRBank>) throws(FormatError) -> PCRValues {
        let events = logs.flatMap(\.events)
        var values: PCRValues = [:]
        for bank in banks {
            for pcr in 0..<PCRSelection.pcrCount {
                // PCRs of the dynamic launch begin with ones (PC Client Platform TPM Profile, 4.6).
                let first: UInt8 = (17...22).contains(pcr) ? 0xFF : 0
                values[PCRIndex(bank, pcr)] = [UInt8](repeating: first, count: bank.digestSize)
            }
            if let locality = events.lazy.compactMap(\.startupLocality).first {
                values[PCRIndex(bank, 0)]?[bank.digestSize - 1] = locality
            }
        }
        for event in events where event.isExtended {
            for bank in banks {
                guard let extended = event.digests[bank] else { throw FormatError("an event of PCR \(event.pcr) has no \(bank.rawValue) digest") }
                let index = PCRIndex(bank, event.pcr)
                values[index] = digest(bank.hash, values[index] ?? [], extended)
            }
        }
        return values
    }
}

extension EventLog.Event {
    /// The locality at which the firmware started the TPM, where that is not 0: PCR 0 begins with it.
    fileprivate var startupLocality: UInt8? {
        let signature = Array("StartupLocality".utf8) + [0]
        guard !isExtended, pcr == 0, data.count == signature.count + 1, data.starts(with: signature) else { return nil }
        return data.last
    }
}

/// The firmware's logs. Numbers are little-endian.
enum FirmwareLog {
    private static let dataMax = 1 << 24

    static func events(_ bytes: [UInt8]) throws(FormatError) -> [EventLog.Event] {
        var reader = WireReader(bytes)
        do throws(WireError) {
            guard let first = try legacyEvent(&reader) else { return [] }
            let sizes = try digestSizes(first)
            var events = [first]
            while !reader.isAtEnd, events.count < EventLog.eventsMax {
                let next = if let sizes { try agileEvent(&reader, sizes) } else { try legacyEvent(&reader) }
                guard let next else { break }
                events.append(next)
            }
            // Behind the last event may stand the rest of the memory that was kept for the log.
            let rest = reader.rest()
            guard rest.allSatisfy({ $0 == rest.first }), [nil, 0, 0xFF].contains(rest.first) else { throw .leftover }
            return events
        } catch { throw FormatError("the event log does not decode") }
    }

    /// TCG_PCR_EVENT; nil for the empty rest of a log.
    private static func legacyEvent(_ reader: inout WireReader) throws(WireError) -> EventLog.Event? {
        guard let (pcr, type) = try head(&reader) else { return nil }
        let digest = try reader.bytes(PCRBank.sha1.digestSize)
        let data = try reader.bytes(try size(&reader))
        return EventLog.Event(pcr: pcr, type: type, digests: [.sha1: digest], data: data)
    }

    /// TCG_PCR_EVENT2
    private static func agileEvent(_ reader: inout WireReader, _ sizes: [UInt16: Int]) throws(WireError) -> EventLog.Event? {
        guard let (pcr, type) = try head(&reader) else { return nil }
        let count = try reader.u32().byteSwapped
        guard count <= sizes.count else { throw .oversized }
        var digests: [PCRBank: [UInt8]] = [:]
        for _ in 0..<count {
            let algorithm = try reader.u16().byteSwapped
            guard let size = sizes[algorithm] else { throw .invalid(0) }
            let digest = try reader.bytes(size)
            // Banks that a guest's TPM does not have are passed over.
            if let hash = HashAlgorithm(rawValue: algorithm), hash.digestSize == size { digests[PCRBank(hash)] = digest }
        }
        return EventLog.Event(pcr: pcr, type: type, digests: digests, data: try reader.bytes(try size(&reader)))
    }

    /// PCR and type; nil, and nothing read, where the rest is empty memory.
    private static func head(_ reader: inout WireReader) throws(WireError) -> (Int, UInt32)? {
        var ahead = reader
        let (pcr, type) = (try ahead.u32().byteSwapped, try ahead.u32().byteSwapped)
        if pcr == UInt32.max || (pcr == 0 && type == 0) { return nil }
        guard pcr < UInt32(PCRSelection.pcrCount) else { throw .invalid(0) }
        reader = ahead
        return (Int(pcr), type)
    }

    private static func size(_ reader: inout WireReader) throws(WireError) -> Int {
        let size = Int(try reader.u32().byteSwapped)
        guard size <= dataMax else { throw .oversized }
        return size
    }

    /// TCG_EfiSpecIDEvent: the digest sizes by TPM_ALG_ID; nil for a log of SHA-1 digests only.
    private static func digestSizes(_ first: EventLog.Event) throws(WireError) -> [UInt16: Int]? {
        guard first.type == CryptoAgileLog.noAction, first.data.starts(with: CryptoAgileLog.signature) else { return nil }
        var reader = WireReader(first.data)
        // platformClass, specVersionMinor, specVersionMajor, specErrata, uintnSize
        _ = try reader.bytes(CryptoAgileLog.signature.count + 4 + 4)
        let count = try reader.u32().byteSwapped
        guard (1...16).contains(count) else { throw .oversized }
        var sizes: [UInt16: Int] = [:]
        for _ in 0..<count { sizes[try reader.u16().byteSwapped] = Int(try reader.u16().byteSwapped) }
        return sizes
    }
}
