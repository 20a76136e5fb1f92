// Both sides of sd_notify(3) and of the fd store.
import CSystem
import Glibc
import IPC
import Testing

@Suite(.serialized) struct ServiceManagerTests {
    private let path = (getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp") + "/paratpm-notify-\(getpid())"

    private func withManager(
        _ environment: [String: String] = [:], _ body: (NotificationSocket, ServiceManager) throws -> Void
    ) throws {
        let socket = try NotificationSocket(at: path)
        defer { unlink(path) }
        let all = environment.merging(["NOTIFY_SOCKET": path]) { $1 }
        try body(socket, ServiceManager { all[$0] })
    }

    @Test func whatAServiceSaysIsHeardWithItsSender() throws {
        try withManager { socket, manager in
            #expect(socket.next() == nil)
            manager.ready()
            manager.status("two\nlines")
            manager.reloading()
            let ready = try #require(socket.next())
            #expect(ready.isReady)
            #expect(ready.sender == getpid())
            #expect(socket.next()?.lines == ["STATUS=two"])
            let reloading = try #require(socket.next())
            #expect(reloading.lines.first == "RELOADING=1")
            #expect(reloading.value(of: "MONOTONIC_USEC").flatMap { UInt64($0) } != nil)
            #expect(socket.next() == nil)
        }
    }

    @Test func keptDescriptorsAreTheOnesThatWereSentUntilTheyAreForgotten() throws {
        try withManager { socket, manager in
            let files = ["one", "two", "one"].map { name in
                let file = Descriptor(owning: csystem_memfd(name))
                #expect(write(file.raw, name, 3) == 3)
                manager.keep(file, as: name)
                return file
            }
            var store = DescriptorStore()
            while let notification = socket.next() { store.take(notification) }
            #expect(store.kept.map(\.name) == ["one", "two", "one"])
            #expect(store.environment == ["LISTEN_FDS=3", "LISTEN_FDNAMES=one:two:one", "LISTEN_PID=0000000000"])
            #expect(inode(store.kept[1].descriptor) == inode(files[1]))
            manager.forget("one")
            if let notification = socket.next() { store.take(notification) }
            #expect(store.kept.map(\.name) == ["two"])
        }
    }

    private func inode(_ descriptor: Descriptor) -> ino_t {
        var status = stat()
        fstat(descriptor.raw, &status)
        return status.st_ino
    }

    @Test func aStoreTakesNoNameThatTheEnvironmentCannotCarry() throws {
        try withManager { socket, manager in
            let file = Descriptor(owning: csystem_memfd("file"))
            for name in ["", "a:b", "ä", String(repeating: "x", count: 256)] { manager.keep(file, as: name) }
            manager.keep(file, as: String(repeating: "x", count: 255))
            var store = DescriptorStore()
            while let notification = socket.next() { store.take(notification) }
            #expect(store.kept.map(\.name.utf8.count) == [255])
        }
    }

    @Test func aStoreHasAnEnd() throws {
        try withManager { socket, manager in
            let file = Descriptor(owning: csystem_memfd("file"))
            var store = DescriptorStore()
            for _ in 0...DescriptorStore.capacity {
                manager.keep(file, as: "x")
                while let notification = socket.next() { store.take(notification) }
            }
            #expect(store.kept.count == DescriptorStore.capacity)
        }
    }

    /// A child starts with what is kept, finds it by number and name, and knows that it is meant.
    @Test func aChildIsPassedWhatIsKept() throws {
        let file = Descriptor(owning: csystem_memfd("kept"))
        #expect(write(file.raw, "kept\n", 5) == 5)
        lseek(file.raw, 0, SEEK_SET)
        let (ours, theirs) = try Descriptor.pair()
        let script = "read word <&3; [ \"$LISTEN_PID\" = $$ ] && [ \"$LISTEN_FDS:$LISTEN_FDNAMES\" = 1:name ] && echo $word >&4"
        func strings(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] { texts.map { strdup($0) } + [nil] }
        let arguments = strings(["/bin/sh", "-c", script])
        let environment = strings(["LISTEN_FDS=1", "LISTEN_FDNAMES=name", "LISTEN_PID=0000000000"])
        defer { (arguments + environment).forEach { free($0) } }
        let pid = csystem_spawn("/bin/sh", arguments, environment, [file.raw, theirs.raw], [3, 4], 2, SIGKILL)
        #expect(pid > 0)
        #expect(String(decoding: try Channel(ours).receive().bytes, as: UTF8.self) == "kept\n")
        waitpid(pid, nil, 0)
    }

    @Test func theWatchdogIsAnsweredTwiceInItsTime() throws {
        try withManager(["WATCHDOG_USEC": "40000", "WATCHDOG_PID": "\(getpid())"]) { socket, manager in
            let timer = try #require(manager.watchdogTimer())
            var polled = pollfd(fd: timer.raw, events: Int16(POLLIN), revents: 0)
            #expect(poll(&polled, 1, 2000) == 1)
            manager.answer(timer)
            #expect(socket.next()?.lines == ["WATCHDOG=1"])
        }
        try withManager(["WATCHDOG_USEC": "40000", "WATCHDOG_PID": "1"]) { _, manager in
            #expect(manager.watchdogTimer() == nil, "another process is meant")
        }
    }
}
