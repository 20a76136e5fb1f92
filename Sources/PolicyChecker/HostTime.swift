// The host's time, by which time limits end, and which boot of the host it is.
import CryptoBase
import Glibc
import GuestIdentity
import IPC

/// Milliseconds since the host booted, sleep included: CLOCK_BOOTTIME, from which the guests' clocks are made too.
func hostMilliseconds() -> UInt64 {
    var now = timespec()
    clock_gettime(CLOCK_BOOTTIME, &now)
    return UInt64(max(0, now.tv_sec)) * 1000 + UInt64(max(0, now.tv_nsec)) / 1_000_000
}

/// Another for each boot of the host, when the clock begins anew: what has a time limit ends then.
package func hostBoot() throws(Failure) -> [UInt8] {
    // A unit that sees no more of /proc than processes is told by systemd.
    if let told = variable("PARATPM_BOOT_ID"), !told.isEmpty { return Array(told.utf8) }
    guard let bytes = try Files.read("/proc/sys/kernel/random/boot_id", max: 64) else {
        throw Failure(.unavailable, "which boot of the host this is, neither /proc/sys/kernel/random/boot_id nor PARATPM_BOOT_ID says")
    }
    return bytes
}
