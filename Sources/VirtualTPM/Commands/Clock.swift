// Part 3, 29: clocks and timers; and how Time and Clock run (Part 1, 36).
import TPMWire
import Wire

extension ClockState {
    /// The longest, in milliseconds, that Clock runs ahead of what is stored (TPM_PT_CLOCK_UPDATE).
    static let updateInterval: UInt64 = 1 << 16

    /// Where Clock goes on in a new process. A process that ended without Shutdown may have told the guest more than it stored,
    /// but less than an interval more: so Clock never goes back.
    var atProcessStart: UInt64 { orderly == .none ? clock &+ Self.updateInterval : clock }
}

extension VirtualTPM {
    /// Time: milliseconds since the power came on (Part 1, 36.2).
    var time: UInt64 { clockService.milliseconds &- volatile.powerOnTime }

    /// Clock: milliseconds that the TPM has been powered (Part 1, 36.3).
    var clock: UInt64 {
        let (clock, moment) = volatile.clockAnchor
        return max(durable.clock.clock, clock &+ (clockService.milliseconds &- moment))
    }

    /// TPMS_CLOCK_INFO (Part 2, 10.11.1)
    var clockInfo: ClockInfo {
        ClockInfo(
            clock: clock, resetCount: durable.clock.resetCount, restartCount: durable.clock.restartCount, safe: durable.clock.safe)
    }

    /// Clock joins whatever is committed.
    func noteClock() {
        durable.clock.clock = clock
        durable.save(.clock)
    }

    /// Clock is stored by itself when it is an interval ahead, and from then on is known never to have been higher (Part 1,
    /// 36.3). After a Shutdown it may not run ahead at all, because the next process takes it as it is stored.
    func updateClock() {
        guard power == .started else { return }
        let ahead = clock - durable.clock.clock
        if ahead >= ClockState.updateInterval { durable.clock.safe = true }
        if ahead >= ClockState.updateInterval || (ahead > 0 && durable.clock.orderly != .none) { noteClock() }
    }

    /// TPM2_ReadClock (29.1)
    func readClock(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        let (time, clockInfo) = (time, clockInfo)
        return Reply {
            $0.u64(time)
            $0.value(clockInfo)
        }
    }
}
