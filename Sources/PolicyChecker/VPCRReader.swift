// paratpm-policy's own connection to paratpm-pcr, on which it reads the vPCRs of any guest.
import EnhancedAuthorization
import IPC
import SystemMap
import TPMWire

package final class VPCRReader: VPCRSource {
    /// Seconds that paratpm-pcr, which answers from memory, may take.
    private static let patience = 5
    private let path: String
    private var channel: Channel?

    package init(_ instance: Instance) { path = instance.socket(.pcr) }

    /// The selected values, in the order of the selections, ascending within each.
    /// - Throws: what paratpm-pcr refused with, or `unavailable` when it is not there.
    package func read(_ guest: GuestID, _ selections: [PCRSelection]) throws(CallStatus) -> PCRReading {
        // A guest may select a bank several times; the question names each once.
        let merged = PCRSelection.merged(selections)
        let reply = try ask(.init(guest: guest.bytes, selection: merged))
        var digests = reply.digests[...]
        var values: [HashAlgorithm: [[UInt8]]] = [:]
        for bank in merged {
            let own = digests.prefix(bank.pcrs.count)
            guard own.count == bank.pcrs.count, own.allSatisfy({ $0.hash == bank.hash }) else { throw .failed }
            values[bank.hash] = own.map(\.digest)
            digests = digests.dropFirst(own.count)
        }
        guard digests.isEmpty else { throw .failed }
        let selected = selections.flatMap { selection in
            let bank = merged.first { $0.hash == selection.hash }?.pcrs ?? PCRSet([])
            return zip(bank, values[selection.hash] ?? []).filter { selection.pcrs.contains($0.0) }.map(\.1)
        }
        return PCRReading(generation: reply.generation, digests: selected, locality: reply.locality)
    }

    /// The selected values behind each other, all of one moment, and the boot that they are of.
    /// - Parameter selections: each bank once. TPM_RC_VALUE for a PCR that is not allocated.
    func snapshot(_ guest: GuestID, _ selections: [PCRSelection]) throws(CallStatus) -> (values: [UInt8], bootCount: UInt64) {
        let reply = try ask(.init(guest: guest.bytes, selection: selections))
        let asked = selections.flatMap { selection in selection.pcrs.map { _ in selection.hash } }
        guard reply.digests.map(\.hash) == asked else { throw CallStatus(rawValue: TPMRC.value.rawValue) }
        return (reply.digests.flatMap(\.digest), reply.bootCount)
    }

    /// Asks; and once more on a new connection, in case paratpm-pcr was restarted since the last time.
    private func ask(_ request: PCRCalls.Values.Request) throws(CallStatus) -> PCRCalls.Values.Reply {
        if channel != nil, let reply = try attempt(request) { return reply }
        channel = try? Channel.connect(path, timeout: Self.patience)
        guard let reply = try attempt(request) else { throw .unavailable }
        return reply
    }

    /// nil: the connection is of no more use.
    private func attempt(_ request: PCRCalls.Values.Request) throws(CallStatus) -> PCRCalls.Values.Reply? {
        do throws(IPCError) {
            return try channel?.call(PCRCalls.Values.self, request)
        } catch {
            if case .status(let status) = error { throw status }
            // A late reply must not answer a later question.
            channel = nil
            return nil
        }
    }
}
