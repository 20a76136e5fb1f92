// What the Policy commands do to a session. Digests and response codes are those of swtpm 0.7.1 with libtpms 0.9.2, recorded
// from sessions of each hash, policy and trial, on a TPM fresh from Startup(CLEAR).
import CryptoBase
import EnhancedAuthorization
import SystemMap
import TPMWire
import Testing

private let zeros = [UInt8](repeating: 0, count: 32)
private func session(_ hash: HashAlgorithm = .sha256, isTrial: Bool = false, startTime: UInt64 = 5_000) -> PolicyState {
    PolicyState(hash: hash, isTrial: isTrial, startTime: startTime)
}

/// PCR 0, 7 and 16 after Startup
private let fresh = PCRReading(generation: 41, digests: [zeros, zeros, zeros])
private let pcrs = PolicyStep.pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [0, 7, 16])])
private let unseal = PolicyStep.commandCode(.unseal)

@Suite struct PolicyDigestTests {
    /// In the order of HashAlgorithm.allCases.
    struct Known: Sendable {
        let name: String
        let steps: [PolicyStep]
        let reading: PCRReading?
        let digests: [String]
    }

    static let known: [Known] = [
        Known(name: "PCR 0, 7, 16", steps: [pcrs], reading: fresh, digests: [
            "f254de801e1b696dbf11def3b81fb60db39d924d",
            "2c7aaa7f9bcfbd78c8e77afa54b30c36a9db0d24520412274ee010f8ce29ae35",
            "22c21f03b6b84f7387c06e1ba426b70b06a2ecaaeeb5cf2d882ee0c372af1e689a458c93f216f6293c6615038d4841e1",
            "5987c97500d5ef2ab478d8885c6ca632d9533603b449f5e15b2a78047a08c4a4"
                + "53b2e017f11337c8a9f9328d1a9fd764903247a544efd662e46d1ab1758850e7",
        ]),
        Known(name: "no PCR", steps: [.pcr(expected: [], selection: [])], reading: PCRReading(generation: 41, digests: []), digests: [
            "bf57cad9e4a7326101260fb5d0d9f3820d636a08",
            "0236b3d936e962df76207a2402de6096ec64c2aafc9b1ed3b4adb5b6754f010e",
            "656932859ff2614df96224c5d9e8e6827fcdf46e7e74e367b43c43f38ba78c6125ec7eb3b975be89f582deb8e580849e",
            "598589262e1e6613e7e0b9389bc01b025aed52f670bc15e9cfef6769fe2e191b"
                + "1962d3f6fca12788c7011b4f6797178823f38efdd29c6d3bfa41b1dbe4df4b0f",
        ]),
        Known(
            name: "SHA-1 PCR 1 and SHA-256 PCR 17",
            steps: [.pcr(expected: [], selection: [PCRSelection(.sha1, pcrs: [1]), PCRSelection(.sha256, pcrs: [17])])],
            reading: PCRReading(
                generation: 41, digests: [[UInt8](repeating: 0, count: 20), [UInt8](repeating: 0xFF, count: 32)]),
            digests: [
                "56dfd9ea39bc2de1a89e958636834ca5b1452d1c",
                "f0576c5a23821b5f168440005164a3a6219762e554a564d88a22e20913b6d56a",
                "72be0ba632c0be1f708044de49a147f2764d844af37df83fd1a71a184ba013a776424a15f5a709b3f23e15352513f04f",
                "e3f5a90b4ae87cb4b94c48c204dca366bf0745909b5015a9d87e373af27a2dfb"
                    + "fa4439b351b32f1c15bc525e9066b5718944143875a4427432697a1dc498046a",
            ]),
        Known(name: "AuthValue", steps: [.authValue], reading: nil, digests: [
            "af6038c78c5c962d37127e319124e3a8dc582e9b",
            "8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e",
            "0eb13321e885c9603d394e1c33976d4660517111f440d377585f66a94a0eee0a7f73d10b68edc48f61bd3c8385dcddf5",
            "7e449b52cb9d5360379cbb1d874b8be572eaca3d387d6376edcbc50699903608"
                + "711483dd07796b436a26a558aae221bfce15e8ae353c08962ae6c6b19ef16932",
        ]),
        Known(name: "AuthValue, Password", steps: [.authValue, .password], reading: nil, digests: [
            "0b2b31d7e69c17e1290db89d397dfae8aaecbfc6",
            "759ebd5ed65100e0b4aa2d04b4b789c2672d92ecc9cdda4b5fa16a303132e008",
            "c1bdd70a5dc4a581dc987a3ac60273ea1ad440dbfe5be90d8cba85d412e5898286a64a87b13723465bf284171bb77577",
            "09f8357a81e18728d3f233e387c8f826647aab9e3ea983f98bb05692329676ae"
                + "41e8912becc5e67624aa51ab1da1b24679249f93ff2364ded0d2a15bfa36e47f",
        ]),
        Known(name: "CommandCode(Unseal)", steps: [unseal], reading: nil, digests: [
            "4ebd9e4f779e20238060df3d7fb5c501ecca28c9",
            "e613137076524bde487533865884e9732ebee3aacb095d94a6de492ec06c46fa",
            "2ecf2999333c2abf21d7bce168c69b4ea70812de16d37a434c0490fc4f54d78ced00e48b559e721691e9f1d591d981a8",
            "e1137c5ee1f6ddf731a2845dad25cdd5e8b2d034db69ff56fc3a009fe7e9f7b0"
                + "4c6703a231207c0457fb0b79cd5059a899deebc01a8d657a17204cebc3cbf4a7",
        ]),
        Known(name: "CommandCode(Unseal) twice", steps: [unseal, unseal], reading: nil, digests: [
            "faa0d5ba82f796e9f8c98d27e3dd1d6b98324af3",
            "bcae18a9e87dfc09aa14ed7d45647407eda6a32680a6598aa4ccb3c8f43f5469",
            "176706f2c39ef7ddbddd1b654ad2ac8c9fa4696716620638669613ae5277c15a48639b3502e05f9367a09e48fc19040a",
            "6c698aa72d0bae71174014229632e8e366f1148bfe93e21cc232c8318f7bbe36"
                + "3c39f69dd4c11136544482189d1919e4a939f68e4efab935b80ec81c46cf5896",
        ]),
        Known(name: "Secret(owner)", steps: [secret()], reading: nil, digests: [
            "05eb37f4644fdff8336f8f701111d204781087cb",
            "0d84f55daf6e43ac97966e62c9bb989d3397777d25c5f749868055d65394f952",
            "2d3c5744c2486b112cfb9c129d54df3dce15eb917a7006ee5cd51a75c733cb731b6a0a474f6ad906be61e18263adef92",
            "ef767b7d2afd330a343689ea13f807bbff0128eb436a1c9397d6e0df103371df"
                + "ffd19b1c0241ba561ac4f7d996cd0881a892786985c3b5c3d366e3bdbbf0b2bc",
        ]),
        Known(name: "Secret(owner, \"ref\")", steps: [secret(policyRef: Array("ref".utf8))], reading: nil, digests: [
            "0a03f6c09feee98295b6fa807c54c6d21bf12603",
            "9586343a9dc675ef35af0f7d375bf6554fd161bee76216eb67f1ebcc901c9265",
            "587186a2a1beefba1cdcc6310105bf93092e8e66842d431a7f37691ad59badc7f664bf3ecd82dc38a7b7b84fd224ebe6",
            "2e9e7f9e17fc164a7090d395420aff035f4a77ee29448500423f2dcb838177a7"
                + "e8106649b1c53a9c87c252d98f0fc4a98f36d3b6ba1025121f892d986b5c58cc",
        ]),
    ]

    @Test(arguments: known) func digestsAreThoseOfAStockTPM(_ known: Known) throws {
        for (hash, expected) in zip(HashAlgorithm.allCases, known.digests) {
            for isTrial in [false, true] {
                var state = session(hash, isTrial: isTrial)
                for step in known.steps { try state.apply(step, pcrs: known.reading) }
                #expect(hexString(state.policyDigest) == expected, "\(hash), trial: \(isTrial)")
            }
        }
    }

    /// PolicyOR over 01…01 (32 bytes, whatever the hash) and the digest of the empty policy
    @Test(arguments: zip(HashAlgorithm.allCases, [
        "697e8c9f7ea55aa944a735e4991e306d609dd2ff",
        "8c97bef7585a436737dfa0390d7ac4f3e58e10fc2fcce35b73875e2e080d3c72",
        "c1c27393f8fd9a12bfbc132e2092b07c901c0929d0e24e370a1334580b68238d8f5e74bb6ffca4b71a92dc24f0a78b12",
        "eb58005019608c1393eebafeb37d473d4fcc03433ef79c981412e753c95342b8"
            + "7b4ffef5c5a4875b4039bfd42440810672949110064fad84c6905f222f0b127d",
    ])) func branchesMeet(_ hash: HashAlgorithm, _ expected: String) throws {
        var state = session(hash)
        try state.apply(.or([[UInt8](repeating: 1, count: 32), state.policyDigest]))
        #expect(hexString(state.policyDigest) == expected)
    }

    @Test func aTrialSessionTakesTheCallersDigests() throws {
        var state = session(isTrial: true)
        let step = PolicyStep.pcr(expected: [UInt8](repeating: 0x11, count: 32), selection: [PCRSelection(.sha256, pcrs: [0])])
        #expect(state.pcrsNeeded(for: step) == nil)
        try state.apply(step)
        #expect(hexString(state.policyDigest) == "c3ba1cdea1642b2d3d100f26b702510946d14306460ce5c297af5d9aeb84cd5a")
        state = session(isTrial: true)
        try state.apply(.or([[UInt8](repeating: 1, count: 32), [UInt8](repeating: 2, count: 32)]))
        #expect(hexString(state.policyDigest) == "b7f2739ce512b4d913cf42f92ce548cec940017dd3149d7c38ab236ff8e50fc3")
    }

    @Test func restartForgetsAllButWhatTheSessionBeganWith() throws {
        var state = session()
        for step in [.authValue, unseal, secret(cpHash: zeros, expiration: 10)] { try state.apply(step) }
        try state.apply(pcrs, pcrs: fresh)
        #expect(state != session())
        try state.apply(.restart)
        #expect(state == session())
    }
}

@Suite struct PolicyRefusalTests {
    private func code(_ state: PolicyState, _ steps: PolicyStep..., reading: PCRReading? = nil) -> UInt32 {
        var state = state
        for step in steps {
            let before = state
            do throws(TPMRC) {
                try state.apply(step, pcrs: reading)
            } catch {
                #expect(state == before, "a refused step changes nothing")
                return error.rawValue
            }
        }
        return 0
    }

    @Test func codesAreThoseOfAStockTPM() {
        let ones = [UInt8](repeating: 1, count: 32)
        let wrong = PolicyStep.pcr(expected: [UInt8](repeating: 0x11, count: 32), selection: [PCRSelection(.sha256, pcrs: [0])])
        #expect(code(session(), wrong, reading: PCRReading(generation: 1, digests: [zeros])) == 0x1C4)
        #expect(code(session(), unseal, .commandCode(.sign)) == 0x1C4)
        #expect(code(session(isTrial: true), unseal, .commandCode(.sign)) == 0x1C4)
        for unknown: UInt32 in [0, 0x1FF, 0x2000_0000] {
            #expect(code(session(), .commandCode(TPMCommandCode(unknown))) == 0x1E4)
        }
        #expect(code(session(), .or([])) == 0x1D5)
        #expect(code(session(), .or([zeros])) == 0x1D5)
        #expect(code(session(), .or(Array(repeating: zeros, count: 9))) == 0x1D5)
        #expect(code(session(isTrial: true), .or([zeros])) == 0x1D5)
        #expect(code(session(), .or([ones, [UInt8](repeating: 2, count: 32)])) == 0x1C4)
        #expect(code(session(), secret(nonce: [1])) == 0x1CF)
        #expect(code(session(), secret(nonce: [UInt8](repeating: 1, count: 16))) == 0x1CF)
        #expect(code(session(), secret(cpHash: [1, 1, 1, 1, 1])) == 0x2D5)
        #expect(code(session(), secret(cpHash: ones), secret(cpHash: zeros)) == 0x151)
        #expect(code(session(), secret(cpHash: ones), secret(cpHash: ones)) == 0)
        #expect(code(session(), secret(nonce: nonce, expiration: -1)) == 0x4E3)
        #expect(code(session(), secret(nonce: nonce, expiration: 6)) == 0)
        #expect(code(session(), secret(expiration: 9)) == 0x4E3)
        #expect(code(session(), secret(expiration: 10)) == 0)
    }

    @Test func aTrialSessionChecksNoAuthorization() {
        #expect(code(session(isTrial: true), secret(cpHash: [1], nonce: [1], expiration: 1)) == 0)
    }

    @Test func pcrsMustNotChangeWithinASession() throws {
        var state = session()
        try state.apply(pcrs, pcrs: fresh)
        #expect(code(state, pcrs, reading: fresh) == 0)
        #expect(code(state, pcrs, reading: PCRReading(generation: 42, digests: fresh.digests)) == 0x128)
        #expect(code(state, .restart, pcrs, reading: PCRReading(generation: 42, digests: fresh.digests)) == 0)
    }

    @Test func theExpectedPCRDigestIsOverTheValuesInOrder() throws {
        let values = [[UInt8](repeating: 3, count: 32), [UInt8](repeating: 4, count: 32)]
        let reading = PCRReading(generation: 7, digests: values)
        let selection = [PCRSelection(.sha256, pcrs: [1, 2])]
        var state = session()
        try state.apply(.pcr(expected: digest(.sha256, values[0], values[1]), selection: selection), pcrs: reading)
        #expect(state.pcrGeneration == 7)
        #expect(code(session(), .pcr(expected: digest(.sha256, values[1], values[0]), selection: selection), reading: reading) == 0x1C4)
    }

    @Test func withoutValuesThereIsNoPolicyPCR() {
        #expect(code(session(), pcrs) == TPMRC.failure.rawValue)
        #expect(code(session(isTrial: true), pcrs) == TPMRC.failure.rawValue)
    }
}

@Suite struct PolicySecretTests {
    @Test func theEarliestTimeLimitCounts() throws {
        var state = session()
        try state.apply(secret(nonce: nonce, expiration: 100))
        #expect(state.timeout == 105_000)
        try state.apply(secret(expiration: 60))
        #expect(state.timeout == 60_123)
        try state.apply(secret(expiration: 3000))
        #expect(state.timeout == 60_123)
        try state.apply(secret())
        #expect(state.timeout == 60_123)
    }

    /// swtpm at 10123 ms: 8000000000002713 for -10 seconds at ….003
    @Test func aNegativeExpirationAsksForATicket() throws {
        var state = session()
        let given = try #require(try state.apply(secret(policyRef: [9], expiration: -11)))
        #expect(hexString(given.timeout) == "8000000000002b73")
        #expect(given.ticket.tag == StructureTag.authSecret)
        #expect(given.ticket.hierarchy == .owner)
        let sessionTicket = try #require(try state.apply(secret(nonce: nonce, expiration: -10)))
        #expect(hexString(sessionTicket.timeout) == "0000000000003a98")
        #expect(try state.apply(secret(expiration: 11)) == nil)
        #expect(try state.apply(secret()) == nil)
        var trial = session(isTrial: true)
        #expect(try trial.apply(secret(expiration: -10)) == nil)
        #expect(trial.timeout == nil)
    }

    /// swtpm: 800001f3fffffc1c at ….004
    @Test func theLongestExpirationHasNoOverflow() throws {
        var state = session()
        #expect(try hexString(#require(try state.apply(secret(expiration: .min))).timeout) == "800001f3fffffc93")
        state = session(startTime: .max)
        try state.apply(secret(nonce: nonce, expiration: 10), now: 0)
        #expect(state.timeout == .max)
    }

    @Test func aTicketCoversAllItSays() throws {
        func minted(_ step: PolicyStep, key: [UInt8] = [1], boot: [UInt8] = []) throws -> [UInt8] {
            var state = session()
            return try #require(try state.apply(step, at: moment(), rolls: 0, mint: mint(key, boot: boot))).ticket.digest
        }
        let base = secret(policyRef: [1], cpHash: zeros, expiration: -20)
        let others = [
            secret([0x40, 0, 0, 0x0B], policyRef: [1], cpHash: zeros, expiration: -20),
            secret(policyRef: [2], cpHash: zeros, expiration: -20),
            secret(policyRef: [1], cpHash: [UInt8](repeating: 1, count: 32), expiration: -20),
            secret(policyRef: [1], cpHash: zeros, expiration: -21),
            secret(policyRef: [1], cpHash: zeros, nonce: nonce, expiration: -20),
        ]
        let digests = try Set([minted(base), minted(base, key: [2]), minted(base, boot: [1])] + others.map { try minted($0) })
        #expect(digests.count == 8)
        #expect(try minted(base).count == 64)
    }
}

@Suite struct PolicyUseTests {
    private func use(
        _ state: PolicyState, command: TPMCommandCode = .unseal, role: AuthRole = .user, cpHash: [UInt8] = [], time: UInt64 = 0,
        pcrGeneration: UInt64 = 0, policyHash: HashAlgorithm? = .sha256, authPolicy: [UInt8]? = nil
    ) -> UInt32 {
        let use = PolicyUse(
            authPolicy: authPolicy ?? state.policyDigest, policyHash: policyHash, command: command, role: role,
            time: GuestTime(milliseconds: time, epoch: epoch), pcrGeneration: pcrGeneration, locality: 0, nvWritten: nil,
            digest: { _ in cpHash })
        do throws(TPMRC) { try state.check(use) } catch { return error.rawValue }
        return 0
    }

    @Test func theDigestMustBeTheEntitysPolicy() throws {
        var state = session()
        try state.apply(.authValue)
        #expect(use(state) == 0)
        #expect(use(state, authPolicy: []) == TPMRC.policyFail.rawValue)
        #expect(use(state, authPolicy: zeros) == TPMRC.policyFail.rawValue)
        #expect(use(state, policyHash: .sha384) == TPMRC.policyFail.rawValue)
        #expect(use(state, policyHash: nil) == TPMRC.policyFail.rawValue)
    }

    @Test func pcrsMustBeAsTheyWere() throws {
        var state = session()
        try state.apply(pcrs, pcrs: fresh)
        #expect(use(state, pcrGeneration: 41) == 0)
        #expect(use(state, pcrGeneration: 42) == TPMRC.pcrChanged.rawValue)
    }

    @Test func theCommandMustBeTheOneNamed() throws {
        var state = session()
        try state.apply(unseal)
        #expect(use(state) == 0)
        #expect(use(state, role: .admin) == 0)
        #expect(use(state, command: .sign) == TPMRC.policyCC.rawValue)
        #expect(use(session(), role: .admin) == TPMRC.policyFail.rawValue)
        #expect(use(session(), role: .dup) == TPMRC.policyFail.rawValue)
    }

    @Test func timeAndParametersMustFit() throws {
        var state = session()
        try state.apply(secret(cpHash: zeros, expiration: 20))
        #expect(use(state, cpHash: zeros, time: 20_123) == 0)
        #expect(use(state, cpHash: zeros, time: 20_124) == TPMRC.expired.rawValue)
        #expect(use(state, cpHash: [UInt8](repeating: 1, count: 32)) == TPMRC.policyFail.rawValue)
    }

    @Test func policySecretNeedsTheAuthValueItself() throws {
        var state = session()
        #expect(use(state, command: .policySecret) == TPMRC.mode.rawValue)
        try state.apply(.password)
        #expect(state.isPasswordNeeded && !state.isAuthValueNeeded)
        #expect(use(state, command: .policySecret) == 0)
        try state.apply(.authValue)
        #expect(state.isAuthValueNeeded && !state.isPasswordNeeded)
        #expect(use(state, command: .policySecret) == 0)
    }
}
