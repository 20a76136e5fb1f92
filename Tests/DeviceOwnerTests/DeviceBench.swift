// What every test of the device owner starts from: a chip, a bus, an instance, a device, guests.
import Glibc
import GuestIdentity
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing

@testable import DeviceOwner

final class DeviceBench {
    let directory: TemporaryInstance
    let chip: SimulatedChip
    let bus: Bus
    let guest = GuestID([UInt8](repeating: 0xA1, count: 32))!
    let otherGuest = GuestID([UInt8](repeating: 0xB2, count: 32))!

    init() throws {
        setenv("TSS2_LOG", "all+none", 1)
        directory = try TemporaryInstance()
        chip = try SimulatedChip(in: directory.path)
        bus = try Bus(before: chip)
    }
    deinit { bus.close() }

    var configuration: DeviceConfiguration {
        var configuration = DeviceConfiguration(instance: directory.instance, chip: ChipAddress("stream:\(bus.socket)"))
        configuration.limits.otherCommand = 800
        configuration.limits.keyGeneration = 30_000
        configuration.limits.retrying = 300
        configuration.limits.backoff = 20...100
        return configuration
    }

    /// A device with a root for `guest`.
    func device() throws -> Device {
        let device = try Device(configuration)
        try device.ensureGuest(guest)
        return device
    }

    /// Talks to the chip directly, as another program would; not while a device is connected.
    func direct<R>(_ body: (Chip) throws -> R) throws -> R {
        try body(Chip(ChipAddress("stream:\(bus.socket)"), limits: ChipLimits()))
    }
}

extension TwinSpec {
    static let p256Signer = TwinSpec(kind: .ecc(.p256), sign: true, decrypt: false, sensitiveDataOrigin: true, nameAlgorithm: .sha256)
    static let p256StorageKey = TwinSpec(
        kind: .ecc(.p256), sign: false, decrypt: true, sensitiveDataOrigin: true, nameAlgorithm: .sha256, isStorageKey: true)
    static let p256Agreer = TwinSpec(kind: .ecc(.p256), sign: false, decrypt: true, sensitiveDataOrigin: true, nameAlgorithm: .sha256)
    static let rsaDecrypter = TwinSpec(
        kind: .rsa(bits: 2048, exponent: 0), sign: false, decrypt: true, sensitiveDataOrigin: true, nameAlgorithm: .sha256)
    static let rsaSigner = TwinSpec(
        kind: .rsa(bits: 2048, exponent: 0), sign: true, decrypt: false, sensitiveDataOrigin: true, nameAlgorithm: .sha256)
    static let sealed = TwinSpec(kind: .sealed, sign: false, decrypt: false, sensitiveDataOrigin: false, nameAlgorithm: .sha256)
    static let givenHMAC = TwinSpec(kind: .hmac, sign: true, decrypt: false, sensitiveDataOrigin: false, nameAlgorithm: .sha256)
    static let madeHMAC = TwinSpec(kind: .hmac, sign: true, decrypt: false, sensitiveDataOrigin: true, nameAlgorithm: .sha384)
}

extension Device {
    func twin(_ spec: TwinSpec, data: [UInt8] = [], for guest: GuestID) throws -> Twin {
        Twin(try create(spec, data: data, for: guest), of: guest)
    }

    /// One value of the status report.
    func count(_ key: String) -> Int {
        Int(status(connections: 0).lines.first { $0.key == key }?.value ?? "") ?? -1
    }
}

extension Twin {
    var point: ECCPoint {
        guard case .ecc(let point) = object.area.unique else { preconditionFailure("not ECC") }
        return point
    }
    var modulus: [UInt8] {
        guard case .rsa(let modulus) = object.area.unique else { preconditionFailure("not RSA") }
        return modulus
    }

    func verifies(_ signature: Signature, _ digest: [UInt8]) -> Bool {
        switch (signature, object.area.parameters) {
        case (.ecc(_, _, let r, let s), .ecc(_, _, let curve, _)):
            verifyECDSA(curve: curve, point: point, digest: digest, r: r, s: s)
        case (.rsa(let scheme, let hash, let bytes), .rsa):
            RSAPublicKey(modulus: modulus, exponent: 0).verify(bytes, digest: digest, scheme: scheme, hash: hash)
        default: false
        }
    }
}

let someDigest = digest(.sha256, Array("paratpm".utf8))
let ecdsa = Scheme(.ecdsa, .sha256)

/// The result, as soon as there is one: a chip that comes back is tried again after a while.
func eventually<R>(_ body: () throws -> R) throws -> R {
    let deadline = milliseconds() + 5000
    while milliseconds() < deadline {
        if let result = try? body() { return result }
        usleep(20_000)
    }
    return try body()
}
