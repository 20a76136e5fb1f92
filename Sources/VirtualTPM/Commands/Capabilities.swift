// Part 3, 30: capability commands. What a guest is told comes from the command table, the chip's description and the limits.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// TPM_CAP (Part 2, 6.12)
enum Capability: UInt32 {
    case algorithms = 0x0000_0000
    case handles = 0x0000_0001
    case commands = 0x0000_0002
    case ppCommands = 0x0000_0003
    case auditCommands = 0x0000_0004
    case pcrs = 0x0000_0005
    case tpmProperties = 0x0000_0006
    case pcrProperties = 0x0000_0007
    case eccCurves = 0x0000_0008
    case authPolicies = 0x0000_0009
    case act = 0x0000_000A
    case vendorProperty = 0x0000_0100
}

/// One page of a capability's list: entries in wire form, and whether there are more.
struct CapabilityPage {
    let entries: [[UInt8]]
    let moreData: Bool

    static let empty = CapabilityPage(entries: [], moreData: false)

    init(entries: [[UInt8]], moreData: Bool) {
        self.entries = entries
        self.moreData = moreData
    }

    /// The first `count` of the values, but no more than fit in the capability buffer behind capability and count.
    /// - Parameter size: the size of an entry, in bytes, at most.
    init(_ values: [some WireCodable], count: UInt32, size: Int) {
        let room = (Limits.capabilityBuffer - 8) / size
        let taken = values.prefix(min(room, Int(count)))
        self.init(entries: taken.map { $0.wire }, moreData: taken.count < values.count)
    }
}

extension VirtualTPM {
    /// TPM2_GetCapability (30.2)
    func getCapability(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        guard let capability = Capability(rawValue: try call.parameters.next()) else { throw TPMRC.value.parameter(1) }
        let property = try call.parameters.next(UInt32.self)
        let propertyCount = try call.parameters.next(UInt32.self)
        try call.parameters.finish()

        let page: CapabilityPage
        if power == .failed {
            guard capability == .tpmProperties else { throw .failure }
            page = identification(from: property, count: propertyCount)
        } else {
            page = try self.page(capability, from: property, count: propertyCount)
        }
        return Reply {
            $0.flag(page.moreData)
            $0.u32(capability.rawValue)
            $0.u32(UInt32(page.entries.count))
            for entry in page.entries { $0.raw(entry) }
        }
    }

    /// TPM2_TestParms (30.3)
    func testParms(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let parameters = try call.parameters.read { (reader) throws(WireError) in
            let type = try reader.objectType()
            return try PublicArea.Parameters(from: &reader, type: type)
        }
        try call.parameters.finish()

        let area = PublicArea(nameAlgorithm: nil, attributes: [], parameters: parameters, unique: .digest([]))
        do throws(TPMRC) { try area.checkOffered(by: device.chip) } catch { throw error.parameter(1) }
        return .empty
    }

    func page(_ capability: Capability, from property: UInt32, count: UInt32) throws(TPMRC) -> CapabilityPage {
        switch capability {
        case .algorithms:
            return CapabilityPage(algorithmProperties.filter { $0.algorithm.rawValue >= property }, count: count, size: 6)
        case .handles:
            return CapabilityPage(try handles(from: TPMHandle(property)), count: count, size: 4)
        case .commands:
            let rows = CommandTable.rows.filter { $0.code.rawValue >= property && has($0) }
            return CapabilityPage(rows.map(\.attributes), count: count, size: 4)
        case .ppCommands:
            return CapabilityPage(TPMCommandCode.needingPresence.filter { $0.rawValue >= property && rules.commands.contains($0) }, count: count, size: 4)
        case .auditCommands:
            return CapabilityPage(durable.audit.codes.filter { $0.rawValue >= property && rules.commands.contains($0) }, count: count, size: 4)
        case .pcrs:
            guard property == 0 else { throw TPMRC.value.parameter(2) }
            let banks = count == 0 ? [] : volatile.banks.selections.filter { hashes.contains($0.hash) }
            return CapabilityPage(entries: banks.map(\.wire), moreData: count == 0)
        case .tpmProperties:
            return CapabilityPage(tpmProperties(from: property), count: count, size: 8)
        case .pcrProperties:
            return CapabilityPage(PCRProperty.all.filter { $0.tag >= property }, count: count, size: 8)
        case .eccCurves:
            return CapabilityPage(curves.map(\.rawValue).sorted().filter { $0 >= property }, count: count, size: 2)
        case .authPolicies:
            guard TPMHandle(property).kind == .permanent else { throw TPMRC.value.parameter(2) }
            let size = 4 + 2 + HashAlgorithm.largestDigest
            return CapabilityPage(authPolicies.filter { $0.handle.rawValue >= property }, count: count, size: size)
        case .act:
            // TPM_RH_ACT_0 to F: none is implemented.
            guard (0x4000_0110...0x4000_011F).contains(property) else { throw TPMRC.value.parameter(2) }
            return .empty
        case .vendorProperty: throw TPMRC.value.parameter(1)
        }
    }

    /// TPM_CAP_HANDLES: those of one type, in ascending order, from `first` on.
    private func handles(from first: TPMHandle) throws(TPMRC) -> [TPMHandle] {
        func rest(_ handles: [TPMHandle]) -> [TPMHandle] { handles.filter { $0.index >= first.index } }
        switch first.kind {
        case .pcr: return rest((0..<UInt32(PCRSelection.pcrCount)).map { TPMHandle(.pcr, $0) })
        case .nvIndex: return rest(durable.nv.keys.filter { (try? nvIndex($0)) != nil }.sorted())
        // Here the type says loaded or saved (TPM_HT_LOADED_SESSION, TPM_HT_SAVED_SESSION). Of a saved session the number counts.
        case .hmacSession: return rest(volatile.sessions.loadedHandles.sorted { $0.index < $1.index })
        case .policySession: return rest(volatile.sessions.saved.keys.sorted().map { TPMHandle(.hmacSession, $0) })
        case .permanent: return rest([.owner, .null, .password, .lockout, .endorsement, .platform, .platformNV])
        case .transient: return rest(volatile.transient.handles)
        case .persistent:
            return rest(durable.persistent.filter { volatile.hierarchies.isEnabled($0.value.hierarchy) }.keys.sorted())
        case nil: throw TPMRC.handle.parameter(2)
        }
    }

    private var authPolicies: [TaggedPolicy] {
        [TPMHandle.owner, .lockout, .endorsement, .platform].map {
            TaggedPolicy(handle: $0, policy: authPolicy(of: $0) ?? HierarchyPolicy())
        }
    }
}

/// TPMS_TAGGED_POLICY (Part 2, 10.8.5): a TPMT_HA, which is TPM_ALG_NULL alone where there is no policy.
private struct TaggedPolicy: WireCodable {
    let handle: TPMHandle
    let policy: HierarchyPolicy

    init(handle: TPMHandle, policy: HierarchyPolicy) {
        self.handle = handle
        self.policy = policy
    }
    init(from reader: inout WireReader) throws(WireError) {
        handle = try reader.value()
        let hash = try reader.hashOrNull()
        policy = HierarchyPolicy(hash: hash, digest: try reader.bytes(hash?.digestSize ?? 0))
    }
    func encode(to writer: inout WireWriter) {
        writer.value(handle)
        writer.hashOrNull(policy.hash)
        writer.raw(policy.digest)
    }
}

/// TPMS_TAGGED_PCR_SELECT (Part 2, 10.8.3): the PCRs that have a property.
private struct PCRProperty: WireCodable {
    /// TPM_PT_PCR (Part 2, 6.14)
    let tag: UInt32
    let pcrs: PCRSet

    init(_ tag: UInt32, _ has: (PCRAttributes) -> Bool) {
        self.tag = tag
        pcrs = PCRSet(PCRSet.all.filter { has(.of($0)) })
    }
    init(from reader: inout WireReader) throws(WireError) {
        tag = try reader.u32()
        pcrs = try reader.value()
    }
    func encode(to writer: inout WireWriter) {
        writer.u32(tag)
        writer.value(pcrs)
    }

    static let all: [PCRProperty] =
        [PCRProperty(0x00) { $0.isStateSaved }]
        + (0...4).flatMap { (locality: UInt8) in
            // TPM_PT_PCR_EXTEND_L0 and RESET_L0, and so on
            [PCRProperty(UInt32(1 + 2 * locality)) { $0.extend.allows(locality) },
             PCRProperty(UInt32(2 + 2 * locality)) { $0.reset.allows(locality) }]
        } + [
            /* TPM_PT_PCR_NO_INCREMENT */ PCRProperty(0x11) { !$0.isCounted },
            /* TPM_PT_PCR_DRTM_RESET */ PCRProperty(0x12) { $0.isDRTM },
            /* TPM_PT_PCR_POLICY */ PCRProperty(0x13) { $0.isInAuthGroup },
            /* TPM_PT_PCR_AUTH */ PCRProperty(0x14) { $0.isInAuthGroup },
        ]
}
