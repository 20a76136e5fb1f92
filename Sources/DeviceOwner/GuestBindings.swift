// Bound guests: between the host root and such a guest's root stands one more key, which the chip uses only while the host's PCRs
// are approved.
import ChipClient
import GuestIdentity
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// File: u8 version, the update key, the parent of the guest's root, the approvals, the latest first.
struct GuestBinding: WireCodable {
    let updateKey: PublicArea
    let parent: WrappedObject
    private(set) var approvals: [HostApproval]
    private static let version: UInt8 = 1
    /// Enough to go back to the host's former state, and to approve the next one before it comes.
    private static let approvalsMax = 4
    static let largest = 16 * 1024

    init(updateKey: PublicArea, parent: WrappedObject, approval: HostApproval) {
        self.updateKey = updateKey
        self.parent = parent
        approvals = [approval]
    }
    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        updateKey = try reader.value(Sized<PublicArea>.self).value
        parent = try reader.value()
        approvals = try reader.list(max: Self.approvalsMax)
    }
    func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.sized16(updateKey)
        writer.value(parent)
        writer.list(approvals)
    }

    mutating func add(_ approval: HostApproval) {
        approvals.removeAll { $0.selection == approval.selection && $0.values == approval.values }
        approvals = Array(([approval] + approvals).prefix(Self.approvalsMax))
    }

    func belongs(to guest: GuestID) -> Bool {
        RootTemplate.binding(guest, updateKey: updateKey).isTemplate(of: parent.area)
    }
}

final class GuestBindings {
    private let chip: Chip
    private let cache: ObjectCache
    private let instance: Instance
    private let hostRoot: HostRoot
    private var known: [GuestID: GuestBinding?] = [:]

    init(_ chip: Chip, _ cache: ObjectCache, _ instance: Instance, _ hostRoot: HostRoot) {
        self.chip = chip
        self.cache = cache
        self.instance = instance
        self.hostRoot = hostRoot
    }

    /// nil: the guest is not bound.
    func binding(of guest: GuestID) throws(ChipError) -> GuestBinding? {
        if let binding = known[guest] { return binding }
        let path = instance.bindingRecord(guest)
        let bytes: [UInt8]?
        do throws(Failure) { bytes = try Files.read(path, max: GuestBinding.largest) } catch { throw .refused(error.message) }
        guard let bytes else {
            known[guest] = .some(nil)
            return nil
        }
        guard let binding = try? GuestBinding(wire: bytes), binding.belongs(to: guest) else {
            throw .refused("\(path) is damaged or another guest's; it was left alone, and the guest cannot use the chip")
        }
        known[guest] = binding
        return binding
    }

    func bind(_ guest: GuestID, updateKey: PublicArea, _ approval: HostApproval) throws(ChipError) {
        try cache.reserve(2)
        let parent = try chip.createKey(RootTemplate.binding(guest, updateKey: updateKey), under: hostRoot.entity).object
        try write(GuestBinding(updateKey: updateKey, parent: parent, approval: approval), guest)
    }

    func approve(_ approval: HostApproval, _ binding: GuestBinding, _ guest: GuestID) throws(ChipError) {
        var changed = binding
        changed.add(approval)
        try write(changed, guest)
    }

    func forget(_ guest: GuestID) throws(ChipError) {
        known[guest] = nil
        do throws(Failure) { try Files.remove(instance.bindingRecord(guest)) } catch { throw .refused(error.message) }
    }

    private func write(_ binding: GuestBinding, _ guest: GuestID) throws(ChipError) {
        do throws(Failure) {
            try Files.makeDirectory(instance.bindingDirectory, mode: 0o700)
            try Files.write(instance.bindingRecord(guest), binding.wire, mode: 0o600, replacing: true)
        } catch { throw .refused(error.message) }
        known[guest] = binding
    }

    // MARK: The guest's root

    func createRoot(_ template: PublicArea, _ binding: GuestBinding, of guest: GuestID) throws(ChipError) -> WrappedObject {
        try withParent(binding, of: guest) { (parent, session) throws(ChipError) in
            try chip.createKey(template, under: parent, authorization: .policy(session)).object
        }
    }

    func loadRoot(_ root: WrappedObject, _ binding: GuestBinding, of guest: GuestID) throws(ChipError) -> TPMHandle {
        try withParent(binding, of: guest) { (parent, session) throws(ChipError) in
            try chip.load(root.area, root.wrapped, under: parent, authorization: .policy(session))
        }
    }

    /// The root's parent in the chip, and a policy session that authorizes one command with it.
    private func withParent<R>(
        _ binding: GuestBinding, of guest: GuestID, _ body: (Entity, TPMHandle) throws(ChipError) -> R
    ) throws(ChipError) -> R {
        let approval = try approval(in: binding, of: guest)
        let ticket = try ticket(approval, binding, guest)
        try cache.reserve(ObjectCache.capacity)
        let handle = try chip.load(binding.parent.area, binding.parent.wrapped, under: hostRoot.entity)
        let (session, _) = try chip.startSession(.policy, nonceCaller: randomBytes(ChipSession.nonceSize), encryptedSalt: [])
        do throws(ChipError) {
            try chip.policyPCR(approval.selection, in: session)
            try chip.policyAuthorize(
                approval.policy, reference: guest.bytes, keyName: binding.updateKey.name, ticket, in: session)
            let result = try body(Entity(handle, name: binding.parent.name), session)
            try chip.flushQuietly(handle)
            return result
        } catch {
            try chip.flushQuietly(session)
            try chip.flushQuietly(handle)
            throw error
        }
    }

    /// The approval of what the host's PCRs are now. The chip itself holds them against it; this is to say why it would not.
    private func approval(in binding: GuestBinding, of guest: GuestID) throws(ChipError) -> HostApproval {
        var differing = ""
        for approval in binding.approvals {
            let values = try chip.readPCRs(approval.selection)
            if values == approval.values { return approval }
            if differing.isEmpty { differing = Self.difference(approval, values) }
        }
        throw .refused("guest \(guest.hex) is bound to a host that booted otherwise: \(differing). "
            + "Its keys cannot be used here, unless paratpmctl host authorize-update approves this state of the host")
    }

    private static func difference(_ approval: HostApproval, _ values: [UInt8]) -> String {
        var (offset, texts) = (0, [String]())
        for selection in approval.selection {
            let size = selection.hash.digestSize
            for pcr in selection.pcrs {
                let range = offset..<offset + size
                offset += size
                guard range.upperBound <= values.count, range.upperBound <= approval.values.count, values[range] != approval.values[range]
                else { continue }
                texts.append("PCR \(pcr) (\(selection.hash)) is \(hexString(values[range])), approved is \(hexString(approval.values[range]))")
            }
        }
        return texts.joined(separator: ", ")
    }

    private func ticket(_ approval: HostApproval, _ binding: GuestBinding, _ guest: GuestID) throws(ChipError) -> Ticket {
        try cache.reserve(1)
        let key = try chip.loadExternal(binding.updateKey)
        let result: Ticket
        do throws(ChipError) {
            result = try chip.verify(
                approval.signature, of: approval.signedDigest(for: guest), with: Entity(key, name: binding.updateKey.name))
        } catch {
            try chip.flushQuietly(key)
            throw error
        }
        try chip.flushQuietly(key)
        return result
    }
}
