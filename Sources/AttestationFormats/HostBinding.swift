// The host's PCRs as the first event of a guest's boot, so that what the guest seals and quotes covers its host (docs/attestation.md).
import CryptoBase
import TPMWire
import Wire

/// The event's data: "paratpm host PCRs" and a NUL, TPML_PCR_SELECTION, sized16 values. Each bank is extended with its own digest of
/// the data.
public enum HostBinding {
    package static let signature = Array("paratpm host PCRs".utf8) + [0]
    /// EV_EVENT_TAG's neighbour for what a platform measures before its firmware runs: EV_POST_CODE (PC Client, 10.4.1).
    static let eventType: UInt32 = 1

    package static func data(_ selections: [PCRSelection], _ values: [UInt8]) -> [UInt8] {
        var writer = WireWriter()
        writer.raw(signature)
        writer.list(selections)
        writer.sized16(values)
        return writer.bytes
    }

    /// The digests of all banks.
    package static func digests(of data: [UInt8]) -> [TaggedDigest] {
        HashAlgorithm.allCases.map { TaggedDigest($0, digest($0, data)) }
    }

    /// A crypto-agile event log that begins with the event.
    package static func log(vpcr: Int, data: [UInt8]) -> [UInt8] {
        let digests = digests(of: data)
        var sizes = WireWriter()
        for digest in digests { sizes.raw(little(digest.hash.rawValue) + little(UInt16(digest.hash.digestSize))) }
        // platformClass, specVersionMinor, specVersionMajor, specErrata, uintnSize, numberOfAlgorithms … vendorInfoSize
        let specification = CryptoAgileLog.signature + little(UInt32(0)) + [0, 2, 0, 2] + little(UInt32(digests.count)) + sizes.bytes + [0]
        let zeros = [UInt8](repeating: 0, count: PCRBank.sha1.digestSize)
        var log = little(UInt32(0)) + little(CryptoAgileLog.noAction) + zeros + little(UInt32(specification.count)) + specification
        log += little(UInt32(vpcr)) + little(eventType) + little(UInt32(digests.count))
        for digest in digests { log += little(digest.hash.rawValue) + digest.digest }
        return log + little(UInt32(data.count)) + data
    }

    private static func little(_ value: UInt16) -> [UInt8] { value.byteSwapped.wire }
    private static func little(_ value: UInt32) -> [UInt8] { value.byteSwapped.wire }
}

/// What a crypto-agile log begins with: TCG_EfiSpecIDEvent in an event that extends nothing (PC Client Platform Firmware Profile 1.05, 10.4.5.1).
package enum CryptoAgileLog {
    package static let signature = Array("Spec ID Event03".utf8) + [0]
    /// EV_NO_ACTION
    package static let noAction: UInt32 = 3
}
