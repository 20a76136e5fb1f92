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

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        failedTries = try reader.u32()
        maxTries = try reader.u32()
        recoveryTime = try reader.u32()
        lockoutRecovery = try reader.u32()
        lockoutAuthEnabled = try reader.flag()
    }
    func encode(to writer: inout WireWriter) {
        writer.u32(failedTries)
        writer.u32(maxTries)
        writer.u32(recoveryTime)
        writer.u32(lockoutRecovery)
        writer.flag(lockoutAuthEnabled)
    }

    /// No further try of a DA-protected entity until a recovery or a reset.
    var isLockedOut: Bool { maxTries == 0 || failedTries >= maxTries }
}
