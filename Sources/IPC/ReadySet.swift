// Which of many descriptors can be read: epoll, so that a message costs the same however many guests there are.
import CSystem
import Glibc

final class ReadySet {
    private let descriptor: Descriptor
    private var ready = [Int32](repeating: -1, count: 64)

    init() {
        let raw = csystem_epoll()
        guard raw >= 0 else { fatalError("epoll: errno \(errno)") }
        descriptor = Descriptor(owning: raw)
    }

    /// False: the system has no room for it.
    func add(_ raw: Int32) -> Bool { csystem_epoll_add(descriptor.raw, raw) == 0 }

    /// Before the descriptor is closed.
    func remove(_ raw: Int32) { csystem_epoll_remove(descriptor.raw, raw) }

    /// Some that can be read, each at most once, in the order in which they became so; those that are left out come first the next time.
    /// None after a signal.
    /// - Parameter milliseconds: -1 waits for ever.
    func wait(milliseconds: Int32) -> ArraySlice<Int32> {
        let count = csystem_epoll_wait(descriptor.raw, &ready, Int32(ready.count), milliseconds)
        guard count >= 0 || errno == EINTR else { fatalError("epoll: errno \(errno)") }
        return ready.prefix(max(0, Int(count)))
    }
}
