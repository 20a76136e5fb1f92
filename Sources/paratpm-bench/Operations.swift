// What is measured: each operation's preparation, its command, and what is cleared away afterwards.
import TPMCrypto
import TPMWire
import Wire

/// An operation made ready on one TPM.
struct Prepared {
    /// The command of the n-th round.
    var command: (Int) -> [UInt8]
    /// The response brings a handle, which is flushed outside of the measured time.
    var flushes = false
    /// Sent before each round, outside of the measured time.
    var before: [CommandMessage] = []
    /// Transient objects that the preparation left.
    var objects: [TPMHandle] = []
}

struct Operation {
    private static let usualLaps = 5

    let name: String
    let code: TPMCommandCode
    let rounds: Int
    /// Into which the rounds are divided: between two of them come the other operations', so that no slow second of the machine falls on one
    /// of them alone. What keeps the processor busy for long has one: a scheduler would let those wait who did it in the lap before.
    let laps: Int
    /// Rounds before the measured ones of each lap.
    let warmUp: Int
    /// Each takes the chip another time: what matters is what is not the chip's of the same command.
    let searchesPrimes: Bool
    let prepare: (TPMClient) throws(BenchError) -> Prepared

    init(
        _ name: String, _ code: TPMCommandCode, rounds: Int, laps: Int = usualLaps, warmUp: Int, searchesPrimes: Bool = false,
        prepare: @escaping (TPMClient) throws(BenchError) -> Prepared
    ) {
        self.name = name
        self.code = code
        self.rounds = rounds
        self.laps = laps
        self.warmUp = warmUp
        self.searchesPrimes = searchesPrimes
        self.prepare = prepare
    }

    /// The same bytes each time.
    private init(_ name: String, _ message: CommandMessage, rounds: Int) {
        let bytes = message.bytes
        self.init(name, message.code, rounds: rounds, warmUp: rounds / 50) { _ in Prepared(command: { _ in bytes }) }
    }

    static func all(scale: Int) -> [Operation] {
        let fast = 10 * scale
        let slow = 4 * scale
        let password = AuthCommand(handle: .password)
        let digest = [UInt8](repeating: 0x5A, count: 32)
        var extend = WireWriter()
        extend.list([TaggedDigest(.sha256, digest)])
        var pcrs = WireWriter()
        pcrs.list([PCRSelection(.sha256, pcrs: 0..<8)])
        return [
            Operation("GetRandom 16", CommandMessage(.getRandom, parameters: [0, 16]), rounds: fast),
            Operation("PCR_Read", CommandMessage(.pcrRead, parameters: pcrs.bytes), rounds: fast),
            Operation(
                "PCR_Extend", CommandMessage(.pcrExtend, handles: [TPMHandle(16)], sessions: [password], parameters: extend.bytes),
                rounds: fast),
            // TPM_CAP_TPM_PROPERTIES, from PT_FIXED, 64
            Operation("GetCapability", CommandMessage(.getCapability, parameters: [0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 0, 64]), rounds: fast),
            saltedSession("StartAuthSession salted, NULL key", .null, rounds: slow),
            saltedSession("StartAuthSession salted, SRK", .owner, rounds: slow),
            creation("Create ECC P-256", .eccSigning, rounds: slow),
            Operation("Sign ECDSA P-256", .sign, rounds: slow, warmUp: 10) { tpm throws(BenchError) in
                let key = try tpm.createLoaded(.eccSigning)
                var parameters = WireWriter()
                parameters.sized16(digest)
                Scheme(.ecdsa, .sha256).encode(to: &parameters)
                parameters.value(Ticket.null(StructureTag.hashCheck))
                let bytes = CommandMessage(.sign, handles: [key], sessions: [password], parameters: parameters.bytes).bytes
                return Prepared(command: { _ in bytes }, objects: [key])
            },
            Operation("Unseal", .unseal, rounds: slow, warmUp: 10) { tpm throws(BenchError) in
                let sealed = try tpm.createLoaded(.sealed, data: digest)
                let bytes = CommandMessage(.unseal, handles: [sealed], sessions: [password]).bytes
                return Prepared(command: { _ in bytes }, objects: [sealed])
            },
            unsealByPolicy(unsealUngated, .sealed, rounds: slow),
            unsealByPolicy(unsealGated, .sealedByPolicy, rounds: slow),
            creation("Create RSA-2048", .rsaStorage(salt: 0), rounds: Self.rsaRounds),
            rsaPrimary(primaryFirst, again: false),
            rsaPrimary(primaryAgain, again: true),
        ]
    }

    /// Fewer, with those whose costs are counted, than a guest may have right one behind the other. A TPM that gives no deep quotes makes the quote that is inside one.
    static var deepQuote: Operation {
        Operation("Deep quote", .quote, rounds: 13, laps: 1, warmUp: 2) { tpm throws(BenchError) in
            let password = AuthCommand(handle: .password)
            let request = TPMHandle(0x010A_5000)
            let selection = [PCRSelection(.sha256, pcrs: 0..<8)]
            if (try? tpm.run(CommandMessage(.nvReadPublic, handles: [request]))) != nil {
                return Prepared(command: { round in
                    var data = WireWriter()
                    data.sized16(UInt32(truncatingIfNeeded: round).wire)
                    data.list(selection)
                    var parameters = WireWriter()
                    parameters.sized16(data.bytes)
                    parameters.u16(0)
                    return CommandMessage(.nvWrite, handles: [request, request], sessions: [password], parameters: parameters.bytes).bytes
                })
            }
            let key = try tpm.createLoaded(.eccSigning)
            var parameters = WireWriter()
            parameters.sized16([UInt8](repeating: 1, count: 32))
            Scheme(.ecdsa, .sha256).encode(to: &parameters)
            parameters.list(selection)
            let bytes = CommandMessage(.quote, handles: [key], sessions: [password], parameters: parameters.bytes).bytes
            return Prepared(command: { _ in bytes }, objects: [key])
        }
    }

    static let unsealUngated = "Unseal, PolicyPCR, ungated"
    static let unsealGated = "Unseal, PolicyPCR, gated"
    static let primaryFirst = "CreatePrimary RSA-2048, first"
    static let primaryAgain = "CreatePrimary RSA-2048, again"
    /// A prime search takes any time, and many of them take minutes.
    private static let rsaRounds = 20

    private static func creation(_ name: String, _ template: PublicArea, rounds: Int) -> Operation {
        let isRSA = template.type == .rsa
        return Operation(name, .create, rounds: rounds, laps: isRSA ? 1 : usualLaps, warmUp: isRSA ? 2 : 10, searchesPrimes: isRSA) {
            tpm throws(BenchError) in
            let parent = try tpm.createPrimary(.owner, .eccStorage)
            let bytes = TPMClient.create(parent, template).bytes
            return Prepared(command: { _ in bytes }, objects: [parent])
        }
    }

    /// A policy session with PolicyPCR authorizes; what starts and feeds it is not measured.
    private static func unsealByPolicy(_ name: String, _ template: PublicArea, rounds: Int) -> Operation {
        Operation(name, .unseal, rounds: rounds, warmUp: 10) { tpm throws(BenchError) in
            let trial = try tpm.startPolicySession(isTrial: true)
            _ = try tpm.run(policyPCR(trial))
            var answer = WireReader(try tpm.run(CommandMessage(.policyGetDigest, handles: [trial])).parameters)
            guard let policy = try? answer.sized16() else { throw BenchError("PolicyGetDigest: the response does not decode") }
            try tpm.flush(trial)
            var area = template
            area.authPolicy = policy
            let sealed = try tpm.createLoaded(area, data: policy)
            let session = try tpm.startPolicySession(isTrial: false)
            let authorization = AuthCommand(
                handle: session, nonce: [UInt8](repeating: 7, count: 16), attributes: .continueSession)
            let bytes = CommandMessage(.unseal, handles: [sealed], sessions: [authorization]).bytes
            return Prepared(command: { _ in bytes }, before: [policyPCR(session)], objects: [sealed, session])
        }
    }

    private static func policyPCR(_ session: TPMHandle) -> CommandMessage {
        var parameters = WireWriter()
        parameters.sized16([UInt8]())
        parameters.list([PCRSelection(.sha256, pcrs: 0..<8)])
        return CommandMessage(.policyPCR, handles: [session], parameters: parameters.bytes)
    }

    /// An HMAC session salted with an ECC key. The ephemeral point is made beforehand: that is the caller's work.
    private static func saltedSession(_ name: String, _ hierarchy: TPMHandle, rounds: Int) -> Operation {
        Operation(name, .startAuthSession, rounds: rounds, warmUp: 10) { tpm throws(BenchError) in
            let key = try tpm.createPrimary(hierarchy, .eccStorage)
            var parameters = WireWriter()
            parameters.sized16([UInt8](repeating: 7, count: 16))
            parameters.sized16(ECCKeyPair.generate(.p256).publicPoint)
            parameters.u8(0)  // TPM_SE_HMAC
            SymmetricDefinition.aes(keyBits: 128, mode: .cfb).encode(to: &parameters)
            parameters.value(HashAlgorithm.sha256)
            let bytes = CommandMessage(.startAuthSession, handles: [key, .null], parameters: parameters.bytes).bytes
            return Prepared(command: { _ in bytes }, flushes: true, objects: [key])
        }
    }

    /// First: another template each round, which nobody asked for yet. Again: the template of the first round.
    private static func rsaPrimary(_ name: String, again: Bool) -> Operation {
        Operation(name, .createPrimary, rounds: rsaRounds, laps: 1, warmUp: 0, searchesPrimes: !again) { _ in
            Prepared(command: { round in
                TPMClient.primary(.owner, .rsaStorage(salt: again ? 0 : UInt8(truncatingIfNeeded: round))).bytes
            }, flushes: true)
        }
    }
}

extension PublicArea {
    private static let storage: ObjectAttributes = [
        .fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .restricted, .decrypt,
    ]
    private static let aes = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)
    private static let noPoint = Unique.ecc(ECCPoint(x: [], y: []))

    static let eccStorage = PublicArea(
        nameAlgorithm: .sha256, attributes: storage,
        parameters: .ecc(symmetric: aes, scheme: .null, curve: .p256, kdf: .null), unique: noPoint)
    static let eccSigning = PublicArea(
        nameAlgorithm: .sha256, attributes: [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA, .sign],
        parameters: .ecc(symmetric: .null, scheme: .null, curve: .p256, kdf: .null), unique: noPoint)
    static let sealed = PublicArea(
        nameAlgorithm: .sha256, attributes: [.fixedTPM, .fixedParent, .userWithAuth, .noDA],
        parameters: .keyedHash(scheme: .null), unique: .digest([]))

    /// Only a policy opens it.
    static let sealedByPolicy = PublicArea(
        nameAlgorithm: .sha256, attributes: sealed.attributes.subtracting(.userWithAuth), parameters: sealed.parameters,
        unique: sealed.unique)

    static func rsaStorage(salt: UInt8) -> PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: storage,
            parameters: .rsa(symmetric: aes, scheme: .null, keyBits: 2048, exponent: 0),
            unique: .rsa([UInt8](repeating: salt, count: 256)))
    }
}

extension TPMClient {
    static func primary(_ hierarchy: TPMHandle, _ template: PublicArea) -> CommandMessage {
        creation(.createPrimary, hierarchy, template, [])
    }

    static func create(_ parent: TPMHandle, _ template: PublicArea, data: [UInt8] = []) -> CommandMessage {
        creation(.create, parent, template, data)
    }

    private static func creation(
        _ code: TPMCommandCode, _ handle: TPMHandle, _ template: PublicArea, _ data: [UInt8]
    ) -> CommandMessage {
        var parameters = WireWriter()
        parameters.sized16(SensitiveCreate(data: data))
        parameters.sized16(template)
        parameters.sized16([])
        parameters.list([PCRSelection]())
        return CommandMessage(code, handles: [handle], sessions: [AuthCommand(handle: .password)], parameters: parameters.bytes)
    }

    func createPrimary(_ hierarchy: TPMHandle, _ template: PublicArea) throws(BenchError) -> TPMHandle {
        try handle(of: try run(Self.primary(hierarchy, template)))
    }

    /// A key or a sealed object under a fresh storage primary, which is flushed again.
    func createLoaded(_ template: PublicArea, data: [UInt8] = []) throws(BenchError) -> TPMHandle {
        let parent = try createPrimary(.owner, .eccStorage)
        var created = WireReader(try run(Self.create(parent, template, data: data)).parameters)
        guard let outPrivate = try? created.sized16(), let outPublic = try? created.sized16() else {
            throw BenchError("Create: the response does not decode")
        }
        var blobs = WireWriter()
        blobs.sized16(outPrivate)
        blobs.sized16(outPublic)
        let password = AuthCommand(handle: .password)
        let loaded = try handle(of: try run(CommandMessage(.load, handles: [parent], sessions: [password], parameters: blobs.bytes)))
        try flush(parent)
        return loaded
    }

    /// Unsalted and unbound.
    func startPolicySession(isTrial: Bool) throws(BenchError) -> TPMHandle {
        var parameters = WireWriter()
        parameters.sized16([UInt8](repeating: 7, count: 16))
        parameters.sized16([UInt8]())
        parameters.u8(isTrial ? 3 : 1)  // TPM_SE_TRIAL, TPM_SE_POLICY
        SymmetricDefinition.null.encode(to: &parameters)
        parameters.value(HashAlgorithm.sha256)
        return try handle(of: try run(
            CommandMessage(.startAuthSession, handles: [.null, .null], parameters: parameters.bytes)))
    }

    func flush(_ handle: TPMHandle) throws(BenchError) {
        _ = try run(CommandMessage(.flushContext, parameters: handle.wire))
    }

    func handle(of response: ResponseMessage) throws(BenchError) -> TPMHandle {
        guard let handle = response.handle else { throw BenchError("a response without its handle") }
        return handle
    }
}
