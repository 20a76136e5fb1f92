// The sockets on which hypervisors and TSS clients find a guest.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap

/// A socket at an endpoint, and the file that goes with it.
struct OpenEndpoint {
    let descriptor: Descriptor
    /// False: a connection already.
    let isListening: Bool
    /// Removed at the end.
    var path: String?

    init(connection: Descriptor) {
        descriptor = connection
        isListening = false
    }

    init(_ endpoint: Endpoint) throws(Failure) {
        switch endpoint {
        case .unix(let path, let mode, let uid, let gid):
            descriptor = try listenUnix(path, mode: mode, uid: uid, gid: gid)
            isListening = true
            self.path = path
        case .tcp(let address, let port, let interface):
            descriptor = try listenTCP(address, port, interface)
            isListening = true
        case .listening(let raw):
            descriptor = try inherited(raw)
            isListening = true
        case .connected(let raw):
            descriptor = try inherited(raw)
            isListening = false
        }
        if isListening {
            setNonBlocking(descriptor)
            setNoDelay(descriptor)
        }
    }
}

private func failure(_ doing: String, _ what: String) -> Failure {
    Failure(.cannotCreate, "cannot \(doing) \(what): \(describe(errno: errno))")
}

private func setNonBlocking(_ descriptor: Descriptor) {
    _ = csystem_fcntl(descriptor.raw, F_SETFL, csystem_fcntl(descriptor.raw, F_GETFL, 0) | O_NONBLOCK)
}

/// Connections inherit it from their listener. On a Unix socket it is an error that means nothing.
private func setNoDelay(_ descriptor: Descriptor) {
    var on: Int32 = 1
    setsockopt(descriptor.raw, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
}

private func inherited(_ raw: Int32) throws(Failure) -> Descriptor {
    var status = stat()
    guard raw > 2, fstat(raw, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else {
        throw Failure(.usage, "descriptor \(raw) is not a socket that was passed to this process")
    }
    _ = csystem_fcntl(raw, F_SETFD, FD_CLOEXEC)
    return Descriptor(owning: raw)
}

private func streamSocket(_ family: Int32) throws(Failure) -> Descriptor {
    let raw = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard raw >= 0 else { throw failure("make", "a socket") }
    return Descriptor(owning: raw)
}

private func listenUnix(_ path: String, mode: mode_t, uid: uid_t?, gid: gid_t?) throws(Failure) -> Descriptor {
    let descriptor = try streamSocket(AF_UNIX)
    var status = stat()
    if lstat(path, &status) == 0 {
        guard status.st_mode & S_IFMT == S_IFSOCK else { throw Failure(.cannotCreate, "\(path) is in the way of the socket") }
        unlink(path)
    }
    let old = umask(0o777 & ~mode)
    defer { umask(old) }
    guard let bound = withUnixAddress(path, { bind(descriptor.raw, $0, $1) }) else {
        throw Failure(.cannotCreate, "\(path) is too long for a socket's path (107 bytes)")
    }
    guard bound == 0 else { throw failure("listen at", path) }
    if uid != nil || gid != nil {
        guard chown(path, uid ?? uid_t.max, gid ?? gid_t.max) == 0 else { throw failure("give away", path) }
    }
    guard listen(descriptor.raw, 128) == 0 else { throw failure("listen at", path) }
    return descriptor
}

private func listenTCP(_ address: String, _ port: UInt16, _ interface: String?) throws(Failure) -> Descriptor {
    let shown = "\(address) port \(port)"
    let isIPv6 = address.contains(":")
    let descriptor = try streamSocket(isIPv6 ? AF_INET6 : AF_INET)
    var on: Int32 = 1
    setsockopt(descriptor.raw, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    let bound = isIPv6 ? try bindIPv6(descriptor, address, port, interface) : try bindIPv4(descriptor, address, port)
    guard bound == 0, listen(descriptor.raw, 128) == 0 else { throw failure("listen on", shown) }
    return descriptor
}

private func bindIPv4(_ descriptor: Descriptor, _ address: String, _ port: UInt16) throws(Failure) -> Int32 {
    var target = sockaddr_in()
    target.sin_family = sa_family_t(AF_INET)
    target.sin_port = port.bigEndian
    guard inet_pton(AF_INET, address, &target.sin_addr) == 1 else {
        throw Failure(.usage, "Could not parse the bind address '\(address)'")
    }
    return bindSocket(descriptor, target)
}

private func bindIPv6(_ descriptor: Descriptor, _ address: String, _ port: UInt16, _ interface: String?) throws(Failure) -> Int32 {
    var target = sockaddr_in6()
    target.sin6_family = sa_family_t(AF_INET6)
    target.sin6_port = port.bigEndian
    guard inet_pton(AF_INET6, address, &target.sin6_addr) == 1 else {
        throw Failure(.usage, "Could not parse the bind address '\(address)'")
    }
    if let interface {
        target.sin6_scope_id = if_nametoindex(interface)
        guard target.sin6_scope_id != 0 else { throw Failure(.usage, "there is no interface '\(interface)'") }
    }
    return bindSocket(descriptor, target)
}

private func bindSocket<Address>(_ descriptor: Descriptor, _ address: Address) -> Int32 {
    withUnsafePointer(to: address) { pointer in
        // SAFETY: both address structures begin as a sockaddr, as bind(2) defines.
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor.raw, $0, socklen_t(MemoryLayout<Address>.size))
        }
    }
}
