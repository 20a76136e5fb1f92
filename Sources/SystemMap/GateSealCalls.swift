// What an administrator asks of paratpm-policy about the gate secret.
import IPC
import TPMWire
import Wire

package enum GateSealCalls {
    /// Seals the gate secret anew in the chip, under the host's PCRs as they are now, or under none, and sees that it opens. The answer is the record for the
    /// administrator to keep (Instance.gateRecord), since paratpm-policy cannot write. Errors are the chip's response codes.
    package enum Seal: Call {
        package static let number: UInt16 = 100
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            /// Each bank once; empty: the chip opens it on this host however that booted.
            package var selection: [PCRSelection]
            package init(selection: [PCRSelection]) { self.selection = selection }
            package init(from reader: inout WireReader) throws(WireError) { selection = try reader.list(max: PCRSelection.listMax) }
            package func encode(to writer: inout WireWriter) { writer.list(selection) }
        }
        package typealias Reply = Blob
    }
}
