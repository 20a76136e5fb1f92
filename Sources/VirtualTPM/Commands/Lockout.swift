// Dictionary-attack protection over time (Part 1, 19.8): what authorization counts, and what recovers by itself.
import TPMWire

/// When the two recoveries began, in milliseconds of `time`. They start over with the power.
struct RecoveryTimers {
    /// Since the last failed authorization, or the last decrement of failedTries.
    var failedTries: UInt64 = 0
    /// Since the last failed use of lockoutAuth.
    var lockoutAuth: UInt64 = 0
}

extension VirtualTPM {
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
            let recovered = interval == 0 ? .max : (now - timers.failedTries) / interval
            lockout.failedTries -= UInt32(min(recovered, UInt64(lockout.failedTries)))
            timers.failedTries = lockout.failedTries == 0 ? now : timers.failedTries + recovered * interval
        }
        let lockoutRecovery = UInt64(lockout.lockoutRecovery) * 1000
        // With a lockoutRecovery of 0 only a Startup enables lockoutAuth again.
        if !lockout.lockoutAuthEnabled, lockoutRecovery != 0, now - timers.lockoutAuth >= lockoutRecovery {
            lockout.lockoutAuthEnabled = true
        }
        guard lockout != durable.lockout else { return }
        durable.lockout = lockout
        durable.save(.lockout)
        do throws(TPMRC) { try commit() } catch { return }
        volatile.recovery = timers
    }
}
