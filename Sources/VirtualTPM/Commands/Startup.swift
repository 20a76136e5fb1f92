// Part 3, 9 and 10: start-up, shutdown and testing; TPM Reset, Restart and Resume (Part 1, 12.2).
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
        guard power == .initialized else { throw .initialize }
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
        do throws(TPMRC) { try pcrs.startup(state: startupType == .state) } catch { throw error.parameter(1) }

        restoreVolatileState(cycle)
        startClock(cycle)
        if case .resume = cycle {} else { startNV(cycle) }
        if durable.lockout.lockoutRecovery == 0, !durable.lockout.lockoutAuthEnabled {
            durable.lockout.lockoutAuthEnabled = true
            durable.save(.lockout)
        }
        try commit()
        power = .started
        return .empty
    }

    /// Hierarchies and sessions. _TPM_Init has emptied everything; a TPM Reset leaves it so.
    private func restoreVolatileState(_ cycle: PowerCycle) {
        volatile.keptByShutdown = nil
        volatile.isStartOrderly = durable.clock.orderly != .none
        switch cycle {
        case .reset: break
        case .restart(let kept):
            // platformAuth, platformPolicy and the enables start anew; the NULL hierarchy lives on.
            volatile.hierarchies.nullProof = kept.hierarchies.nullProof
            volatile.hierarchies.nullSeed = kept.hierarchies.nullSeed
            volatile.hierarchies.nullPrimaries = kept.hierarchies.nullPrimaries
            volatile.sessions = kept.sessions
            volatile.clearCount = kept.clearCount &+ 1
        case .resume(let kept):
            volatile.hierarchies = kept.hierarchies
            volatile.sessions = kept.sessions
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

        try pcrs.shutdown(state: shutdownType == .state)
        var sessions = volatile.sessions
        sessions.dropLoaded()
        volatile.keptByShutdown = shutdownType == .clear
            ? nil : KeptState(hierarchies: volatile.hierarchies, sessions: sessions, clearCount: volatile.clearCount)
        durable.clock.orderly = shutdownType == .state ? .state : .clear
        durable.save(.clock)
        return .empty
    }

    /// After each successful command: a Shutdown stands only as long as nothing changes that it kept (9.4), and
    /// Clock is stored when its time has come.
    func noteChange(by call: CommandCall) {
        updateClock()
        guard durable.clock.orderly != .none, power == .started, call.endsShutdown else { return }
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

extension CommandCall {
    /// Whether a Shutdown no longer counts after this command, because a Resume would take back what it changed. (Lasting
    /// state is never taken back; loaded objects and sessions are gone in any case.)
    fileprivate var endsShutdown: Bool {
        switch row.code {
        case .pcrExtend, .pcrEvent, .pcrReset:
            handles[0] != .null && PCRAttributes.of(Int(handles[0].rawValue)).isStateSaved
        case .hierarchyChangeAuth: handles[0] == .platform
        case .createPrimary: handles[0] == .null
        case .clear, .contextSave, .contextLoad, .flushContext: true
        default: false
        }
    }
}
