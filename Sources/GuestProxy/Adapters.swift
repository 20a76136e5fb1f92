// What the guest's TPM sees of the other processes: the services' interfaces over the proxy's channels.
import Glibc
import IPC
import SystemMap
import TPMWire
import VirtualTPM

final class DeviceAdapter: DeviceService {
    let chip: ChipDescription
    private let link: ServiceLink
    private let port: DoorPort

    init(_ port: DoorPort, chip: ChipDescription) {
        self.port = port
        link = port.device
        self.chip = chip
    }

    var epoch: Int { link.epoch }

    func create(_ spec: TwinSpec, data: [UInt8]) throws(TPMRC) -> TwinBlob {
        port.isTidy = false
        return try link.call(DeviceCalls.Create.self, .init(spec: spec, data: data))
    }
    func importTwin(_ spec: TwinSpec, unique: PublicArea.Unique, sensitive: SensitiveArea) throws(TPMRC) -> TwinBlob {
        port.isTidy = false
        return try link.call(DeviceCalls.Import.self, .init(spec: spec, unique: unique, sensitive: sensitive))
    }
    func duplicate(_ handle: UInt32) throws(TPMRC) -> SensitiveArea {
        try link.call(DeviceCalls.Duplicate.self, handle)
    }
    func load(_ twin: TwinBlob) throws(TPMRC) -> UInt32 {
        port.isTidy = false
        return try link.call(DeviceCalls.Load.self, twin)
    }
    func release(_ handle: UInt32) {
        // A twin that cannot be released went with the connection.
        link.callIfConnected(DeviceCalls.Release.self, handle)
    }
    func sign(_ handle: UInt32, digest: [UInt8], scheme: Scheme) throws(TPMRC) -> Signature {
        try link.call(DeviceCalls.Sign.self, .init(handle: handle, digest: digest, scheme: scheme))
    }
    func decryptRSA(_ handle: UInt32, cipherText: [UInt8], scheme: Scheme, label: [UInt8]) throws(TPMRC) -> [UInt8] {
        try link.call(
            DeviceCalls.DecryptRSA.self, .init(handle: handle, cipherText: cipherText, scheme: scheme, label: label)
        ).bytes
    }
    func agree(_ handle: UInt32, point: ECCPoint) throws(TPMRC) -> ECCPoint {
        try link.call(DeviceCalls.Agree.self, .init(handle: handle, point: point))
    }
    func recoverSeed(_ handle: UInt32, use: SeedUse, hash: HashAlgorithm, secret: [UInt8]) throws(TPMRC) -> [UInt8] {
        try link.call(DeviceCalls.RecoverSeed.self, .init(handle: handle, use: use, hash: hash, secret: secret)).bytes
    }
    func unseal(_ handle: UInt32) throws(TPMRC) -> [UInt8] {
        try link.call(DeviceCalls.Unseal.self, handle).bytes
    }
    func hmac(_ handle: UInt32, hash: HashAlgorithm, data: [UInt8]) throws(TPMRC) -> [UInt8] {
        try link.call(DeviceCalls.HMAC.self, .init(handle: handle, hash: hash, data: data)).bytes
    }
    func hmacStep(
        _ handle: UInt32, hash: HashAlgorithm, state: [UInt8], data: [UInt8], isLast: Bool
    ) throws(TPMRC) -> [UInt8] {
        try link.call(
            DeviceCalls.HMACStep.self, .init(handle: handle, hash: hash, state: state, data: data, isLast: isLast)
        ).bytes
    }
    func random(_ count: Int) throws(TPMRC) -> [UInt8] {
        guard let count = UInt16(exactly: count) else { throw .failure }
        return try link.call(DeviceCalls.Random.self, count).bytes
    }
}

/// Reading costs no hop: paratpm-pcr shares the guest's vPCRs as a page.
final class PCRAdapter: PCRService {
    private let link: ServiceLink
    private let port: DoorPort

    init(_ port: DoorPort) {
        self.port = port
        link = port.pcr
    }

    func values() throws(TPMRC) -> VPCRValues { try look { $0.read() } }
    func moment() throws(TPMRC) -> (generation: UInt64, locality: UInt8) { try look { $0.moment } }
    func read(_ selection: [PCRSelection]) throws(TPMRC) -> (updateCounter: UInt32, list: [UInt8]) { try look { $0.list(selection) } }

    /// With every PCR_Extend that was answered.
    private func look<T>(_ read: (VPCRPage) -> T?) throws(TPMRC) -> T {
        try port.settle()
        guard let page = port.page else { throw .failure }
        guard let result = read(page) else { throw .retry }
        return result
    }
    func startup(_ startup: PCRCalls.Startup.Request) throws(TPMRC) {
        _ = try link.call(PCRCalls.Startup.self, startup)
    }
    func shutdown(state: Bool) throws(TPMRC) {
        _ = try link.call(PCRCalls.Shutdown.self, .init(state: state))
    }
    func extend(_ pcr: Int, _ digests: [TaggedDigest]) throws(TPMRC) {
        guard let pcr = UInt8(exactly: pcr) else { throw .value }
        let request = PCRCalls.Extend.Request(pcr: pcr, digests: digests)
        // Where nothing can refuse it the guest need not wait: the next command that is no PCR_Extend settles it, or the next pause.
        let isPostable = pcr < PCRSelection.pcrCount && PCRAttributes.of(Int(pcr)).extend == .all
        if isPostable, port.postedExtends.post(request) { return }
        try port.settle()
        if isPostable, port.postedExtends.post(request) { return }
        _ = try link.call(PCRCalls.Extend.self, request)
    }
    func reset(_ pcr: Int) throws(TPMRC) {
        guard let pcr = UInt8(exactly: pcr) else { throw .value }
        _ = try link.call(PCRCalls.ResetPCR.self, pcr)
    }
    func countClear() throws(TPMRC) {
        _ = try link.call(PCRCalls.CountClear.self, .init())
    }
}

final class PolicyAdapter: PolicyService {
    private let link: ServiceLink
    init(_ link: ServiceLink) { self.link = link }

    func start(_ request: PolicyCalls.Start.Request) throws(TPMRC) -> [UInt8] {
        try link.call(PolicyCalls.Start.self, request).bytes
    }
    func step(_ request: PolicyCalls.Step.Request) throws(TPMRC) -> PolicyCalls.Step.Reply {
        try link.call(PolicyCalls.Step.self, request)
    }
    func verify(_ request: PolicyCalls.Verify.Request) throws(TPMRC) -> Ticket {
        try link.call(PolicyCalls.Verify.self, request)
    }
    func create(_ request: GateCalls.Create.Request) throws(TPMRC) -> TwinBlob {
        try link.call(GateCalls.Create.self, request)
    }
    func importTwin(_ request: GateCalls.Import.Request) throws(TPMRC) -> TwinBlob {
        try link.call(GateCalls.Import.self, request)
    }
    func createAnonymous(_ template: PublicArea) throws(TPMRC) -> GateCalls.CreateAnonymous.Reply {
        try link.call(GateCalls.CreateAnonymous.self, template)
    }
    func use(_ request: GateCalls.Use.Request) throws(TPMRC) -> [UInt8] {
        try link.call(GateCalls.Use.self, request).bytes
    }
    func recoverSalt(_ request: GateCalls.RecoverSalt.Request) throws(TPMRC) -> [UInt8] {
        try link.call(GateCalls.RecoverSalt.self, request).bytes
    }
    func verifyMAC(_ request: GateCalls.VerifyMAC.Request) throws(TPMRC) {
        _ = try link.call(GateCalls.VerifyMAC.self, request)
    }
    func activate(_ request: GateCalls.Activate.Request) throws(TPMRC) -> [UInt8] {
        try link.call(GateCalls.Activate.self, request).bytes
    }
    func hash(_ request: HashCalls.Step.Request) throws(TPMRC) -> HashCalls.Step.Reply {
        try link.call(HashCalls.Step.self, request)
    }
    func checkHash(_ request: HashCalls.Check.Request) throws(TPMRC) {
        _ = try link.call(HashCalls.Check.self, request)
    }
}

/// CLOCK_BOOTTIME: goes on while the host sleeps, as the guest's own clocks do.
final class BootClock: ClockService {
    var milliseconds: UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_BOOTTIME, &now)
        return UInt64(max(0, now.tv_sec)) * 1000 + UInt64(max(0, now.tv_nsec)) / 1_000_000
    }
}
