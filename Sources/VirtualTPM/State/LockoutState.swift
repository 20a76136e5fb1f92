// Dictionary-attack protection, each guest's own (Part 1, 19.8).
import Wire

struct LockoutState: WireCodable, Equatable {
    var failedTries: UInt32 = 0
    /// maxTries, recoveryTime and lockoutRecovery (seconds), as stock software TPMs start.
    var maxTries: UInt32 = 3
    var recoveryTime: UInt32 = 1000
    var lockoutRecovery: UInt32 = 1000
    /// False after a failed use of lockoutAuth, until lockoutRecovery has passed.
    var lockoutAuthEnabled = true
    /// How far both recoveries had come at the last Shutdown, in milliseconds: a guest that restarts often recovers too.
    var recovered = RecoveryProgress()

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        failedTries = try reader.u32()
        maxTries = try reader.u32()
        recoveryTime = try reader.u32()
        lockoutRecovery = try reader.u32()
        lockoutAuthEnabled = try reader.flag()
        recovered = RecoveryProgress(failedTries: try reader.u64(), lockoutAuth: try reader.u64())
    }
    func encode(to writer: inout WireWriter) {
        writer.u32(failedTries)
        writer.u32(maxTries)
        writer.u32(recoveryTime)
        writer.u32(lockoutRecovery)
        writer.flag(lockoutAuthEnabled)
        writer.u64(recovered.failedTries)
        writer.u64(recovered.lockoutAuth)
    }

    mutating func keepFailures(of other: LockoutState) {
        failedTries = max(failedTries, other.failedTries)
        lockoutAuthEnabled = lockoutAuthEnabled && other.lockoutAuthEnabled
    }

    /// No further try of a DA-protected entity until a recovery or a reset.
    var isLockedOut: Bool { maxTries == 0 || failedTries >= maxTries }
}

/// How long each of the two recoveries has run, in milliseconds.
struct RecoveryProgress: Equatable {
    /// Since the last failed authorization, or the last decrement of failedTries.
    var failedTries: UInt64 = 0
    /// Since the last failed use of lockoutAuth.
    var lockoutAuth: UInt64 = 0
}
