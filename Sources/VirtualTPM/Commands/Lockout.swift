// Part 3, 25: dictionary-attack protection; what authorization counts, and what recovers by itself (Part 1, 19.8).
//
// Every failure is stored before it is answered. So a guest that was killed has no failure that is not counted, and its next Startup
// adds none (a stock TPM, which stores them late, does).
import TPMWire
import Wire

/// When the two recoveries began, in milliseconds of `time`; before the power came on where one went on from there (then the
/// difference to `time` wraps around).
struct RecoveryTimers {
    var failedTries: UInt64 = 0
    var lockoutAuth: UInt64 = 0
}

extension VirtualTPM {
    /// TPM2_DictionaryAttackLockReset (25.2)
    func dictionaryAttackLockReset(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        try call.parameters.finish()

        durable.lockout.failedTries = 0
        durable.save(.lockout)
        return .empty
    }

    /// TPM2_DictionaryAttackParameters (25.3)
    func dictionaryAttackParameters(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let newMaxTries = try call.parameters.next(UInt32.self)
        let newRecoveryTime = try call.parameters.next(UInt32.self)
        let lockoutRecovery = try call.parameters.next(UInt32.self)
        try call.parameters.finish()

        durable.lockout.maxTries = newMaxTries
        durable.lockout.recoveryTime = newRecoveryTime
        durable.lockout.lockoutRecovery = lockoutRecovery
        durable.save(.lockout)
        return .empty
    }

    // MARK: Over time

    /// Recovery goes on after an orderly Shutdown. After any other end it begins again, or a guest that is killed again and again
    /// would recover sooner.
    func startRecovery() {
        let recovered = durable.clock.orderly == .none ? RecoveryProgress() : durable.lockout.recovered
        volatile.recovery = RecoveryTimers(failedTries: time &- recovered.failedTries, lockoutAuth: time &- recovered.lockoutAuth)
        if durable.lockout.lockoutRecovery == 0, !durable.lockout.lockoutAuthEnabled {
            durable.lockout.lockoutAuthEnabled = true
            durable.save(.lockout)
        }
    }

    /// For the Startup after this Shutdown.
    func storeRecovery() {
        let timers = volatile.recovery
        durable.lockout.recovered = RecoveryProgress(failedTries: time &- timers.failedTries, lockoutAuth: time &- timers.lockoutAuth)
        durable.save(.lockout)
    }

    /// Counts a failed authorization of a DA-protected entity, or of lockoutAuth.
    func registerAuthFailure(lockoutAuth: Bool) {
        if lockoutAuth {
            durable.lockout.lockoutAuthEnabled = false
            volatile.recovery.lockoutAuth = time
        } else {
            // A recoveryTime of 0 switches the protection off (Part 1, 19.8.2).
            guard durable.lockout.recoveryTime != 0 else { return }
            durable.lockout.failedTries = min(durable.lockout.failedTries, .max - 1) + 1
            volatile.recovery.failedTries = time
        }
        durable.save(.lockout)
    }

    /// Takes back what has recovered by now: one failed try for each recoveryTime, and lockoutAuth after lockoutRecovery
    /// (Part 1, 19.8.4 and 19.8.5). It is committed by itself, because the command that comes may fail.
    func updateRecovery() {
        let now = time
        var lockout = durable.lockout
        var timers = volatile.recovery
        if lockout.failedTries > 0 {
            let interval = UInt64(lockout.recoveryTime) * 1000
            let recovered = interval == 0 ? .max : (now &- timers.failedTries) / interval
            lockout.failedTries -= UInt32(min(recovered, UInt64(lockout.failedTries)))
            timers.failedTries = lockout.failedTries == 0 ? now : timers.failedTries &+ recovered * interval
        }
        let lockoutRecovery = UInt64(lockout.lockoutRecovery) * 1000
        // With a lockoutRecovery of 0 only a Startup enables lockoutAuth again.
        if !lockout.lockoutAuthEnabled, lockoutRecovery != 0, now &- timers.lockoutAuth >= lockoutRecovery {
            lockout.lockoutAuthEnabled = true
        }
        guard lockout != durable.lockout else { return }
        durable.lockout = lockout
        durable.save(.lockout)
        do throws(TPMRC) { try commit() } catch { return }
        volatile.recovery = timers
    }
}
