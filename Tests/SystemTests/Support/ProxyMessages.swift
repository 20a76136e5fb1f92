// One well-formed request of every call that a proxy may make, as bytes.
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

struct ProxyMessage {
    let service: ServiceName
    let number: UInt16
    let bytes: [UInt8]

    private init<C: Call>(_ service: ServiceName, _ call: C.Type, _ request: C.Request) {
        self.service = service
        number = C.number
        bytes = C.number.wire + (C.isNumbered ? UInt64(0).wire : []) + request.wire
    }

    static func all() -> [ProxyMessage] {
        device() + [
            .init(.pcr, PCRCalls.Startup.self, .init(state: false)),
            .init(.pcr, PCRCalls.Shutdown.self, .init(state: true)),
            .init(.pcr, PCRCalls.Extend.self, .init(pcr: 10, digests: [TaggedDigest(.sha256, digest(.sha256, [1]))])),
            .init(.pcr, PCRCalls.ResetPCR.self, 16),
            .init(.pcr, PCRCalls.CountClear.self, Nothing()),
            .init(.pcr, PCRCalls.AbortEvent.self, Nothing()),
        ] + policy()
    }

    private static func device() -> [ProxyMessage] {
        let spec = TwinSpec(kind: .ecc(.p256), sign: true, decrypt: false, sensitiveDataOrigin: true, nameAlgorithm: .sha256)
        let unique = PublicArea.Unique.ecc(ECCKeyPair.generate(.p256).publicPoint)
        let point = ECCKeyPair.generate(.p256).publicPoint
        let sensitive = SensitiveArea(type: .ecc, authValue: [], seedValue: [], sensitive: [1])
        return [
            .init(.device, DeviceCalls.GuestSecret.self, Nothing()),
            .init(.device, DeviceCalls.Describe.self, Nothing()),
            .init(.device, DeviceCalls.Create.self, .init(spec: spec, data: [])),
            .init(.device, DeviceCalls.Load.self, TwinBlob(spec: spec, unique: unique, hardwarePrivate: [1, 2, 3])),
            .init(.device, DeviceCalls.Release.self, 1),
            .init(.device, DeviceCalls.Sign.self, .init(handle: 1, digest: [1], scheme: Scheme(.ecdsa, .sha256))),
            .init(.device, DeviceCalls.DecryptRSA.self, .init(handle: 1, cipherText: [1], scheme: Scheme(.oaep, .sha256), label: [1, 0])),
            .init(.device, DeviceCalls.Agree.self, .init(handle: 1, point: point)),
            .init(.device, DeviceCalls.Unseal.self, 1),
            .init(.device, DeviceCalls.HMAC.self, .init(handle: 1, hash: .sha256, data: [1])),
            .init(.device, DeviceCalls.HMACStep.self, .init(handle: 1, hash: .sha256, state: [1], data: [2], isLast: true)),
            .init(.device, DeviceCalls.Random.self, 8),
            .init(.device, DeviceCalls.RecoverSeed.self, .init(handle: 1, use: .session, hash: .sha256, secret: point.wire)),
            .init(.device, DeviceCalls.Import.self, .init(spec: spec, unique: unique, sensitive: sensitive)),
            .init(.device, DeviceCalls.Duplicate.self, 1),
            .init(.device, HostCalls.Certificates.self, Nothing()),
            .init(.device, HostCalls.Certify.self, .init(index: TPMHandle(0x01C0_000A), handle: 1)),
        ]
    }

    private static func policy() -> [ProxyMessage] {
        let area = PublicArea.attestationKey.with(unique: .ecc(ECCKeyPair.generate(.p256).publicPoint))
        let spec = TwinSpec(
            kind: .ecc(.p256), sign: true, decrypt: false, sensitiveDataOrigin: true, nameAlgorithm: .sha256, isGated: true)
        let seal = GateSeal(salt: [UInt8](repeating: 1, count: GateSeal.saltSize), mark: [UInt8](repeating: 2, count: GateSeal.markSize))
        let object = GatedObject(area: area, twin: TwinBlob(spec: spec, unique: area.unique, hardwarePrivate: [1], gate: seal))
        let hierarchy = TicketHierarchy(.owner, proofDigest: [UInt8](repeating: 9, count: TicketHierarchy.proofDigestSize))
        let ticket = Ticket(tag: StructureTag.hashCheck, hierarchy: .owner, digest: [UInt8](repeating: 3, count: 64))
        let command = GuestCommand(code: .sign, names: [area.name], parameters: [1, 2])
        let named = NamedObject(area: area, mark: seal.mark)
        var quoted = WireWriter()
        quoted.list([PCRSelection(.sha256, pcrs: [1])])
        return [
            .init(.policy, PolicyCalls.Start.self, .init(hash: .sha256, trial: false, epoch: 1, nonceSize: 16)),
            .init(.policy, PolicyCalls.Step.self, .init(
                token: [1], step: .pcr(expected: [], selection: [PCRSelection(.sha256, pcrs: [1])]),
                at: .init(rolls: 0, epoch: 1))),
            .init(.policy, PolicyCalls.Verify.self, .init(key: area, digest: [1], evidence: .verdict(nil), hierarchy: hierarchy)),
            .init(.policy, GateCalls.Create.self, .init(area: area, data: [])),
            .init(.policy, GateCalls.Import.self, .init(
                area: area, sensitive: SensitiveArea(type: .ecc, authValue: [], seedValue: [], sensitive: [1]))),
            .init(.policy, GateCalls.CreateAnonymous.self, area),
            .init(.policy, GateCalls.Use.self, .init(
                object: object, command: command, token: [1, 2], epoch: 1, statement: .certificate([1]))),
            .init(.policy, GateCalls.Use.self, .init(
                object: object, command: command, token: [], epoch: 1, statement: .commitment(series: 1, count: 2))),
            .init(.policy, GateCalls.RecoverSalt.self, .init(object: object, hash: .sha256, secret: [1])),
            .init(.policy, GateCalls.VerifyMAC.self, .init(object: object, digest: [1], mac: TaggedDigest(.sha256, digest(.sha256, [])))),
            .init(.policy, GateCalls.Activate.self, .init(key: object, credential: [1], secret: [2], object: named)),
            .init(.policy, HashCalls.Step.self, .init(hash: .sha256, data: [1], end: .init(ticket: hierarchy))),
            .init(.policy, HashCalls.Check.self, .init(ticket: ticket, proofDigest: hierarchy.proofDigest, hash: .sha256, digest: [1])),
            .init(.policy, DeepQuoteCalls.Own.self, .init([0, 1, 7] + quoted.bytes)),
        ]
    }
}
