// swift-tools-version: 6.1
// paratpm: one hardware TPM 2.0 shared safely by many virtual machines.
// The floors of the house are described in docs/architecture.md; arrows go down only.
import PackageDescription

/// Small daemons are fully static in release builds: least memory, no loader, nothing to open at start.
let staticDaemon: [LinkerSetting] = [
    .unsafeFlags(
        ["-static-executable", "-use-ld=lld", "-Xclang-linker", "-static-pie"],
        .when(configuration: .release))
]

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies)
}

/// A small daemon: of libcrypto it has the arithmetic alone.
func daemon(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies + ["CLibcryptoCore"], linkerSettings: staticDaemon)
}

let package = Package(
    name: "paratpm",
    products: [
        .executable(name: "paratpm-device", targets: ["paratpm-device"]),
        .executable(name: "paratpm-pcr", targets: ["paratpm-pcr"]),
        .executable(name: "paratpm-policy", targets: ["paratpm-policy"]),
        .executable(name: "paratpm-guest", targets: ["paratpm-guest"]),
        .executable(name: "paratpm-proxy", targets: ["paratpm-proxy"]),
        .executable(name: "paratpm-swtpm", targets: ["paratpm-swtpm"]),
        .executable(name: "paratpmctl", targets: ["paratpmctl"]),
        .library(name: "Attestation", targets: ["Attestation"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
        // Verifiers' and the command-line tool's; no daemon links them.
        .package(url: "https://github.com/apple/swift-asn1", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.10.0"),
        .package(url: "https://github.com/apple/swift-crypto", "3.12.3"..<"6.0.0"),
    ],
    targets: [
        // Floor 0: C libraries and shims, and the byte cursor.
        .target(name: "CSystem"),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .target(name: "CLibcryptoCore", cSettings: [.define("PARATPM_STATIC", .when(configuration: .release))]),
        .systemLibrary(name: "CTSS2", pkgConfig: "tss2-tctildr", providers: [.apt(["libtss2-dev"])]),
        .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
        library("Wire"),

        // Floor 1: the TPM's language, and our own between processes.
        library("TPMWire", ["Wire"]),
        library("IPC", ["Wire", "CSystem"]),
        library("Sandbox", ["CSystem", "CSeccomp"]),

        // Floor 2: cryptography, the hypervisor's protocol, the whole system on one page.
        // CryptoBase keeps libcrypto's big numbers, and their 350 kB of tables, out of processes that only hash and sign in.
        library("CryptoBase", ["TPMWire", "CCrypto"]),
        library("TPMCrypto", ["CryptoBase"]),
        library("ControlChannel", ["Wire"]),
        library("SystemMap", ["TPMWire", "IPC", "Sandbox"]),
        // What the host's administrator allows each guest; its compact form. The text form is paratpmctl's alone.
        library("HostPolicy", ["SystemMap"]),
        library("PolicyFiles", ["HostPolicy", "GuestIdentity", .product(name: "TOMLKit", package: "TOMLKit")]),

        // Floor 3: the guest's TPM, and the arithmetic of policy sessions.
        library("EnhancedAuthorization", ["TPMWire", "TPMCrypto", "SystemMap"]),
        library("VirtualTPM", ["TPMWire", "TPMCrypto", "SystemMap", "EnhancedAuthorization"]),

        // Deep quotes, hosts' evidence and certificates as they are made. Then who verifies them: a library for verifiers elsewhere, which
        // re-exports the formats. It links swift-certificates and, with it, Foundation, so no daemon depends on it.
        library("AttestationFormats", ["TPMWire", "TPMCrypto"]),
        library("Attestation", [
            "AttestationFormats", .product(name: "SwiftASN1", package: "swift-asn1"), .product(name: "X509", package: "swift-certificates"),
        ]),

        // The chip's callers' side: sessions with it, and the public areas of what it makes for us.
        library("ChipClient", ["SystemMap", "TPMCrypto"]),

        // Floor 4: the roles.
        library("GuestIdentity", ["SystemMap", "HostPolicy", "CryptoBase"]),
        library("DeviceOwner", ["SystemMap", "TPMCrypto", "ChipClient", "AttestationFormats", "GuestIdentity", "CTSS2"]),
        library("PCRStore", ["SystemMap", "CryptoBase", "GuestIdentity"]),
        library("PolicyChecker", ["SystemMap", "TPMCrypto", "ChipClient", "EnhancedAuthorization", "AttestationFormats", "GuestIdentity"]),
        library("GuestDoor", ["SystemMap", "ControlChannel", "GuestIdentity", "CryptoBase"]),
        library("GuestProxy", ["SystemMap", "HostPolicy", "VirtualTPM", "EnhancedAuthorization"]),

        // What swtpm's users find beside it: swtpm_setup and swtpm_ioctl.
        library("SwtpmTools", ["SystemMap", "ControlChannel", "GuestIdentity", "CSystem"]),

        // Floor 5: thin mains.
        // The TCTI loader and the command-line tool are dynamic.
        .executableTarget(name: "paratpm-device", dependencies: ["DeviceOwner"]),
        daemon("paratpm-pcr", ["PCRStore"]),
        daemon("paratpm-policy", ["PolicyChecker"]),
        daemon("paratpm-guest", ["GuestDoor"]),
        daemon("paratpm-proxy", ["GuestProxy"]),
        daemon("paratpm-swtpm", ["SwtpmTools"]),
        .executableTarget(
            name: "paratpmctl",
            dependencies: [
                "GuestIdentity", "PolicyFiles", "Attestation", "ChipClient", "TPMCrypto",
                .product(name: "ArgumentParser", package: "swift-argument-parser"), .product(name: "Crypto", package: "swift-crypto"),
            ]),

        // What paratpm costs, measured (scripts/bench).
        .executableTarget(name: "paratpm-bench", dependencies: ["TPMWire", "TPMCrypto", "IPC", "SystemMap", "CSystem"]),

        .target(name: "RunningService", dependencies: ["GuestIdentity"], path: "Tests/RunningService"),
        // Enters profiles and tries what they permit and what they do not: for SandboxTests.
        .target(name: "CAttempts", path: "Tests/CAttempts"),
        .executableTarget(name: "paratpm-confined", dependencies: ["SystemMap", "CSeccomp", "CAttempts"], path: "Tests/Confined"),
        .testTarget(name: "SandboxTests", dependencies: ["SystemMap", "RunningService"]),
        .testTarget(name: "WireTests", dependencies: ["Wire", "TPMWire"]),
        .testTarget(name: "IPCTests", dependencies: ["IPC", "CSystem", "SystemMap"]),
        .testTarget(name: "TPMCryptoTests", dependencies: ["CryptoBase", "TPMCrypto"]),
        .testTarget(name: "ControlChannelTests", dependencies: ["ControlChannel", "GuestDoor"]),
        .testTarget(name: "AttestationTests", dependencies: ["Attestation"]),
        .testTarget(name: "SwtpmToolsTests", dependencies: ["SwtpmTools"]),
        .testTarget(name: "PolicyTests", dependencies: ["PolicyChecker", "PCRStore", "RunningService"]),
        .testTarget(name: "GateTests", dependencies: ["DeviceOwner", "PCRStore", "PolicyChecker", "Attestation", "RunningService"]),
        .testTarget(name: "HostPolicyTests", dependencies: ["HostPolicy", "PolicyFiles"]),
        .testTarget(name: "PCRStoreTests", dependencies: ["PCRStore", "RunningService"]),
        .testTarget(name: "DeviceOwnerTests", dependencies: ["DeviceOwner", "Attestation", "RunningService"]),
        .testTarget(name: "VirtualTPMTests", dependencies: ["VirtualTPM", "PCRStore", "PolicyChecker"]),
        .testTarget(name: "GuestProxyTests", dependencies: ["GuestProxy"]),
        // What stands in paratpm-proxy's place when a guest has taken it over: for SystemTests.
        .executableTarget(name: "paratpm-hostile-proxy", dependencies: ["CSystem", "IPC", "SystemMap"], path: "Tests/HostileProxy"),
        .testTarget(
            name: "SystemTests",
            dependencies: [
                "CSystem", "EnhancedAuthorization", "GuestIdentity", "HostPolicy", "IPC", "SystemMap", "TPMCrypto", "TPMWire", "Wire", "paratpm-hostile-proxy",
                "RunningService",
            ]),
    ],
    swiftLanguageModes: [.v6]
)

// scripts/fuzz: the one executable that is only built when asked for, since libFuzzer brings its own main.
if Context.environment["PARATPM_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "paratpm-fuzz",
            dependencies: ["VirtualTPM", "ControlChannel", "GuestProxy", "PCRStore", "PolicyChecker"], path: "Tests/Fuzz", exclude: ["Corpus"],
            swiftSettings: [.unsafeFlags(["-parse-as-library"])]))
}
