// paratpm-device's command line.
import Glibc
import GuestIdentity
import SystemMap
import TPMCrypto
import TPMWire

package enum DeviceDaemon {
    private static let chip = DaemonOption(
        "--chip", "TCTI", "the chip: any TCTI string, or stream:PATH (else PARATPM_CHIP, else \(ChipAddress.standard))")
    private static let hostHandle = DaemonOption(
        "--host-handle", "HANDLE", "persistent handle of the host root (\(HostRoot.standardHandle.hex))")
    private static let ownerAuth = DaemonOption(
        "--owner-auth-file", "FILE", "the owner hierarchy's auth, needed to make the host root (else the credential paratpm-owner-auth)")

    package static func main() -> Never {
        // What libtss2 has to say, our own messages say better; an explicit TSS2_LOG wins.
        setenv("TSS2_LOG", "all+none", 0)
        Daemon(
            .device, .device, summary: "The only process of paratpm that talks to the TPM.",
            options: [chip, hostHandle, ownerAuth, .policyUser]
        ).main(profile: { .device($0.instance, chip: address($0).access) }) { (arguments) throws(Failure) in
            let policy = try PolicyBook(arguments.instance, manager: arguments.manager)
            let device = try Device(try configuration(arguments))
            return DeviceService(device, arguments.instance, policy: policy, policyUser: try arguments.policyUser()).service
        }
    }

    private static func address(_ arguments: DaemonArguments) -> ChipAddress {
        let environment = getenv("PARATPM_CHIP").map { String(cString: $0) }
        return ChipAddress(arguments[chip] ?? environment ?? ChipAddress.standard)
    }

    static func configuration(_ arguments: DaemonArguments) throws(Failure) -> DeviceConfiguration {
        var configuration = DeviceConfiguration(instance: arguments.instance, chip: address(arguments))
        if let text = arguments[hostHandle] { configuration.hostHandle = try persistentHandle(text) }
        if let path = arguments[ownerAuth] ?? credential("paratpm-owner-auth") { configuration.ownerAuth = try readAuth(path) }
        return configuration
    }

    private static func persistentHandle(_ text: String) throws(Failure) -> TPMHandle {
        let digits = text.hasPrefix("0x") ? String(text.dropFirst(2)) : text
        guard let raw = UInt32(digits, radix: 16), TPMHandle(raw).kind == .persistent,
            TPMHandle(raw) < TPMHandle.platformPersistentFirst
        else { throw Failure(.usage, "--host-handle \(printable(text)) is not a handle from 0x81000000 to 0x817fffff") }
        return TPMHandle(raw)
    }

    /// The file's bytes without one newline at their end, and without trailing zeros, which no TPM counts (Part 1, 19.6.4.3).
    private static func readAuth(_ path: String) throws(Failure) -> Secret {
        guard var bytes = try Files.read(path, max: HashAlgorithm.largestDigest + 1) else {
            throw Failure(.noInput, "\(path) is missing")
        }
        defer { wipe(&bytes) }
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        while bytes.last == 0 { bytes.removeLast() }
        return Secret(bytes)
    }
}
