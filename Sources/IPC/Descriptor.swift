// An owned file descriptor, and who is at the other end of a socket.
import CSystem
import Glibc

/// Closes its descriptor when the last reference goes.
public final class Descriptor: Sendable {
    public let raw: Int32
    public init(owning raw: Int32) { self.raw = raw }
    deinit { close(raw) }

    /// How long a socket's reader waits (SO_RCVTIMEO).
    public func setReceiveTimeout(milliseconds: Int) {
        var limit = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        setsockopt(raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    /// A connected pair of SOCK_SEQPACKET sockets, close-on-exec.
    public static func pair() throws(IPCError) -> (Descriptor, Descriptor) {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw .system(errno) }
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }
}

/// SO_PEERCRED and SO_PEERGROUPS: who made the connection.
package struct Peer: Sendable, Equatable {
    package let pid: pid_t
    package let uid: uid_t
    package let gid: gid_t
    /// The group and the supplementary ones; of a peer in more than `groupsMax`, its own alone.
    package let groups: [gid_t]
    private static let groupsMax = 256

    package init?(of socket: Int32) {
        var pid: pid_t = 0
        var uid: uid_t = 0
        var gid: gid_t = 0
        guard csystem_peer(socket, &pid, &uid, &gid) == 0 else { return nil }
        self.pid = pid
        self.uid = uid
        self.gid = gid
        var others = [gid_t](repeating: 0, count: Self.groupsMax)
        let count = csystem_peer_groups(socket, &others, Int32(others.count))
        groups = [gid] + others.prefix(max(0, Int(count)))
    }
}

/// An address in the file system; nil when the path does not fit one.
package func withUnixAddress<R>(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R? {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    let room = MemoryLayout.size(ofValue: address.sun_path)
    guard bytes.count < room, !bytes.isEmpty, !bytes.contains(0) else { return nil }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    // "@" stands for the abstract name space, as in NOTIFY_SOCKET.
    if bytes[0] == UInt8(ascii: "@") { withUnsafeMutableBytes(of: &address.sun_path) { $0[0] = 0 } }
    let length = bytes[0] == UInt8(ascii: "@")
        ? socklen_t(MemoryLayout<sa_family_t>.size + bytes.count) : socklen_t(MemoryLayout<sockaddr_un>.size)
    return withUnsafePointer(to: &address) { pointer in
        // SAFETY: sockaddr_un is read as the sockaddr that it begins with, as the socket calls define.
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
    }
}
