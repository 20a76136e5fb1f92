// The services of a guest's TPM in memory, and a guest that talks to it.
import EnhancedAuthorization
import PCRStore
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import PolicyChecker
@testable import VirtualTPM

/// Bytes from hexadecimal digits, spaces ignored.
func hex(_ text: String) -> [UInt8] {
    let digits = text.compactMap(\.hexDigitValue)
    precondition(digits.count % 2 == 0)
    return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

/// A chip in software. Its "wrapped" private part is the secret with a checksum, so that twins can be tampered with.
final class FakeDevice: DeviceService {
    var chip = ChipDescription(
        manufacturer: 0x4641_4B45, firmware: 0x0001_0002_0003_0004, hashes: HashAlgorithm.allCases, curves: ECCCurve.allCases,
        rsaBits: [2048], aesBits: [128, 256])
    var epoch = 1
    /// What was asked of the chip, by name, in order.
    private(set) var log: [String] = []
    /// Thrown instead of an answer, when set.
    var outage: TPMRC?
    private var table: [UInt32: TwinBlob] = [:]
    private var nextHandle: UInt32 = 0
    /// seedValues of keyed-hash twins, by unique field
    private var seeds: [[UInt8]: [UInt8]] = [:]
    /// The authValues of gated twins, by wrapped private part; and what their user now gives
    private var authValues: [[UInt8]: Secret] = [:]
    var auth = Secret.empty
    var loadedCount: Int { table.count }

    /// One RSA-2048 key for all (generation would be slow), made with openssl genrsa.
    static let modulus = hex(
        """
        f33d84b44b47624bd05b2a1d163d245cb9e8b61ac2305952bdbe919c33e71880f1a068b4a186d439b7b157f54afe1eca
        aee3b100d3c0e8f1f0b37fb6807c219d3fc3d15130dbb32dbeaa1d014df1af8d02a9f95a00e5f5dec93883fd618baf35
        30968d02072f4c203989dbec68f4d15a2184a8ef1b9a825502e850a3bd6902308fa2bc9022be57abed8267baa74ef91b
        c5c577e9e7bfac4e7c9cf9ac5b9ee7c1a86c856136757e38a3509bb46c2c7ace0c3d352dbcfb8159c7d794011a014a25
        cb23f3d5570c02585e5b73d0789dc82b59c0655e37a898adcfeb87dbe1e0865a7e87ff7a8803ca398c935af11c95735d
        21144f43472768679d79590456f1a367
        """)
    static let prime = hex(
        """
        fd65f6adb28e6ccdb89d3486f3e6b370eca203cf4ab2c5e1c8e4f9ab20cd20f2bf99be5f321529911a679ded82609bbc
        2e6c49c97ccd392844981f439ce7a712455fe93f53650a2da16dd6146792e9b08f894861d7f1843a005420c6fe90bb01
        42c8f9998fa31e0fd0ab58551351f8809cc4dcb9320b98da625ce4ed0249ad05
        """)

    private func note(_ operation: String) throws(TPMRC) {
        log.append(operation)
        if let outage { throw outage }
    }
    func forgetLog() { log = [] }
    func gate(_ twin: TwinBlob, _ auth: Secret) { authValues[twin.hardwarePrivate] = auth }

    func create(_ spec: TwinSpec, data: [UInt8]) throws(TPMRC) -> TwinBlob {
        try note("create")
        let seed = randomBytes(spec.nameAlgorithm.digestSize)
        switch spec.kind {
        case .rsa: return blob(spec, .rsa(Self.modulus), Self.prime)
        case .ecc(let curve):
            let pair = ECCKeyPair.generate(curve)
            return blob(spec, .ecc(pair.publicPoint), pair.privateKey.bytes)
        case .hmac, .sealed:
            guard spec.sensitiveDataOrigin == data.isEmpty else { throw .attributes }
            let secret = data.isEmpty ? randomBytes(spec.nameAlgorithm.digestSize) : data
            let unique = digest(spec.nameAlgorithm, seed, secret)
            seeds[unique] = seed
            return blob(spec, .digest(unique), secret)
        }
    }

    private func blob(_ spec: TwinSpec, _ unique: PublicArea.Unique, _ secret: [UInt8]) -> TwinBlob {
        TwinBlob(spec: spec, unique: unique, hardwarePrivate: Self.checksum(spec, unique, secret) + secret)
    }

    private static func checksum(_ spec: TwinSpec, _ unique: PublicArea.Unique, _ secret: [UInt8]) -> [UInt8] {
        digest(.sha256, TwinBlob(spec: spec, unique: unique, hardwarePrivate: secret).wire)
    }

    func importTwin(_ spec: TwinSpec, unique: PublicArea.Unique, sensitive: SensitiveArea) throws(TPMRC) -> TwinBlob {
        try note("import")
        guard spec.isImported, !spec.sensitiveDataOrigin else { throw .attributes }
        switch (spec.kind, unique) {
        case (.hmac, .digest(let digest)), (.sealed, .digest(let digest)):
            seeds[digest] = sensitive.seedValue
            let expected = TPMCrypto.digest(spec.nameAlgorithm, sensitive.seedValue, sensitive.sensitive)
            guard digest == expected else { throw .binding }
        default: guard sensitive.seedValue.isEmpty else { throw .size }
        }
        return blob(spec, unique, sensitive.sensitive)
    }

    func duplicate(_ handle: UInt32) throws(TPMRC) -> SensitiveArea {
        try note("duplicate")
        let (twin, secret) = try twin(handle)
        guard twin.spec.isDuplicable else { throw .attributes }
        let type: TPMAlgorithm = switch twin.spec.kind {
        case .rsa: .rsa
        case .ecc: .ecc
        case .hmac, .sealed: .keyedHash
        }
        var seed: [UInt8] = []
        if case .digest(let digest) = twin.unique { seed = seeds[digest] ?? [] }
        return SensitiveArea(type: type, authValue: [], seedValue: seed, sensitive: secret)
    }

    func load(_ twin: TwinBlob) throws(TPMRC) -> UInt32 {
        try note("load")
        let secret = Array(twin.hardwarePrivate.dropFirst(32))
        guard Self.checksum(twin.spec, twin.unique, secret) == Array(twin.hardwarePrivate.prefix(32)) else { throw .integrity }
        nextHandle += 1
        table[nextHandle] = twin
        return nextHandle
    }

    func release(_ handle: UInt32) { table[handle] = nil }

    /// Losing every loaded twin, as when the device owner restarts.
    func restart() {
        table = [:]
        epoch += 1
    }

    private func twin(_ handle: UInt32) throws(TPMRC) -> (TwinBlob, secret: [UInt8]) {
        guard let twin = table[handle] else { throw .failure }
        guard authValues[twin.hardwarePrivate] ?? .empty == auth else { throw .badAuth.session(1) }
        return (twin, Array(twin.hardwarePrivate.dropFirst(32)))
    }

    private func rsaKey(_ handle: UInt32) throws(TPMRC) -> RSAPrivateKey {
        let (twin, secret) = try twin(handle)
        guard case .rsa(let modulus) = twin.unique, let key = RSAPrivateKey(modulus: modulus, exponent: 0, prime: secret) else {
            throw .key
        }
        return key
    }

    private func eccKey(_ handle: UInt32) throws(TPMRC) -> ECCKeyPair {
        let (twin, secret) = try twin(handle)
        guard case .ecc(let curve) = twin.spec.kind, let key = ECCKeyPair(curve: curve, privateKey: secret) else { throw .key }
        return key
    }

    func sign(_ handle: UInt32, digest: [UInt8], scheme: Scheme) throws(TPMRC) -> Signature {
        try note("sign")
        guard try twin(handle).0.spec.sign else { throw .key }
        guard let hash = scheme.hash else { throw .scheme }
        switch scheme.algorithm {
        case .rsassa, .rsapss:
            return .rsa(scheme.algorithm, hash, try rsaKey(handle).sign(digest: digest, scheme: scheme.algorithm, hash: hash))
        case .ecdsa:
            let (r, s) = try eccKey(handle).signECDSA(digest: digest)
            return .ecc(.ecdsa, hash, r: r, s: s)
        case .ecschnorr:
            let (r, s) = try eccKey(handle).signECSchnorr(digest: digest, hash: hash)
            return .ecc(.ecschnorr, hash, r: r, s: s)
        default: throw .scheme
        }
    }

    func decryptRSA(_ handle: UInt32, cipherText: [UInt8], scheme: Scheme, label: [UInt8]) throws(TPMRC) -> [UInt8] {
        try note("decryptRSA")
        guard try twin(handle).0.spec.decrypt else { throw .attributes }
        return try rsaKey(handle).decrypt(cipherText, scheme: scheme, label: label)
    }

    func agree(_ handle: UInt32, point: ECCPoint) throws(TPMRC) -> ECCPoint {
        try note("agree")
        guard let shared = try eccKey(handle).agree(point) else { throw .eccPoint }
        return shared
    }

    func recoverSeed(_ handle: UInt32, use: SeedUse, hash: HashAlgorithm, secret: [UInt8]) throws(TPMRC) -> [UInt8] {
        guard case .ecc(let own) = try twin(handle).0.unique else {
            return try decryptRSA(handle, cipherText: secret, scheme: Scheme(.oaep, hash), label: use.labelBytes)
        }
        guard let point = try? ECCPoint(wire: secret) else { throw .value }
        let z = try agree(handle, point: point).x
        return kdfe(hash, z: z, label: use.label, partyU: point.x, partyV: own.x, bits: hash.digestSize * 8)
    }

    func unseal(_ handle: UInt32) throws(TPMRC) -> [UInt8] {
        try note("unseal")
        let (twin, secret) = try twin(handle)
        guard twin.spec.kind == .sealed else { throw .type }
        return secret
    }

    func hmac(_ handle: UInt32, hash: HashAlgorithm, data: [UInt8]) throws(TPMRC) -> [UInt8] {
        try note("hmac")
        let (twin, secret) = try twin(handle)
        guard twin.spec.kind == .hmac, data.count <= DeviceCalls.HMAC.dataMax else { throw .type }
        return TPMCrypto.hmac(hash, key: secret, data)
    }

    /// The state is all the data so far, with a checksum.
    func hmacStep(
        _ handle: UInt32, hash: HashAlgorithm, state: [UInt8], data: [UInt8], isLast: Bool
    ) throws(TPMRC) -> [UInt8] {
        try note("hmacStep")
        let (twin, secret) = try twin(handle)
        guard twin.spec.kind == .hmac, data.count <= DeviceCalls.HMAC.dataMax else { throw .type }
        let former = Array(state.dropFirst(32))
        guard state.isEmpty || digest(.sha256, former) == Array(state.prefix(32)) else { throw .integrity }
        return isLast ? TPMCrypto.hmac(hash, key: secret, former, data) : digest(.sha256, former, data) + former + data
    }

    func random(_ count: Int) throws(TPMRC) -> [UInt8] {
        try note("random")
        precondition(count <= Int(DeviceCalls.Random.countMax))
        return randomBytes(count)
    }
}

/// The guest's vPCRs, as paratpm-pcr keeps them, and the platform's signals.
final class FakePCRs: PCRService {
    var pcrs = VirtualPCRs(generation: 1)

    func values() throws(TPMRC) -> VPCRValues { pcrs.values }
    func moment() throws(TPMRC) -> (generation: UInt64, locality: UInt8) { (pcrs.values.generation, pcrs.values.locality) }
    func read(_ selection: [PCRSelection]) throws(TPMRC) -> (updateCounter: UInt32, list: [UInt8]) {
        (pcrs.values.updateCounter, pcrs.values.list(selection))
    }
    func startup(_ startup: PCRCalls.Startup.Request) throws(TPMRC) {
        try pcrs.startup(state: startup.state, isReset: startup.isReset, banks: startup.banks)
    }
    func shutdown(state: Bool) throws(TPMRC) { try pcrs.shutdown(state: state) }
    func extend(_ pcr: Int, _ digests: [TaggedDigest]) throws(TPMRC) { try pcrs.extend(pcr, digests) }
    func reset(_ pcr: Int) throws(TPMRC) { try pcrs.reset(pcr) }
    func countClear() throws(TPMRC) { try pcrs.countClear() }
}

/// The policy checker's arithmetic without the process.
final class FakePolicy: PolicyService {
    private let pcrs: FakePCRs
    private let clock: FakeClock
    private let keys = GateKeys(secret: Secret(randomBytes(GateKeys.size)), boot: [])
    private var key: HMACKey { keys.token }
    let guest = GuestID([UInt8](repeating: 7, count: GuestID.size))!
    let gatekeeper: Gatekeeper

    init(_ pcrs: FakePCRs, _ device: FakeDevice, _ clock: FakeClock) {
        self.pcrs = pcrs
        self.clock = clock
        gatekeeper = Gatekeeper(
            keys: keys, twins: FakeGatedTwins(device), vpcrs: pcrs, commitments: RestrictedCommitments()) { clock.milliseconds }
    }

    private func mint() -> TicketMint { keys.mint(guest) }

    func start(_ request: PolicyCalls.Start.Request) throws(TPMRC) -> [UInt8] {
        guard let nonces = SessionNonces(size: request.nonceSize, hash: request.hash) else { throw .failure }
        let state = PolicyState(hash: request.hash, isTrial: request.trial, startTime: try time(request.epoch), nonces: nonces)
        return PolicyToken.seal(state, key: key, guest: guest)
    }

    private func time(_ epoch: UInt64) throws(TPMRC) -> GuestTime {
        guard let time = GuestTime(epoch: epoch, now: clock.milliseconds) else { throw .failure }
        return time
    }

    func step(_ request: PolicyCalls.Step.Request) throws(TPMRC) -> PolicyCalls.Step.Reply {
        guard var state = PolicyToken.open(request.token, key: key, guest: guest) else { throw .failure }
        let reading = state.pcrsNeeded(for: request.step).map {
            PCRReading(generation: pcrs.pcrs.values.generation, digests: pcrs.pcrs.digests($0).map(\.digest))
        }
        let given = try state.apply(
            request.step, at: time(request.moment.epoch), rolls: request.moment.rolls, mint: mint(), pcrs: reading)
        return PolicyCalls.Step.Reply(
            token: PolicyToken.seal(state, key: key, guest: guest), timeout: given?.timeout ?? [], ticket: given?.ticket)
    }

    func verify(_ request: PolicyCalls.Verify.Request) throws(TPMRC) -> Ticket {
        try request.key.check(request.evidence) { _ in request.digest }
        return mint().verified(request.hierarchy, digest: request.digest, keyName: request.key.name)
    }
}

final class FakeStore: DurableStore {
    private(set) var records: [RecordKey: [UInt8]] = [:]
    /// How often something was committed.
    private(set) var commits = 0
    /// Thrown instead of a commit, when set.
    var failure: DurableError?

    func commit(_ changes: [(key: RecordKey, value: [UInt8]?)]) throws(DurableError) {
        if let failure { throw failure }
        commits += 1
        for (key, value) in changes { records[key] = value }
    }
}

final class FakeClock: ClockService {
    var milliseconds: UInt64 = 1_000
}

/// A guest: its TPM on fake services, and a program that sends commands.
final class Guest {
    let device = FakeDevice()
    let pcrs = FakePCRs()
    let store = FakeStore()
    let clock = FakeClock()
    let policy: FakePolicy
    let limits: Limits
    private let secret: Secret
    private(set) var tpm: VirtualTPM

    /// A TPM fresh from manufacture.
    /// - Parameter started: after TPM2_Startup(CLEAR).
    init(limits: Limits = Limits(), started: Bool = true) throws {
        self.limits = limits
        secret = Secret(randomBytes(32))
        policy = FakePolicy(pcrs, device, clock)
        tpm = try VirtualTPM(
            device: device, pcrs: pcrs, policy: policy, store: store, clock: clock, secret: secret, limits: limits)
        pcrs.pcrs.powerOn()
        if started { try startup() }
    }

    func startup(state: Bool = false) throws {
        try #require(try run(.startup) { $0.u16(state ? 1 : 0) }.code == .success)
    }

    /// _TPM_Init, as after a reset of the machine.
    func powerOn() {
        pcrs.pcrs.powerOn()
        tpm.powerOn()
    }

    /// Another process takes the lasting state over, as after kill -9; the power comes on with it.
    func revive() throws {
        device.restart()
        tpm = try VirtualTPM(
            device: device, pcrs: pcrs, policy: policy, store: store, clock: clock, secret: secret, limits: limits)
        pcrs.pcrs.powerOn()
    }

    /// One command.
    /// - Parameters:
    ///   - passwords: of the handles to be authorized, in order; empty ones where left out.
    ///   - sessions: instead of passwords.
    func run(
        _ code: TPMCommandCode, _ handles: [TPMHandle] = [], passwords: [[UInt8]] = [], sessions: [AuthCommand]? = nil,
        _ parameters: (inout WireWriter) -> Void = { _ in }
    ) throws -> ResponseMessage {
        let row = CommandTable.row(code)
        var writer = WireWriter()
        parameters(&writer)
        let byPassword = (0..<(row?.authorizedHandles ?? 0)).map {
            AuthCommand(
                handle: .password, attributes: [.continueSession], hmac: $0 < passwords.count ? passwords[$0] : [])
        }
        let message = CommandMessage(code, handles: handles, sessions: sessions ?? byPassword, parameters: writer.bytes)
        return try ResponseMessage(
            tpm.execute(message.bytes), hasHandle: row?.flags.contains(.responseHandle) ?? false)
    }

    /// The command's response parameters; the test fails unless it succeeds.
    func succeed(
        _ code: TPMCommandCode, _ handles: [TPMHandle] = [], passwords: [[UInt8]] = [],
        _ parameters: (inout WireWriter) -> Void = { _ in }, sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> WireReader {
        let response = try run(code, handles, passwords: passwords, parameters)
        try #require(response.code == .success, sourceLocation: sourceLocation)
        return WireReader(response.parameters)
    }
}
