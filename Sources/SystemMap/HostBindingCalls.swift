// The host's PCRs as the first event of a guest's boot: the policy checker says it, the door brings it to paratpm-pcr
// (docs/attestation.md).
import IPC
import TPMWire
import Wire

/// What is extended into a vPCR before anything else.
package struct FirstEvent: WireCodable, Sendable, Equatable {
    package var pcr: UInt8
    /// One for each bank.
    package var digests: [TaggedDigest]

    package init(pcr: UInt8, digests: [TaggedDigest]) {
        self.pcr = pcr
        self.digests = digests
    }
    package init(from reader: inout WireReader) throws(WireError) {
        pcr = try reader.u8()
        guard Int(pcr) < PCRSelection.pcrCount else { throw .invalid(0) }
        digests = try reader.list(max: PCRSelection.listMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.u8(pcr)
        writer.list(digests)
    }
}

package enum HostBindingCalls {
    /// To paratpm-policy: what shall be measured before the guest's TPM starts.
    package enum Event: Call {
        package static let number: UInt16 = 98
        package static let callers: Caller = [.door]
        package static let repeatable = true
        package typealias Request = Nothing
        package struct Reply: WireCodable, Sendable {
            /// nil: nothing is measured.
            package var event: FirstEvent?
            /// The event log that begins with it.
            package var log: [UInt8]
            package static let nothing = Reply(event: nil, log: [])

            package init(event: FirstEvent?, log: [UInt8]) {
                self.event = event
                self.log = log
            }
            package init(from reader: inout WireReader) throws(WireError) {
                event = try reader.flag() ? try reader.value() : nil
                log = try reader.sized16(max: NVPublic.dataMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.flag(event != nil)
                if let event { writer.value(event) }
                writer.sized16(log)
            }
        }
    }
}

extension PCRCalls {
    /// From the door: PowerOn, and what this boot's Startup(CLEAR) extends before anybody else can extend anything.
    package enum MeasuredPowerOn: Call {
        package static let number: UInt16 = 22
        package static let callers: Caller = [.door]
        package static let isNumbered = true
        package typealias Request = FirstEvent
        package typealias Reply = Nothing
    }
}
