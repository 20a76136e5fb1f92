// Part 3, 29: clocks and timers; and how Time and Clock run (Part 1, 36).
import SystemMap
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

    /// Time as policies reckon with it.
    var guestTime: GuestTime { GuestTime(milliseconds: time, epoch: volatile.powerOnTime) }

    /// Clock: milliseconds that the TPM has been powered (Part 1, 36.3).
    var clock: UInt64 {
        let (clock, moment) = volatile.clockAnchor
        return max(durable.clock.clock, clock &+ (clockService.milliseconds &- moment))
    }

    /// TPMS_CLOCK_INFO (Part 2, 10.11.1)
    var clockInfo: ClockInfo {
        ClockInfo(
            clock: clock, resetCount: durable.clock.resetCount, restartCount: durable.clock.restartCount &+ uncountedLaunches,
            safe: durable.clock.safe)
    }

    /// DRTM events that restartCount has still to take up (Part 1, 36.5): paratpm-pcr hears of them from the door, and counts.
    private var uncountedLaunches: UInt32 {
        guard let launches = try? pcrs.values().dynamicLaunches else { return 0 }
        return launches &- volatile.countedLaunches
    }

    /// From here on the DRTM events until now are in restartCount.
    func countLaunches() {
        let launches = uncountedLaunches
        durable.clock.restartCount &+= launches
        volatile.countedLaunches &+= launches
        durable.save(.clock)
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

    /// TPM2_ClockSet (29.2): forward only, and not to within a year's reach of its end.
    func clockSet(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let newTime = try call.parameters.next(UInt64.self)
        try call.parameters.finish()
        guard newTime <= Self.clockMax, newTime >= clock else { throw TPMRC.value.parameter(1) }

        if newTime - durable.clock.clock >= ClockState.updateInterval { durable.clock.safe = true }
        volatile.clockAnchor = (newTime, clockService.milliseconds)
        noteClock()
        return .empty
    }
    private static let clockMax: UInt64 = 0xFFFF_0000_0000_0000

    /// TPM2_ClockRateAdjust (29.3): accepted. The rate is the host's, which others keep right.
    func clockRateAdjust(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let rateAdjust = Int8(bitPattern: try call.parameters.next(UInt8.self))
        // TPM_CLOCK_COARSE_SLOWER to TPM_CLOCK_COARSE_FASTER (Part 2, 6.7)
        guard (-3...3).contains(rateAdjust) else { throw TPMRC.value.parameter(1) }
        try call.parameters.finish()
        return .empty
    }
}
