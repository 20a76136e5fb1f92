// A guest that has taken over its own proxy: the channels that it was born with, in the hands of the test.
import CSystem
import EnhancedAuthorization
import Glibc
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

let malformed = CallStatus.malformed.rawValue

final class TakenOverProxy {
    let device: Channel
    let pcr: Channel
    let policy: Channel
    /// The memory file of its vPCRs
    let page: Descriptor
    /// That of its policy
    let policyPage: Descriptor
    /// PCRCalls.PostedExtend
    let posts: Channel
    /// To its door
    let door: Channel
    let state: Descriptor
    let emulator: Emulator

    /// When its guest's power came on, as it says
    static let epoch: UInt64 = 1

    init(_ broker: Broker) throws {
        emulator = try Emulator(broker, flags: "not-need-init", proxy: "paratpm-hostile-proxy")
        let client = try Self.connect(emulator.dataSocket)
        let channels = try client.receive().descriptors
        let inherited = try client.receive().descriptors
        try #require(channels.count == 4 && inherited.count == 4)
        (device, pcr, policy, page) = (Channel(channels[0]), Channel(channels[1]), Channel(channels[2]), channels[3])
        (door, state, policyPage) = (Channel(inherited[0]), inherited[1], inherited[2])
        posts = Channel(inherited[3])
        for channel in [device, pcr, policy, door] { channel.setPatience(30) }
    }

    /// Where the program in the proxy's place hands over what it has.
    private static func connect(_ path: String) throws -> Channel {
        let stream = Descriptor(owning: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
        // The socket's file is there a moment before anyone listens.
        try eventually("the hostile proxy is there") { withUnixAddress(path) { Glibc.connect(stream.raw, $0, $1) } == 0 }
        let channel = Channel(stream)
        channel.setPatience(30)
        return channel
    }

    var services: [(name: ServiceName, channel: Channel)] { [(.device, device), (.pcr, pcr), (.policy, policy)] }

    // MARK: What an honest proxy does as well

    func startup() throws { _ = try pcr.call(PCRCalls.Startup.self, .init(state: false)) }

    func extend(_ index: UInt8 = 10) throws {
        _ = try pcr.call(PCRCalls.Extend.self, .init(pcr: index, digests: [TaggedDigest(.sha256, digest(.sha256, [1]))]))
    }

    func startSession(trial: Bool = false) throws -> [UInt8] {
        try policy.call(PolicyCalls.Start.self, .init(hash: .sha256, trial: trial, epoch: Self.epoch, nonceSize: 16)).bytes
    }

    func step(_ token: [UInt8], _ step: PolicyStep) throws -> [UInt8] {
        try policy.call(PolicyCalls.Step.self, .init(token: token, step: step, at: .init(rolls: 0, epoch: Self.epoch))).token
    }

    /// A session with PolicyPCR of PCR 10.
    func pcrSession(trial: Bool = false) throws -> [UInt8] {
        try step(try startSession(trial: trial), .pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [10])]))
    }

    static func nonces(_ token: [UInt8]) throws -> SessionNonces { try #require(PolicyToken.state(of: token)).nonces }

    static func policyDigest(_ token: [UInt8]) -> [UInt8] { PolicyToken.state(of: token)?.policyDigest ?? [] }

    func create(_ template: PublicArea, data: [UInt8] = []) throws -> GatedObject {
        let twin = try policy.call(GateCalls.Create.self, .init(area: template, data: data))
        return GatedObject(area: template.with(unique: twin.unique), twin: twin)
    }

    /// An object that is not gated
    func createOwn(_ template: PublicArea) throws -> GatedObject {
        let spec = try #require(template.twinSpec(.used))
        let twin = try device.call(DeviceCalls.Create.self, .init(spec: spec, data: []))
        return GatedObject(area: template.with(unique: twin.unique), twin: twin)
    }

    func load(_ object: GatedObject) throws -> UInt32 { try device.call(DeviceCalls.Load.self, object.twin) }

    func use(
        _ object: GatedObject, _ code: TPMCommandCode, _ parameters: [UInt8] = [], names: [[UInt8]]? = nil, token: [UInt8] = [],
        epoch: UInt64 = TakenOverProxy.epoch, _ statement: Statement? = nil
    ) throws -> [UInt8] {
        let command = GuestCommand(code: code, names: names ?? [object.area.name], parameters: parameters)
        return try policy.call(
            GateCalls.Use.self, .init(object: object, command: command, token: token, epoch: epoch, statement: statement)).bytes
    }
}

extension Channel {
    /// Seconds that a call waits.
    func setPatience(_ seconds: Int) {
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor.raw, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor.raw, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
}

extension PublicArea {
    /// Sealed data that a policy alone opens
    static func gated(_ policy: [UInt8], _ attributes: ObjectAttributes = [.fixedTPM, .fixedParent, .noDA]) -> PublicArea {
        Template.sealed(policy: policy, attributes: attributes)
    }
    static let attestationKey = Template.eccSigning(Scheme(.ecdsa, .sha256), restricted: true)
}
