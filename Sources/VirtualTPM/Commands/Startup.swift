// Part 3, 9 and 10: start-up, shutdown and testing; TPM Reset, Restart and Resume (Part 1, 12.2).
import SystemMap
import TPMWire
import Wire

/// TPM_SU (Part 2, 6.10)
enum StartupType: UInt16, WireCodable {
    case clear = 0x0000
    case state = 0x0001

    init(from reader: inout WireReader) throws(WireError) {
        guard let type = StartupType(rawValue: try reader.u16()) else { throw .rc(.value) }
        self = type
    }
    func encode(to writer: inout WireWriter) { writer.u16(rawValue) }
}

/// What a Startup amounts to, after the Shutdown before it (Part 1, 12.2.3.2).
private enum PowerCycle {
    /// No Shutdown, or Shutdown(CLEAR); then Startup(CLEAR)
    case reset
    /// Shutdown(STATE), Startup(CLEAR)
    case restart(KeptState)
    /// Shutdown(STATE), Startup(STATE)
    case resume(KeptState)
}

extension VirtualTPM {
    /// TPM2_Startup (9.3)
    func startup(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let startupType = try call.parameters.next(StartupType.self)
        try call.parameters.finish()

        // What Shutdown(STATE) kept is in memory: after a crash of this process there is nothing to resume.
        let kept = durable.clock.orderly == .state ? volatile.keptByShutdown : nil
        let cycle: PowerCycle
        switch (startupType, kept) {
        case (.clear, nil): cycle = .reset
        case (.clear, let kept?): cycle = .restart(kept)
        case (.state, nil): throw TPMRC.value.parameter(1)
        case (.state, let kept?): cycle = .resume(kept)
        }
        try startPCRs(cycle)

        restoreVolatileState(cycle)
        startRecovery()
        startClock(cycle)
        if case .resume = cycle {} else { startNV(cycle) }
        try commit()
        power = .started
        return .empty
    }

    /// The banks that PCR_Allocate asked for come into force.
    private func startPCRs(_ cycle: PowerCycle) throws(TPMRC) {
        let banks = durable.settings.banks
        let request: PCRCalls.Startup.Request =
            switch cycle {
            case .reset: .init(state: false, isReset: true, banks: banks)
            case .restart: .init(state: false, banks: banks)
            case .resume: .init(state: true, banks: banks)
            }
        do throws(TPMRC) { try pcrs.startup(request) } catch { throw error.parameter(1) }
        volatile.banks = banks
        volatile.countedLaunches = (try? pcrs.values().dynamicLaunches) ?? 0
    }

    /// Hierarchies, PCR authorization and sessions, as many as there are. _TPM_Init has emptied everything; a TPM Reset leaves it so.
    private func restoreVolatileState(_ cycle: PowerCycle) {
        volatile.keptByShutdown = nil
        volatile.isStartOrderly = durable.clock.orderly != .none
        switch cycle {
        case .reset: break
        case .restart(let kept), .resume(let kept):
            volatile.sessions = kept.sessions
            volatile.sessions.capacity = limits.sessions
            volatile.commandAuditDigest = kept.commandAuditDigest
            volatile.commitments = kept.commitments
        }
        switch cycle {
        case .reset: break
        case .restart(let kept):
            // platformAuth, platformPolicy and the enables start anew; the NULL hierarchy lives on.
            volatile.hierarchies.nullProof = kept.hierarchies.nullProof
            volatile.hierarchies.nullSeed = kept.hierarchies.nullSeed
            volatile.hierarchies.nullPrimaries = kept.hierarchies.nullPrimaries
            volatile.clearCount = kept.clearCount &+ 1
        case .resume(let kept):
            volatile.hierarchies = kept.hierarchies
            // Every Startup gives the platform its hierarchy back.
            volatile.hierarchies.phEnable = true
            volatile.pcrAuthValue = kept.pcrAuthValue
            volatile.clearCount = kept.clearCount
        }
    }

    /// resetCount, restartCount and Safe (Part 1, 36.4 to 36.6)
    private func startClock(_ cycle: PowerCycle) {
        if case .reset = cycle {
            durable.clock.resetCount &+= 1
            durable.clock.restartCount = 0
        } else {
            durable.clock.restartCount &+= 1
        }
        if durable.clock.orderly == .none { durable.clock.safe = false }
        durable.clock.orderly = .none
        durable.save(.clock)
    }

    /// Locks and contents of NV indices at a TPM Reset or Restart (Part 2, 13.4: TPMA_NV).
    private func startNV(_ cycle: PowerCycle) {
        for (handle, index) in durable.nv {
            var attributes = index.publicArea.attributes
            attributes.remove(.readLocked)
            if attributes.indexType != .counter {
                if attributes.contains(.clearStClear) { attributes.remove(.written) }
                if case .reset = cycle, attributes.contains(.orderly) { attributes.remove(.written) }
            }
            if !attributes.contains([.written, .writeDefine]) { attributes.remove(.writeLocked) }
            guard attributes != index.publicArea.attributes else { continue }
            durable.nv[handle]?.publicArea.attributes = attributes
            durable.save(.nv(handle))
        }
    }

    /// TPM2_Shutdown (9.4)
    func shutdown(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let shutdownType = try call.parameters.next(StartupType.self)
        try call.parameters.finish()
        // The values of banks that are to change cannot be kept.
        guard shutdownType == .clear || !volatile.isReallocated else { throw TPMRC.type.parameter(1) }

        try pcrs.shutdown(state: shutdownType == .state)
        countLaunches()
        storeRecovery()
        var sessions = volatile.sessions
        sessions.dropLoaded()
        volatile.keptByShutdown = shutdownType == .clear
            ? nil
            : KeptState(
                hierarchies: volatile.hierarchies, pcrAuthValue: volatile.pcrAuthValue, sessions: sessions,
                clearCount: volatile.clearCount, commandAuditDigest: volatile.commandAuditDigest,
                commitments: volatile.commitments)
        durable.clock.orderly = shutdownType == .state ? .state : .clear
        durable.save(.clock)
        return .empty
    }

    /// After each successful command: a Shutdown stands only as long as nothing changes that it kept (9.4), and
    /// Clock is stored when its time has come.
    func noteChange(by call: CommandCall) {
        updateClock()
        if power == .started, endsShutdown(call) { undoShutdown() }
    }

    func undoShutdown() {
        guard durable.clock.orderly != .none else { return }
        volatile.keptByShutdown = nil
        durable.clock.orderly = .none
        durable.save(.clock)
    }

    // MARK: 10 Testing

    /// TPM2_SelfTest (10.2): everything is tested at the start of the process and of the chip.
    func selfTest(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        _ = try call.parameters.read { (reader) throws(WireError) in try reader.flag() }
        try call.parameters.finish()
        return .empty
    }

    /// TPM2_IncrementalSelfTest (10.3)
    func incrementalSelfTest(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let toTest = try call.parameters.list(TPMAlgorithm.self, max: Self.algorithmListMax)
        try call.parameters.finish()

        let implemented = algorithmProperties.map(\.algorithm)
        guard toTest.allSatisfy({ implemented.contains($0) }) else { throw TPMRC.value.parameter(1) }
        let toDoList: [TPMAlgorithm] = []
        return Reply { $0.list(toDoList) }
    }
    /// MAX_ALG_LIST_SIZE
    private static let algorithmListMax = 64

    /// TPM2_GetTestResult (10.4)
    func getTestResult(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let testResult: TPMRC = power == .failed ? .failure : .success
        return Reply {
            $0.sized16([UInt8]())
            $0.u32(testResult.rawValue)
        }
    }
}

extension VirtualTPM {
    /// Whether a Shutdown no longer counts after this command, because a Resume would take back what it changed, or because an orderly
    /// index of a stock TPM would be lost. (Other lasting state is never taken back; loaded objects and sessions are gone in any case.)
    private func endsShutdown(_ call: CommandCall) -> Bool {
        let handles = call.handles
        switch call.row.code {
        case .pcrExtend, .pcrEvent, .pcrReset, .eventSequenceComplete:
            return handles[0] != .null && PCRAttributes.of(Int(handles[0].rawValue)).isStateSaved
        case .hierarchyChangeAuth, .setPrimaryPolicy: return handles[0] == .platform
        case .createPrimary: return handles[0] == .null
        case .nvWrite, .nvIncrement, .nvExtend, .nvSetBits:
            return durable.nv[handles[1]]?.publicArea.attributes.contains(.orderly) ?? false
        case .clear, .changePPS, .changeEPS, .pcrSetAuthValue, .pcrAllocate, .contextSave, .contextLoad, .flushContext: return true
        default: return false
        }
    }
}
