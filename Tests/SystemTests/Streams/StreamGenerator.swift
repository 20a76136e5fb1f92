// Generates streams of commands: most are valid, some are slightly wrong, a few are wild. The same seed gives the same stream.
import TPMWire
import Wire

struct StreamGenerator {
    var random: SeededRandom
    var world = StreamWorld()

    /// Commands of a later revision
    static let missingInStock: Set<TPMCommandCode> = [.policyCapability, .policyParameters]
    static let rows = CommandTable.rows.filter { !missingInStock.contains($0.code) }

    init(seed: UInt64) { random = SeededRandom(seed) }

    /// The next command.
    mutating func next() -> Step {
        if let step = makeRoom() { return step }
        var step = random.chance(25) ? maker() : any(random.pick(Self.rows))
        if random.chance(12) { spoil(&step) }
        if random.chance(2) { step = wild() }
        return step
    }

    /// Keeps within what a stock TPM holds.
    private mutating func makeRoom() -> Step? {
        if world.transient.count > StreamWorld.mostObjects { return flush(random.pick(world.transient).slot) }
        if world.sessions.count >= StreamWorld.mostSessions { return flush(random.pick(world.sessions).slot) }
        return nil
    }

    private func flush(_ slot: String) -> Step {
        var step = Step(code: .flushContext, parameters: [.slot(slot)])
        step.effect = { world in
            world.objects.removeAll { $0.slot == slot }
            world.sessions.removeAll { $0.slot == slot }
        }
        return step
    }

    /// A command that makes something, so that others have something to work on.
    private mutating func maker() -> Step {
        let codes: [TPMCommandCode] =
            world.objects.isEmpty
            ? [.createPrimary, .createPrimary, .hashSequenceStart, .nvDefineSpace, .loadExternal]
            : [.create, .load, .load, .createLoaded, .nvDefineSpace, .startAuthSession, .evictControl, .createPrimary, .nvWrite, .contextSave]
        guard let row = CommandTable.row(random.pick(codes)) else { return wild() }
        return any(row)
    }

    /// A command of this kind, with what it needs.
    private mutating func any(_ row: CommandRow) -> Step {
        var step = Step(code: row.code)
        step.handles = row.handles.map { .bytes(handle($0.kind)) }
        fill(&step, row)
        // Handles are chosen before their authorizations, which follow from them.
        step.authorizations = row.handles.indices.filter { row.handles[$0].role != nil }.map { authorization(step.handles[$0]) }
        if random.chance(2) { step.authorizations = Array(step.authorizations.dropLast()) }
        if random.chance(1) { step.authorizations.append(.password([])) }
        return step
    }

    private mutating func authorization(_ piece: Piece) -> Step.Authorization {
        if random.chance(4), let session = world.sessions.first(where: \.isPolicy) { return .policy(slot: session.slot) }
        if random.chance(2) { return .password([0xEE]) }
        switch piece {
        case .slot(let slot): return .password(world.objects.first { $0.slot == slot }?.auth ?? [])
        case .bytes(let bytes):
            guard let handle = try? TPMHandle(wire: bytes) else { return .password([]) }
            if let index = world.indices.first(where: { $0.handle == handle }) { return .password(index.auth) }
            return .password(world.hierarchyAuths[handle] ?? [])
        }
    }

    // MARK: Handles

    private mutating func handle(_ kind: HandleKind) -> [UInt8] {
        if random.chance(4) { return oddHandle() }
        let handle: TPMHandle = switch kind {
        case .pcr, .pcrOrNull: TPMHandle(random.pick([0, 7, 10, 16, 16, 17, 20, 23, 24] as [UInt32]))
        case .entity, .entityOrNull: random.pick([.owner, .endorsement, .platform, .lockout, .null])
        case .hierarchyOrNull, .hierarchy, .parent: random.pick([.owner, .owner, .endorsement, .platform, .null])
        case .hierarchyAuth: random.pick([.owner, .endorsement, .platform, .lockout])
        case .provision, .nvAuth: random.pick([.owner, .owner, .platform])
        case .clear: random.pick([.lockout, .platform])
        case .platform: .platform
        case .lockout: .lockout
        case .endorsement: .endorsement
        case .nvIndex: world.indices.isEmpty ? TPMHandle(0x0100_0001) : random.pick(world.indices).handle
        default: .null
        }
        return handle.wire
    }

    private mutating func oddHandle() -> [UInt8] {
        random.pick([
            .owner, .null, .password, .lockout, .unassigned, TPMHandle(0x8000_0000), TPMHandle(0x8000_0002), TPMHandle(0x8000_FFFF),
            TPMHandle(0x8100_0001), TPMHandle(0x8180_0000), TPMHandle(0x0200_0000), TPMHandle(0x0300_0001), TPMHandle(0x0100_0003),
            TPMHandle(25), TPMHandle(0xFFFF_FFFF), TPMHandle(0x4000_0000), TPMHandle(0x4000_0002), TPMHandle(0x9000_0000),
        ] as [TPMHandle]).wire
    }

    /// An object's handle; mostly one of these kinds.
    mutating func object(_ kinds: StreamWorld.Kind...) -> Piece {
        let fitting = world.objects.filter { kinds.contains($0.kind) }
        if !fitting.isEmpty, random.chance(85) { return .slot(random.pick(fitting).slot) }
        if !world.objects.isEmpty, random.chance(70) { return .slot(random.pick(world.objects).slot) }
        return .bytes(random.chance(50) ? oddHandle() : TPMHandle.null.wire)
    }

    mutating func session(policy: Bool) -> Piece {
        let fitting = world.sessions.filter { $0.isPolicy == policy }
        if !fitting.isEmpty, random.chance(90) { return .slot(random.pick(fitting).slot) }
        return .bytes(oddHandle())
    }

    /// The handle that authorizes access to an index: itself, if it may, or a hierarchy.
    mutating func indexAuthority(_ handle: [UInt8], writing: Bool) -> [UInt8] {
        guard let index = world.indices.first(where: { $0.handle.wire == handle }), random.chance(90) else { return self.handle(.nvAuth) }
        let attributes = index.attributes
        if attributes.contains(writing ? .authWrite : .authRead) { return handle }
        return (attributes.contains(writing ? .ownerWrite : .ownerRead) ? TPMHandle.owner : .platform).wire
    }

    // MARK: Wrong ones

    private mutating func spoil(_ step: inout Step) {
        switch random.below(6) {
        case 0: step.spoiling = .longer(random.bytes(random.pick([1, 2, 8])))
        case 1: step.spoiling = .shorter(random.pick([1, 2, 3, 8]))
        case 2 where !step.handles.isEmpty: step.handles[random.below(step.handles.count)] = .bytes(oddHandle())
        case 3: step.spoiling = .tag(random.pick([0x8001, 0x8002, 0x8000, 0x00C4, 0x8003]))
        default: flipByte(&step)
        }
    }

    private mutating func flipByte(_ step: inout Step) {
        let places = step.parameters.indices.filter { if case .bytes(let bytes) = step.parameters[$0] { !bytes.isEmpty } else { false } }
        guard !places.isEmpty else { return }
        let place = random.pick(places)
        guard case .bytes(var bytes) = step.parameters[place] else { return }
        // Sizes, tags and algorithms are mostly at the front.
        let at = random.chance(70) ? random.below(min(bytes.count, 12)) : random.below(bytes.count)
        bytes[at] = random.chance(50) ? bytes[at] ^ (1 << UInt8(random.below(8))) : UInt8(truncatingIfNeeded: random.next())
        step.parameters[place] = .bytes(bytes)
    }

    /// Anything at all, with a good header.
    private mutating func wild() -> Step {
        let code = random.chance(80) ? random.pick(Self.rows).code : TPMCommandCode(UInt32(random.below(0x220)))
        var step = Step(code: code, parameters: [.bytes(random.bytes(random.below(80)))])
        step.handles = (0..<random.below(4)).map { _ in .bytes(oddHandle()) }
        if random.chance(50) { step.authorizations = (0..<1 + random.below(3)).map { _ in .password([]) } }
        return step
    }
}
