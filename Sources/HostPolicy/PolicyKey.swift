// The words of policy files: every key once, with its unit, its range, what it means and where it is enforced. The files' reader,
// `paratpmctl policy show` and docs/policy.md read this.
import SystemMap
import TPMWire

package enum PolicyKey: String, CaseIterable, Sendable {
    case commands
    case deniedCommands = "deny-commands"
    case algorithms
    case deniedAlgorithms = "deny-algorithms"
    case curves
    case rsaBits = "rsa-bits"
    case aesBits = "aes-bits"
    case nvBytes = "nv-bytes"
    case nvIndices = "nv-indices"
    case persistentObjects = "persistent-objects"
    case primaries
    case transientObjects = "transient-objects"
    case sessions
    case weight
    case operationsPerSecond = "operations-per-second"
    case keyGenerationsPerMinute = "key-generations-per-minute"
    case localities
    case hostBinding = "host-binding-pcrs"
    case hostBindingVPCR = "host-binding-vpcr"
    case deepQuotePCRs = "deep-quote-pcrs"
    case users
    case groups

    /// The process that enforces it: one that the limited process cannot get around. What the guest's own proxy enforces concerns its TPM
    /// alone.
    package var enforcedBy: Role {
        switch self {
        case .commands, .deniedCommands, .algorithms, .deniedAlgorithms, .curves, .rsaBits, .aesBits, .nvBytes, .nvIndices,
            .persistentObjects, .primaries, .transientObjects, .sessions: .proxy
        case .weight, .operationsPerSecond, .keyGenerationsPerMinute: .device
        case .localities: .pcr
        case .hostBinding, .hostBindingVPCR, .deepQuotePCRs: .policy
        // Every service checks it at each introduction.
        case .users, .groups: .policy
        }
    }

    /// Who enforces it, in words.
    package var enforcement: String { "enforced by " + enforcedBy.rawValue }

    package var meaning: String {
        switch self {
        case .commands: "the TPM commands that the guest's TPM has; “all” for all of them"
        case .deniedCommands: "commands that it does not have all the same"
        case .algorithms: "the algorithms that the guest's TPM has, besides those that every TPM needs; “all” for all of them"
        case .deniedAlgorithms: "algorithms that it does not have all the same"
        case .curves: "elliptic curves"
        case .rsaBits: "sizes of RSA keys, in bits"
        case .aesBits: "sizes of AES keys, in bits"
        case .nvBytes: "bytes of NV indices, their public areas included"
        case .nvIndices: "NV indices"
        case .persistentObjects: "persistent objects"
        case .primaries: "different primary keys"
        case .transientObjects: "loaded transient objects and sequences"
        case .sessions: "sessions, loaded and saved"
        case .weight: "share of the chip's time, in proportion to other guests' weights"
        case .operationsPerSecond: "requests to the chip in a second; 0 is no limit"
        case .keyGenerationsPerMinute: "keys that the chip makes in a minute; 0 is no limit"
        case .localities: "localities that the guest's platform may claim"
        case .hostBinding: "host PCRs that are measured into a vPCR of the guest before anything else, at each start"
        case .hostBindingVPCR: "the vPCR that they are measured into"
        case .deepQuotePCRs: "host PCRs that the guest's deep quotes cover; with none of them it has no deep quotes"
        case .users: "users who may run the guest's door; with groups empty too: any"
        case .groups: "groups whose members may run the guest's door"
        }
    }

    /// What of `policy` the key says, as a file would say it; nothing for what denies, which shows in what is allowed.
    package func words(of policy: GuestPolicy) -> [String] {
        if let number = PolicyNumber[self] { return [String(policy[keyPath: number.path])] }
        switch self {
        case .commands: return PolicyWords.names(of: policy.commands)
        case .algorithms: return PolicyWords.algorithms.filter { policy.algorithms.contains($0.value) }.map(\.name)
        case .curves: return PolicyWords.curves.filter { policy.curves.contains($0.value) }.map(\.name)
        case .rsaBits: return policy.rsaBits.sorted().map(String.init)
        case .aesBits: return policy.aesBits.sorted().map(String.init)
        case .localities: return policy.localities.numbers.map(String.init)
        case .hostBinding: return policy.hostBinding.numbers.map(String.init)
        case .deepQuotePCRs: return policy.deepQuotePCRs.numbers.map(String.init)
        case .users: return policy.connect.users.sorted().map(String.init)
        case .groups: return policy.connect.groups.sorted().map(String.init)
        default: return []
        }
    }
}

/// A key whose value is one number.
package struct PolicyNumber: Sendable {
    package let key: PolicyKey
    package let path: WritableKeyPath<GuestPolicy, Int> & Sendable
    package let range: ClosedRange<Int>

    /// In the order of the compact form.
    package static let all: [PolicyNumber] = [
        PolicyNumber(key: .nvBytes, path: \.quotas.nvBytes, range: 0...64 * 1024),
        PolicyNumber(key: .nvIndices, path: \.quotas.nvIndices, range: 0...256),
        PolicyNumber(key: .persistentObjects, path: \.quotas.persistentObjects, range: 0...64),
        PolicyNumber(key: .primaries, path: \.quotas.primaries, range: 0...256),
        // The least that a PC Client TPM has (its profile, 5.5)
        PolicyNumber(key: .transientObjects, path: \.quotas.transientObjects, range: 3...1000),
        PolicyNumber(key: .sessions, path: \.quotas.sessions, range: 3...64),
        PolicyNumber(key: .weight, path: \.share.weight, range: 1...10_000),
        PolicyNumber(key: .operationsPerSecond, path: \.share.operationsPerSecond, range: 0...1_000_000),
        PolicyNumber(key: .keyGenerationsPerMinute, path: \.share.keyGenerationsPerMinute, range: 0...1_000_000),
        // Those above can be reset.
        PolicyNumber(key: .hostBindingVPCR, path: \.hostBindingVPCR, range: 0...15),
    ]

    /// Those that are amounts of something.
    package static var quotas: [PolicyNumber] { all.filter { $0.key != .hostBindingVPCR } }

    package static subscript(_ key: PolicyKey) -> PolicyNumber? { all.first { $0.key == key } }
}

package enum PolicyWords {
    /// Algorithms that a guest's TPM can do without. (SHA-256, HMAC, AES in CFB mode and the key derivations are what sessions, Names
    /// and saved contexts are made of.)
    package static let algorithms: [(name: String, value: TPMAlgorithm)] = [
        ("rsa", .rsa), ("ecc", .ecc), ("symcipher", .symcipher), ("sha1", .sha1), ("sha384", .sha384), ("sha512", .sha512),
        ("rsassa", .rsassa), ("rsapss", .rsapss), ("rsaes", .rsaes), ("oaep", .oaep), ("ecdsa", .ecdsa), ("ecdh", .ecdh),
        ("ecdaa", .ecdaa), ("ecschnorr", .ecschnorr), ("xor", .xor), ("cmac", .cmac), ("ctr", .ctr), ("ofb", .ofb), ("cbc", .cbc), ("ecb", .ecb),
    ]
    /// May be named, and are there in any case.
    package static let requiredAlgorithms = [
        "sha256", "hmac", "aes", "cfb", "keyedhash", "mgf1", "kdf1-sp800-56a", "kdf1-sp800-108", "kdf2",
    ]
    package static let curves: [(name: String, value: ECCCurve)] = [
        ("p256", .p256), ("p384", .p384), ("p521", .p521), ("bn-p256", .bnP256),
    ]
    package static let rsaBits = Vocabulary.rsaBits
    package static let aesBits = Vocabulary.aesBits

    /// Without these no driver finds a TPM.
    package static let requiredCommands: Set<TPMCommandCode> = [
        .startup, .shutdown, .selfTest, .getTestResult, .getCapability, .flushContext,
    ]

    /// Which key a word of the TPM's belongs to, and what it is called there.
    package static func name(of word: Vocabulary.Word) -> (key: PolicyKey, name: String) {
        switch word {
        case .algorithm(let value): (.algorithms, algorithms.first { $0.value == value }?.name ?? "")
        case .curve(let value): (.curves, curves.first { $0.value == value }?.name ?? "")
        case .rsaBits(let bits): (.rsaBits, String(bits))
        case .aesBits(let bits): (.aesBits, String(bits))
        }
    }

    /// The code of a command by its name in Part 3, with or without TPM2_.
    package static func command(_ name: String) -> TPMCommandCode? {
        let short = name.hasPrefix("TPM2_") ? String(name.dropFirst(5)) : name
        return CommandTable.rows.first { $0.name == short }?.code
    }

    package static func names(of commands: Set<TPMCommandCode>) -> [String] {
        CommandTable.rows.filter { commands.contains($0.code) }.map(\.name)
    }
}
