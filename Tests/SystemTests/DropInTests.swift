// What swtpm's users get besides sockets: a device on which commands come, prefixes in the log, keys that go, certificates.
import CSystem
import Foundation
import Testing
import TPMWire
import Wire

@Suite(.serialized) struct DropInTests {
    private let directory: TemporaryDirectory
    private let state: String

    init() throws {
        directory = try TemporaryDirectory()
        state = directory.path + "/state"
        try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
        try FileManager.default.createDirectory(atPath: directory.path + "/bin", withIntermediateDirectories: true)
        for (name, program) in [("swtpm", "paratpm-guest"), ("swtpm_setup", "paratpm-swtpm"), ("swtpm_ioctl", "paratpm-swtpm")] {
            try FileManager.default.createSymbolicLink(atPath: tool(name), withDestinationPath: Programs.path(program))
        }
    }

    private func tool(_ name: String) -> String { directory.path + "/bin/" + name }

    /// A pseudo terminal without line discipline: what one side writes the other reads, byte for byte.
    private func device() throws -> (ours: Int32, path: String) {
        var (master, slave): (Int32, Int32) = (-1, -1)
        guard openpty(&master, &slave, nil, nil, nil) == 0 else { throw HarnessError("no pseudo terminal") }
        let path = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(slave)")
        var settings = termios()
        tcgetattr(slave, &settings)
        cfmakeraw(&settings)
        tcsetattr(slave, TCSANOW, &settings)
        // Stays open, so that the settings stay.
        return (master, path)
    }

    private func exchange(_ descriptor: Int32, _ command: [UInt8]) throws -> [UInt8] {
        #expect(write(descriptor, command, command.count) == command.count)
        var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&polled, 1, 10_000) == 1 else { throw HarnessError("no response on the device") }
        var response = [UInt8](repeating: 0, count: 4096)
        return Array(response[..<max(0, read(descriptor, &response, response.count))])
    }

    @Test func aDeviceTakesCommandsAndTheKernelsOwn() throws {
        let broker = try Broker()
        let (device, path) = try device()
        defer { close(device) }
        let control = directory.path + "/ctrl"
        let child = try Child(
            tool("swtpm"), ["chardev", "--tpm2", "--chardev", path, "--tpmstate", "dir=\(state)", "--ctrl", "type=unixio,path=\(control)",
                "--flags", "startup-clear", "--pid", "file=\(directory.path)/pid"],
            environment: ["PARATPM_DIR": broker.directory.path], log: directory.path + "/log")
        try eventually("the pid file is there: \(child.log)") { access(directory.path + "/pid", F_OK) == 0 || !child.isRunning }
        let random = try exchange(device, CommandMessage(.getRandom, parameters: UInt16(8).wire).bytes)
        #expect(random.count == 20 && Array(random[6..<10]) == [0, 0, 0, 0], "\(child.log)")
        // TPM2_CC_SET_LOCALITY of the kernel's driver
        let setLocality: [UInt8] = [0x80, 1, 0, 0, 0, 11, 0x20, 0, 0x10, 0]
        #expect(try exchange(device, setLocality + [0]) == [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0])
        #expect(try exchange(device, setLocality + [3]) == [0x80, 1, 0, 0, 0, 10, 0, 0, 9, 7])
        #expect(try run(tool("swtpm_ioctl"), ["--unix", control, "-s"]).status == 0)
        try eventually("swtpm ends") { !child.isRunning }
        #expect(child.process.terminationStatus == 0)
    }

    @Test(.enabled(if: access("/dev/vtpmx", F_OK) != 0, "this kernel makes virtual TPM devices"))
    func withoutTheKernelsHelpThereIsNoVirtualDevice() throws {
        let refused = try run(tool("swtpm"), ["chardev", "--tpm2", "--tpmstate", "dir=\(state)", "--vtpm-proxy"])
        #expect(refused.status == 69)
        #expect(refused.output.contains("this kernel makes no virtual TPM devices: it has no /dev/vtpmx (modprobe tpm_vtpm_proxy)"))
    }

    @Test func theLogHasItsPrefixAndTheKeyItsEnd() throws {
        let broker = try Broker()
        let key = directory.path + "/key"
        try "secret".write(toFile: key, atomically: true, encoding: .utf8)
        let arguments = ["socket", "--tpm2", "--tpmstate", "dir=\(state)", "--ctrl", "type=unixio,path=\(directory.path)/c", "--key",
            "pwdfile=\(key),mode=aes-256-cbc,remove=true", "--log", "file=\(directory.path)/swtpm.log,level=1,prefix=[id=7] "]
        let child = try Child(tool("swtpm"), arguments, environment: ["PARATPM_DIR": broker.directory.path], log: directory.path + "/log")
        try eventually("it listens: \(child.log)") { access(directory.path + "/c", F_OK) == 0 }
        try eventually("the key is gone") { access(key, F_OK) != 0 }
        child.stop()
        let log = try String(contentsOfFile: directory.path + "/swtpm.log", encoding: .utf8)
        #expect(!log.isEmpty && log.split(separator: "\n").allSatisfy { $0.hasPrefix("[id=7] paratpm-guest: ") }, "\(log)")
        let again = try run(tool("swtpm"), arguments, environment: ["PARATPM_DIR": broker.directory.path])
        #expect(again.status == 73, "a key that is not there is an error")
    }

    @Test func setupSaysWhatTheHostCertified() throws {
        let broker = try Broker()
        func setup(_ name: String, _ more: String...) throws -> (status: Int32, output: String) {
            try FileManager.default.createDirectory(atPath: directory.path + "/" + name, withIntermediateDirectories: true)
            return try run(
                tool("swtpm_setup"), ["--tpm2", "--tpm-state", "\(directory.path)/\(name)", "--create-ek-cert", "--create-platform-cert", "--tpm", tool("swtpm")] + more,
                environment: ["PARATPM_DIR": broker.directory.path])
        }
        let before = try setup("before")
        #expect(before.status == 0 && before.output.contains("No certificates: the host has no identity yet"), "\(before.output)")
        #expect(try run(Programs.path("paratpmctl"), ["host", "init", "--dir", broker.directory.path]).status == 0)
        let after = try setup("after", "--write-ek-cert-files", directory.path)
        #expect(after.status == 0, "\(after.output)")
        for line in ["RSA 2048 EK: NV index 0x1c00002", "ECC EK (P-384): NV index 0x1c00016", "platform: NV index 0x1c08000"] {
            #expect(after.output.contains("The host certified the \(line)."), "\(after.output)")
        }
        for file in ["ek-rsa2048.crt", "ek-secp384r1.crt"] {
            #expect(try run("/usr/bin/openssl", ["x509", "-inform", "der", "-noout", "-in", "\(directory.path)/\(file)"]).status == 0)
        }
    }
}
