// For tests: an instance in a temporary directory, and services in threads of the test's own process.
import CryptoBase
import Glibc
import GuestIdentity
import IPC
import SystemMap

/// A service that answers at its socket until it is stopped or dropped.
package final class RunningService {
    private let stopper: Descriptor
    private var thread = pthread_t()
    private var isRunning = true

    /// - Parameter make: makes the service, in the thread where it lives.
    package init<State>(_ name: ServiceName, in directory: TemporaryInstance, _ make: @escaping () -> Service<State>) throws {
        let listener = try bindSocket(at: directory.instance.socket(name), mode: 0o600)
        try listen(on: listener)
        let (ours, theirs) = try Descriptor.pair()
        stopper = ours
        let body = Unmanaged.passRetained(
            Body {
                let service = make()
                let server = Server(
                    listener: listener, routes: service.routes, limits: service.limits, turns: service.turns,
                    welcome: service.welcome, farewell: service.farewell)
                server.watch(theirs) { false }
                server.run()
            })
        // SAFETY: the thread takes the reference that was retained for it.
        let result = pthread_create(&thread, nil, { Unmanaged<Body>.fromOpaque($0!).takeRetainedValue().run(); return nil }, body.toOpaque())
        precondition(result == 0)
    }

    deinit { stop() }

    /// Returns when the service is gone, with all its connections.
    package func stop() {
        guard isRunning else { return }
        isRunning = false
        shutdown(stopper.raw, Int32(SHUT_RDWR))
        pthread_join(thread, nil)
    }

    private final class Body {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
}

/// A directory of a test's own, in TMPDIR.
package func makeTemporaryDirectory() throws(IPCError) -> String {
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/paratpm-test.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw .system(errno) }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

package final class TemporaryInstance {
    package let path: String
    package let instance: Instance

    package init() throws {
        path = try makeTemporaryDirectory()
        instance = Instance(directory: path)
        try Files.makeDirectory(instance.runDirectory, mode: 0o755)
    }

    deinit { Self.removeAll(path) }

    private static func removeAll(_ path: String) {
        // A name that is no directory lists nothing, and remove(3) takes both.
        for name in (try? Files.list(path)) ?? [] { removeAll("\(path)/\(name)") }
        remove(path)
    }

    /// Enrols a guest.
    package func addGuest(_ text: String) throws -> TestGuest {
        let name = GuestName(text)!
        let id = try GuestEnrolment.enrol(name: name, instance: instance)
        return TestGuest(name: name, id: id, key: try GuestEnrolment.loadIdentity(in: instance.guestDirectory(name)), instance: instance)
    }

    /// A connection that says nothing of itself: an administrator's, as the tests run as the services' own user.
    package func connect(_ service: ServiceName) throws -> Channel {
        try Channel.connect(instance.socket(service), timeout: 10)
    }
}

package struct TestGuest {
    package let name: GuestName
    package let id: GuestID
    package let key: IdentityKey
    let instance: Instance

    /// A connection with the rights of this guest's door.
    package func door(_ service: ServiceName) throws -> Channel {
        let channel = try Channel.connect(instance.socket(service), timeout: 10)
        try introduce(channel, as: name, key: key, to: service)
        return channel
    }

    /// A connection with the rights of this guest's proxy, and the descriptors that came with it.
    package func proxy(_ service: ServiceName) throws -> (channel: Channel, descriptors: [Descriptor]) {
        let received = try door(service).exchange(Introduction.OpenProxyChannel.self, Nothing()).descriptors
        return (Channel(received[0]), Array(received.dropFirst()))
    }
}
