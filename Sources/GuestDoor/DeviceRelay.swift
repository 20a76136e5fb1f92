// swtpm chardev: a character device on which TPM commands come, one with each read, and take their responses, each in one write.
// A child of the door, forked before the door has read a secret, passes them on to the proxy, which knows sockets only.
import CSystem
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMWire

enum DeviceRelay {
    /// What the device has in the child (Profile.relay).
    static let device: Int32 = 3
    /// The largest command and response (TPM_PT_MAX_COMMAND_SIZE), which is also what the kernel's driver takes.
    private static let largest = 4096

    /// - Returns: the connection on which the commands come.
    static func start(_ device: DoorOptions.Device, allowsUnconfined: Bool) throws(Failure) -> Descriptor {
        let opened = try open(device)
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw Failure(.software, "cannot make a socket pair: \(describe(errno: errno))")
        }
        let (ours, theirs) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        let child = csystem_fork()
        guard child >= 0 else { throw Failure(.software, "cannot start a process: \(describe(errno: errno))") }
        if child == 0 { run(opened.raw, theirs.raw, allowsUnconfined) }
        return ours
    }

    private static func open(_ device: DoorOptions.Device) throws(Failure) -> Descriptor {
        switch device {
        case .path(let path):
            let raw = csystem_open(path, O_RDWR, 0)
            guard raw >= 0 else { throw Failure(.noInput, "cannot open \(path): \(describe(errno: errno))") }
            return Descriptor(owning: raw)
        case .descriptor(let raw):
            guard csystem_fcntl(raw, F_GETFD, 0) >= 0 else { throw Failure(.usage, "descriptor \(raw) was not passed to this process") }
            return Descriptor(owning: raw)
        case .virtual: return try makeVirtual()
        }
    }

    private static func makeVirtual() throws(Failure) -> Descriptor {
        let path = "/dev/vtpmx"
        let raw = csystem_open(path, O_RDWR, 0)
        guard raw >= 0 else {
            throw Failure(
                .unavailable, errno == ENOENT ? "this kernel makes no virtual TPM devices: it has no \(path) (modprobe tpm_vtpm_proxy)"
                    : "cannot open \(path): \(describe(errno: errno))")
        }
        let maker = Descriptor(owning: raw)
        var (number, major, minor): (UInt32, UInt32, UInt32) = (0, 0, 0)
        let made = csystem_vtpm_proxy(maker.raw, &number, &major, &minor)
        guard made >= 0 else { throw Failure(.unavailable, "\(path) makes no device: \(describe(errno: errno))") }
        print("New TPM device: /dev/tpm\(number) (major/minor = \(major)/\(minor))")
        fflush(nil)
        return Descriptor(owning: made)
    }

    // MARK: The child's side

    private static func run(_ source: Int32, _ socket: Int32, _ allowsUnconfined: Bool) -> Never {
        csystem_set_name("paratpm-relay")
        // Both out of the way of the number that the device is to have.
        let (high, door) = (csystem_fcntl(source, F_DUPFD, 64), csystem_fcntl(socket, F_DUPFD, 64))
        guard high >= 0, door >= 0, dup2(high, device) >= 0, csystem_close_from(4, UInt32(door)) == 0 else { _exit(EX_OSERR) }
        do { try confine(.relay, .guest, allowsUnconfined: allowsUnconfined) } catch {
            log(.error, .guest, "its relay: \(error.message)")
            _exit(ExitCode.unavailable.rawValue)
        }
        while serve(door) {}
        _exit(0)
    }

    /// One command there, and its response back. False: one of the two sides is gone.
    private static func serve(_ door: Int32) -> Bool {
        var polled = [device, door].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard poll(&polled, nfds_t(polled.count), -1) >= 0 else { return errno == EINTR }
        // Between commands the proxy says nothing: this is its end.
        guard polled[1].revents == 0 else { return false }
        guard polled[0].revents != 0 else { return true }
        var command = [UInt8](repeating: 0, count: largest)
        let count = read(device, &command, command.count)
        guard count > 0 else { return count < 0 && errno == EINTR }
        command.removeLast(command.count - count)
        guard let response = KernelCommand.answer(command) ?? pass(command, door) else { return false }
        return write(device, response, response.count) == response.count
    }

    private static func pass(_ command: [UInt8], _ door: Int32) -> [UInt8]? {
        guard csystem_send(door, command, command.count, nil, 0, 0) == command.count else { return nil }
        var response: [UInt8] = []
        var part = [UInt8](repeating: 0, count: largest)
        while true {
            let count = recv(door, &part, part.count, 0)
            guard count > 0 else { return nil }
            response += part[..<count]
            // Tag, size, code
            let size = response.dropFirst(2).prefix(4).reduce(0) { $0 << 8 | Int($1) }
            if response.count >= 10, response.count >= size { return response }
            guard response.count < largest else { return nil }
        }
    }
}

/// What the kernel's driver of virtual TPMs asks before its commands: TPM2_CC_SET_LOCALITY (drivers/char/tpm/tpm_vtpm_proxy.c).
enum KernelCommand {
    private static let setLocality: [UInt8] = [0x20, 0x00, 0x10, 0x00]

    /// nil: it is a command for the TPM. The kernel's own locality is 0; a guest's platform has no other way to claim more.
    static func answer(_ command: [UInt8]) -> [UInt8]? {
        guard command.count == 11, Array(command[6..<10]) == setLocality else { return nil }
        let code: TPMRC = command[10] == 0 ? .success : .locality
        return [0x80, 0x01, 0, 0, 0, 10] + code.rawValue.wire
    }
}
