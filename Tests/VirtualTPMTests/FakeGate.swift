// The gate on the fake chip: the checker's own code, and twins that know their authValue.
import EnhancedAuthorization
import IPC
import SystemMap
import TPMCrypto
import TPMWire

@testable import PolicyChecker
@testable import VirtualTPM

/// Gated twins of a fake chip. It loads, uses and releases them as the policy checker's session would.
final class FakeGatedTwins: GatedTwins {
    private let device: FakeDevice
    init(_ device: FakeDevice) { self.device = device }

    private func asked<R>(_ body: () throws(TPMRC) -> R) throws(CallStatus) -> R {
        do throws(TPMRC) { return try body() } catch { throw CallStatus(error) }
    }

    func create(_ spec: TwinSpec, data: [UInt8], auth: Secret, for guest: GuestID) throws(CallStatus) -> TwinBlob {
        let twin = try asked { () throws(TPMRC) in try device.create(spec, data: data) }
        device.gate(twin, auth)
        return twin
    }

    func importTwin(
        _ spec: TwinSpec, _ unique: PublicArea.Unique, _ sensitive: SensitiveArea, for guest: GuestID
    ) throws(CallStatus) -> TwinBlob {
        let twin = try asked { () throws(TPMRC) in try device.importTwin(spec, unique: unique, sensitive: sensitive) }
        device.gate(twin, Secret(sensitive.authValue))
        return twin
    }

    private func use<R>(_ twin: OpenedTwin, _ body: (UInt32) throws(TPMRC) -> R) throws(CallStatus) -> R {
        try asked { () throws(TPMRC) in
            let handle = try device.load(twin.blob)
            defer { device.release(handle) }
            device.auth = twin.auth
            defer { device.auth = .empty }
            return try body(handle)
        }
    }

    func unseal(_ twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        try use(twin) { (handle) throws(TPMRC) in try device.unseal(handle) }
    }
    func sign(_ digest: [UInt8], _ scheme: Scheme, with twin: OpenedTwin) throws(CallStatus) -> Signature {
        try use(twin) { (handle) throws(TPMRC) in try device.sign(handle, digest: digest, scheme: scheme) }
    }
    func hmac(_ hash: HashAlgorithm, _ data: [UInt8], with twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        try use(twin) { (handle) throws(TPMRC) in try device.hmac(handle, hash: hash, data: data) }
    }
    func startHMAC(_ hash: HashAlgorithm, with twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        try use(twin) { (handle) throws(TPMRC) in
            try device.hmacStep(handle, hash: hash, state: [], data: [], isLast: false)
        }
    }
    func decryptRSA(
        _ cipherText: [UInt8], _ scheme: Scheme, label: [UInt8], with twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8] {
        try use(twin) { (handle) throws(TPMRC) in
            try device.decryptRSA(handle, cipherText: cipherText, scheme: scheme, label: label)
        }
    }
    func agree(_ point: ECCPoint, with twin: OpenedTwin) throws(CallStatus) -> ECCPoint {
        try use(twin) { (handle) throws(TPMRC) in try device.agree(handle, point: point) }
    }
    func duplicate(_ twin: OpenedTwin) throws(CallStatus) -> SensitiveArea {
        try use(twin) { (handle) throws(TPMRC) in try device.duplicate(handle) }
    }
}

extension FakePCRs: VPCRSource {
    func read(_ guest: GuestID, _ selections: [PCRSelection]) throws(CallStatus) -> PCRReading {
        let digests = pcrs.digests(selections).map(\.digest)
        return PCRReading(generation: pcrs.values.generation, digests: digests, locality: pcrs.values.locality)
    }
}

extension FakePolicy {
    private func asked<R>(_ body: () throws(CallStatus) -> R) throws(TPMRC) -> R {
        do throws(CallStatus) { return try body() } catch { throw error.isTPM ? TPMRC(rawValue: error.rawValue) : .failure }
    }

    func create(_ request: GateCalls.Create.Request) throws(TPMRC) -> TwinBlob {
        try asked { () throws(CallStatus) in try gatekeeper.create(request, for: guest) }
    }
    func importTwin(_ request: GateCalls.Import.Request) throws(TPMRC) -> TwinBlob {
        try asked { () throws(CallStatus) in try gatekeeper.importTwin(request, for: guest) }
    }
    func createAnonymous(_ template: PublicArea) throws(TPMRC) -> GateCalls.CreateAnonymous.Reply {
        try asked { () throws(CallStatus) in try gatekeeper.createAnonymous(template, for: guest) }
    }
    func use(_ request: GateCalls.Use.Request) throws(TPMRC) -> [UInt8] {
        try asked { () throws(CallStatus) in try gatekeeper.use(request, of: guest) }
    }
    func recoverSalt(_ request: GateCalls.RecoverSalt.Request) throws(TPMRC) -> [UInt8] {
        try asked { () throws(CallStatus) in try gatekeeper.recoverSalt(request, of: guest) }
    }
    func verifyMAC(_ request: GateCalls.VerifyMAC.Request) throws(TPMRC) {
        try asked { () throws(CallStatus) in try gatekeeper.verifyMAC(request, of: guest) }
    }
    func activate(_ request: GateCalls.Activate.Request) throws(TPMRC) -> [UInt8] {
        try asked { () throws(CallStatus) in try gatekeeper.activate(request, of: guest) }
    }
    func hash(_ request: HashCalls.Step.Request) throws(TPMRC) -> HashCalls.Step.Reply {
        try asked { () throws(CallStatus) in try gatekeeper.hash(request, of: guest) }
    }
    func checkHash(_ request: HashCalls.Check.Request) throws(TPMRC) {
        try asked { () throws(CallStatus) in try gatekeeper.checkHash(request, of: guest) }
    }
}
