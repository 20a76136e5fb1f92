// A guest as its proxy sees the services: the channels that a taken-over proxy would have, and nothing else.
import EnhancedAuthorization
import IPC
import RunningService
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// When the guests' power came on
let now: UInt64 = 1

final class GateGuest {
    let device: Channel
    let pcr: Channel
    private(set) var policy: Channel
    let door: Channel
    private let guest: TestGuest

    init(_ bench: GateBench, _ name: String) throws {
        guest = try bench.directory.addGuest(name)
        door = try guest.door(.pcr)
        _ = try door.call(PCRCalls.PowerOn.self, Nothing())
        device = try guest.proxy(.device).channel
        pcr = try guest.proxy(.pcr).channel
        policy = try guest.proxy(.policy).channel
        _ = try pcr.call(PCRCalls.Startup.self, .init(state: false))
    }

    var id: GuestID { guest.id }

    /// To a paratpm-policy that was started again
    func reconnect() throws { policy = try guest.proxy(.policy).channel }

    // MARK: Policy sessions

    func startSession(trial: Bool = false) throws -> [UInt8] {
        try policy.call(PolicyCalls.Start.self, .init(hash: .sha256, trial: trial, epoch: now, nonceSize: 16)).bytes
    }
    func step(_ token: [UInt8], _ step: PolicyStep) throws -> [UInt8] {
        try policy.call(PolicyCalls.Step.self, .init(token: token, step: step, at: .init(rolls: 0, epoch: now))).token
    }
    /// A session with PolicyPCR of one PCR.
    func pcrSession(_ pcr: Int = 10, trial: Bool = false) throws -> [UInt8] {
        try step(try startSession(trial: trial), .pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [pcr])]))
    }
    func extend(_ number: UInt8 = 10) throws {
        _ = try pcr.call(PCRCalls.Extend.self, .init(pcr: number, digests: [TaggedDigest(.sha256, digest(.sha256, [1]))]))
    }
    static func policyDigest(_ token: [UInt8]) -> [UInt8] { PolicyToken.state(of: token)?.policyDigest ?? [] }

    // MARK: Gated objects

    func create(_ template: PublicArea, data: [UInt8] = []) throws -> GatedObject {
        let twin = try policy.call(GateCalls.Create.self, .init(area: template, data: data))
        return GatedObject(area: template.with(unique: twin.unique), twin: twin)
    }

    func use(
        _ object: GatedObject, _ code: TPMCommandCode, _ parameters: [UInt8] = [], names: [[UInt8]]? = nil, token: [UInt8] = [],
        _ statement: Statement? = nil
    ) throws -> [UInt8] {
        let command = GuestCommand(code: code, names: names ?? [object.area.name], parameters: parameters)
        return try policy.call(
            GateCalls.Use.self, .init(object: object, command: command, token: token, epoch: now, statement: statement)
        ).bytes
    }
}

extension PublicArea {
    static let fixed: ObjectAttributes = [.fixedTPM, .fixedParent, .noDA]

    static func sealed(policy: [UInt8], attributes: ObjectAttributes = fixed) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: attributes, authPolicy: policy, parameters: .keyedHash(scheme: .null),
            unique: .digest([]))
    }
    static func ecc(_ attributes: ObjectAttributes, policy: [UInt8] = [], scheme: Scheme = .null) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: fixed.union(attributes).union(.sensitiveDataOrigin), authPolicy: policy,
            parameters: .ecc(symmetric: .null, scheme: scheme, curve: .p256, kdf: .null), unique: .ecc(ECCPoint(x: [], y: [])))
    }
    static let attestationKey = ecc([.userWithAuth, .sign, .restricted], scheme: Scheme(.ecdsa, .sha256))
}
