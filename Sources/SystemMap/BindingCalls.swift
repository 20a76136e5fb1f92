// Guests that are bound to a host (docs/attestation.md): the chip loads their root only while the host's PCRs are as somebody
// approved them, with a key that is not on the host.
import IPC
import TPMWire
import Wire

/// Values of the host's PCRs that are good enough for a guest, signed with its update key.
package struct HostApproval: WireCodable, Sendable, Equatable {
    package var selection: [PCRSelection]
    /// Behind each other, in the order of the selection.
    package var values: [UInt8]
    package var signature: Signature
    package static let valuesMax = 2048

    package init(selection: [PCRSelection], values: [UInt8], signature: Signature) {
        self.selection = selection
        self.values = values
        self.signature = signature
    }
    package init(from reader: inout WireReader) throws(WireError) {
        selection = try reader.list(max: PCRSelection.listMax)
        values = try reader.sized16(max: Self.valuesMax)
        signature = try reader.value()
    }
    package func encode(to writer: inout WireWriter) {
        writer.list(selection)
        writer.sized16(values)
        writer.value(signature)
    }
}

package enum BindingCalls {
    /// Makes a guest's root as that of a bound guest. CallStatus.notPermitted: it has a root already, or the approval is not the
    /// update key's.
    package enum Bind: Call {
        package static let number: UInt16 = 112
        package static let callers: Caller = [.admin]
        package struct Request: WireCodable, Sendable {
            package var guest: [UInt8]
            package var updateKey: PublicArea
            package var approval: HostApproval
            package init(guest: [UInt8], updateKey: PublicArea, approval: HostApproval) {
                self.guest = guest
                self.updateKey = updateKey
                self.approval = approval
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guest = try reader.bytes(GuestID.size)
                updateKey = try reader.value()
                approval = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.raw(guest)
                writer.value(updateKey)
                writer.value(approval)
            }
        }
        package typealias Reply = Nothing
    }

    /// One more approval for a bound guest; the oldest gives way. CallStatus.unavailable: it is not bound.
    /// CallStatus.notPermitted: the approval is not its update key's.
    package enum Approve: Call {
        package static let number: UInt16 = 113
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var guest: [UInt8]
            package var approval: HostApproval
            package init(guest: [UInt8], approval: HostApproval) {
                self.guest = guest
                self.approval = approval
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guest = try reader.bytes(GuestID.size)
                approval = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.raw(guest)
                writer.value(approval)
            }
        }
        package typealias Reply = Nothing
    }

    /// A bound guest's update key, and which of the host's PCRs were approved last. CallStatus.unavailable: it is not bound.
    package enum Binding: Call {
        package static let number: UInt16 = 114
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        /// The guest's id.
        package typealias Request = Blob
        package struct Reply: WireCodable, Sendable {
            package var updateKey: PublicArea
            package var selection: [PCRSelection]
            package init(updateKey: PublicArea, selection: [PCRSelection]) {
                self.updateKey = updateKey
                self.selection = selection
            }
            package init(from reader: inout WireReader) throws(WireError) {
                updateKey = try reader.value()
                selection = try reader.list(max: PCRSelection.listMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(updateKey)
                writer.list(selection)
            }
        }
    }
}

extension Instance {
    /// What a bound guest's root is loaded under, and when.
    package func bindingRecord(_ guest: GuestID) -> String { "\(bindingDirectory)/\(guest.hex)" }
    package var bindingDirectory: String { deviceDirectory + "/bindings" }
}
