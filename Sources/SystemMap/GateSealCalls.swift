// What an administrator asks of paratpm-policy about the gate secret. The record of the sealed secret (Instance.gateRecord) is the administrator's to
// write, since paratpm-policy cannot.
import IPC
import TPMWire
import Wire

package enum GateSealCalls {
    /// In bytes
    package static let recordMax = 4096
    /// What status says of the gate on a host that has no gate secret.
    package static let noSecret = "no secret yet: run paratpmctl host init"
    /// The chip's answer where the host booted otherwise than the secret is sealed for: TPM_RC_POLICY_FAIL, of the first session
    package static let otherBoot = CallStatus(rawValue: TPMRC.policyFail.session(1).rawValue)

    /// Seals the gate secret anew in the chip, under the host's PCRs as they are now, or under none, and sees that it opens. Where there is no secret yet,
    /// seals a new one, which nobody uses until Open. The answer is the record. Errors are the chip's response codes.
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

    /// Has the chip open a record that is on disk, and takes its secret into use if there is none in use yet.
    /// Errors: `malformed`, a damaged record; `notPermitted`, a record of another secret than the one in use; the chip's response codes.
    package enum Open: Call {
        package static let number: UInt16 = 101
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package typealias Request = Blob
        package struct Reply: WireCodable, Sendable {
            /// Whether it was taken into use now.
            package var isNew: Bool
            /// What it is sealed under.
            package var selection: [PCRSelection]
            package init(isNew: Bool, selection: [PCRSelection]) {
                self.isNew = isNew
                self.selection = selection
            }
            package init(from reader: inout WireReader) throws(WireError) {
                isNew = try reader.flag()
                selection = try reader.list(max: PCRSelection.listMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.flag(isNew)
                writer.list(selection)
            }
        }
    }
}
