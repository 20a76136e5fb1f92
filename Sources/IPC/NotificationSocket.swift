// The manager's side of sd_notify(3): the socket on which children speak, and the descriptors that are kept for them.
import CSystem
import Glibc

/// One message of a child.
package struct Notification {
    /// As the kernel says.
    package let sender: pid_t
    /// "READY=1", "FDNAME=…": a line each.
    package let lines: [String]
    package let descriptors: [Descriptor]

    package var isReady: Bool { lines.contains("READY=1") }
    package func value(of key: String) -> String? {
        lines.first { $0.hasPrefix(key + "=") }.map { String($0.dropFirst(key.utf8.count + 1)) }
    }
}

/// A datagram socket that says who sends.
package final class NotificationSocket {
    package let descriptor: Descriptor

    package init(at path: String) throws(IPCError) {
        let raw = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw .system(errno) }
        descriptor = Descriptor(owning: raw)
        unlink(path)
        guard let bound = withUnixAddress(path, { bind(raw, $0, $1) }) else { throw .system(ENAMETOOLONG) }
        guard bound == 0 else { throw .system(errno) }
        var on: Int32 = 1
        guard setsockopt(raw, SOL_SOCKET, SO_PASSCRED, &on, socklen_t(MemoryLayout<Int32>.size)) == 0 else { throw .system(errno) }
    }

    /// The next message; nil when there is none. What is no message is passed over.
    package func next() -> Notification? {
        var buffer = [UInt8](repeating: 0, count: ServiceManager.messageMax)
        while true {
            var raws = [Int32](repeating: -1, count: Int(CSYSTEM_MAX_FDS))
            var (count, sender): (Int32, pid_t) = (0, 0)
            let received = csystem_receive_from(
                descriptor.raw, &buffer, buffer.count, &raws, &count, Int32(MSG_DONTWAIT), &sender)
            if received < 0 && errno == EMSGSIZE { continue }
            guard received >= 0 else { return nil }
            let descriptors = raws.prefix(Int(count)).map { Descriptor(owning: $0) }
            guard let text = String(validating: buffer[..<received], as: UTF8.self), sender > 0 else { continue }
            return Notification(sender: sender, lines: text.split(separator: "\n").map(String.init), descriptors: descriptors)
        }
    }
}

/// One service's fd store.
package struct DescriptorStore {
    /// Descriptors of one service: each guest has one in paratpm-pcr, and one more for a moment while it is replaced.
    package static let capacity = 320
    private static let nameMax = 255

    package private(set) var kept: [(name: String, descriptor: Descriptor)] = []

    package init() {}

    /// FDSTORE=1 and FDSTOREREMOVE=1, each with its FDNAME.
    package mutating func take(_ notification: Notification) {
        let name = notification.value(of: "FDNAME") ?? "stored"
        if notification.lines.contains("FDSTOREREMOVE=1") { kept.removeAll { $0.name == name } }
        guard notification.lines.contains("FDSTORE=1"), Self.isName(name) else { return }
        for descriptor in notification.descriptors.prefix(Self.capacity - kept.count) { kept.append((name, descriptor)) }
    }

    private static func isName(_ name: String) -> Bool {
        (1...nameMax).contains(name.utf8.count) && name.utf8.allSatisfy { (0x20..<0x7F).contains($0) && $0 != 0x3A }
    }

    /// What tells the service of them. LISTEN_PID is for csystem_spawn to fill in.
    package var environment: [String] {
        guard !kept.isEmpty else { return [] }
        return ["LISTEN_FDS=\(kept.count)", "LISTEN_FDNAMES=\(kept.map(\.name).joined(separator: ":"))", "LISTEN_PID=0000000000"]
    }
}
