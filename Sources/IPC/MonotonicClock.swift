// The clock that every process measures its waits with (CLOCK_MONOTONIC): it only runs forward, from the host's boot on.
import Glibc

package func nanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

package func milliseconds() -> Int { nanoseconds() / 1_000_000 }
