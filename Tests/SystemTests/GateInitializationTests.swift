// The gate secret is made at `paratpmctl host init`: what a host without it does, and what changes when it is made.
import Foundation
import IPC
import TPMCrypto
import TPMWire
import Testing
import Wire

/// The three services, each started as its unit starts it: nobody makes the gate secret for them.
private final class Services {
    let directory: TemporaryDirectory
    let chip: Emulator
    private var running: [String: Child] = [:]

    init() throws {
        directory = try TemporaryDirectory()
        chip = try Emulator(nil)
        try FileManager.default.createDirectory(atPath: directory.path + "/guests", withIntermediateDirectories: true)
        try #require(control("policy", "compile").status == 0)
        for service in ["device", "pcr", "policy"] { try start(service) }
    }

    func start(_ service: String) throws {
        let socket = "\(directory.path)/run/\(service).sock"
        let options = service == "device" ? ["--chip", "stream:" + chip.dataSocket] : []
        let child = try Child(
            Programs.path("paratpm-\(service)"), ["--dir", directory.path] + options, log: "\(directory.path)/\(service).log")
        running[service] = child
        try eventually("paratpm-\(service) serves, or ends; its log: \(child.log)") { (try? Channel.connect(socket)) != nil || !child.isRunning }
    }

    func stop(_ service: String) { running[service]?.stop() }
    func restart(_ service: String) throws {
        stop(service)
        try start(service)
    }
    func log(_ service: String) -> String { running[service]?.log ?? "" }

    func control(_ arguments: String...) throws -> (status: Int32, output: String) {
        try run(Programs.path("paratpmctl"), arguments + ["--dir", directory.path])
    }

    var record: Data? { FileManager.default.contents(atPath: directory.path + "/policy/gate") }
    func guest() throws -> Emulator { try Emulator(in: directory.path) }

    deinit { for service in ["policy", "pcr", "device"] { stop(service) } }
}

/// A sealed object that only PolicyPCR opens, PCR 10 as it is.
private struct SealedToPCR {
    private static let selection = [PCRSelection(.sha256, pcrs: [10])]
    private let parent: TPMHandle
    let created: ResponseMessage

    init(_ tpm: TPMConnection, secret: [UInt8]) throws {
        parent = try tpm.primary(Template.eccStorage).handle
        let policy = digest(
            .sha256, [UInt8](repeating: 0, count: 32), TPMCommandCode.policyPCR.wire, Self.selectionBytes,
            digest(.sha256, try tpm.readPCR(10)))
        let template = Template.sealed(policy: policy, attributes: [.fixedTPM, .fixedParent, .noDA])
        created = try tpm.run(.create, [parent], passwords: [[]], creation(template, data: secret))
    }

    private static var selectionBytes: [UInt8] { WireWriter.bytes { $0.list(selection) } }

    func unsealed(_ tpm: TPMConnection) throws -> [UInt8] {
        let blob = try Created(created)
        let object = Entity(try #require(try tpm.load(blob, under: parent).handle), name: blob.publicArea.name)
        let session = try ClientSession(tpm, type: 1)
        #expect(try tpm.run(.policyPCR, [session.handle]) { $0.sized16([UInt8]()); $0.raw(Self.selectionBytes) }.code == .success)
        let unsealed = try ClientSession.run(tpm, .unseal, [object], [.init(session, [])], authorized: 1)
        #expect(unsealed.code == .success)
        #expect(try tpm.run(.flushContext, []) { $0.value(object.handle) }.code == .success)
        return Array(unsealed.parameters.dropFirst(2))
    }
}

@Suite(.serialized) struct GateInitializationTests {
    @Test func withoutTheSecretEverythingElseWorksAndHostInitOpensTheGateAtOnce() throws {
        let services = try Services()
        let guest = try services.guest()
        defer { withExtendedLifetime((services, guest)) {} }
        let tpm = try guest.connect()
        #expect(services.record == nil)
        #expect(services.log("policy").contains("until paratpmctl host init"))
        #expect(try services.control("status").output.contains("gate: no secret yet: run paratpmctl host init"))
        let sick = try services.control("doctor")
        #expect(sick.status == 69 && sick.output.contains("to mend: run paratpmctl host init"))

        // PCRs, ungated keys and HMAC sessions do without; what needs the gate is switched off, and nobody is told to repeat it.
        let event = digest(.sha256, [1])
        #expect(try tpm.run(.pcrExtend, [TPMHandle(10)], passwords: [[]]) { $0.list([TaggedDigest(.sha256, event)]) }.code == .success)
        #expect(try SealedToPCR(tpm, secret: [1]).created.code == .disabled)
        #expect(throws: HarnessError.self) { try ClientSession(tpm, type: 1) }
        let started = try tpm.run(.startAuthSession, [.null, .null]) {
            $0.sized16(randomBytes(16))
            $0.sized16([UInt8]())
            $0.u8(1)
            SymmetricDefinition.null.encode(to: &$0)
            $0.value(HashAlgorithm.sha256)
        }
        #expect(started.code == .disabled)
        _ = try ClientSession(tpm)

        let made = try services.control("host", "init")
        #expect(made.status == 0 && made.output.contains("gate secret: made\ngate pcrs: none\nidentity: made\n"), "\(made.output)")
        // The same services, guest and connection.
        let object = try SealedToPCR(tpm, secret: [1, 2, 3])
        #expect(try object.unsealed(tpm) == [1, 2, 3])
        #expect(try tpm.readPCR(10) == digest(.sha256, [UInt8](repeating: 0, count: 32), event))
        #expect(try services.control("status").output.contains("gate: open"))
        #expect(try !services.control("doctor").output.contains("host init"))

        // It is the secret on disk that is in use.
        try services.restart("policy")
        #expect(try object.unsealed(tpm) == [1, 2, 3])
    }

    @Test func hostInitAgainChangesNothingAndSaysSo() throws {
        let services = try Services()
        #expect(try services.control("host", "init", "--json").output.contains("\"gate-secret\": \"made\", \"gate-pcrs\": \"none\", \"identity\": \"made\""))
        let record = try #require(services.record)
        let again = try services.control("host", "init")
        #expect(again.status == 0 && again.output.hasPrefix("gate secret: kept\n"))
        #expect(again.output.hasSuffix("nothing was changed: all of it was there\n"), "\(again.output)")
        #expect(services.record == record)
        // Whoever asks for something else than is there is told how to get it.
        let other = try services.control("host", "init", "--pcrs", "sha256:0")
        #expect(other.status == 78 && other.output.contains("sealed under the host's PCRs none: paratpmctl host seal-gate"), "\(other.output)")
        #expect(services.record == record)
    }

    @Test func underPCRsFromTheBeginning() throws {
        let services = try Services()
        let made = try services.control("host", "init", "--pcrs", "sha256:7,0+sha1:0")
        #expect(made.status == 0 && made.output.contains("gate pcrs: sha256:0,7+sha1:0"), "\(made.output)")
        #expect(try services.control("host", "init", "--pcrs", "sha1:0+sha256:0,7").output.contains("nothing was changed"))
        try services.restart("policy")
        #expect(try services.control("status").output.contains("gate: open"))
        services.stop("policy")
        services.stop("device")
        #expect(try services.chip.connect().extendPCR(7, [TaggedDigest(.sha256, digest(.sha256, [7]))]) == .success)
        try services.start("device")
        try services.start("policy")
        #expect(services.log("policy").contains("booted otherwise than when the gate secret was sealed under its PCRs (sha256:0,7+sha1:0)"))
    }

    @Test func aRecordThatCannotBeOpenedIsLeftAlone() throws {
        let services = try Services()
        let path = services.directory.path + "/policy/gate"
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: path))
        let refused = try services.control("host", "init")
        #expect(refused.status == 69 && refused.output.contains("is damaged; it was left alone"))
        #expect(services.record == Data([1, 2, 3]))
    }

    @Test func aRecordThatWasLostWhileTheServiceRanIsWrittenAgain() throws {
        let services = try Services()
        let guest = try services.guest()
        defer { withExtendedLifetime((services, guest)) {} }
        let tpm = try guest.connect()
        #expect(try services.control("host", "init").status == 0)
        let object = try SealedToPCR(tpm, secret: [4])
        try FileManager.default.removeItem(atPath: services.directory.path + "/policy/gate")
        #expect(try services.control("host", "init").output.hasPrefix("gate secret: written again\n"))
        try services.restart("policy")
        #expect(try object.unsealed(tpm) == [4])
    }

    @Test func runMakesItAtTheFirstStartAndNeverWhereOneWasLost() throws {
        let broker = try Broker()
        let path = broker.directory.path + "/policy/gate"
        #expect(FileManager.default.fileExists(atPath: path))
        try eventually("the log says so") { broker.child.log.contains("first start: had the gate secret made, as paratpmctl host init does") }
        let initialized = try run(Programs.path("paratpmctl"), ["host", "init", "--dir", broker.directory.path])
        #expect(initialized.output.contains("gate secret: kept\ngate pcrs: none\nidentity: made\n"), "\(initialized.output)")

        let guest = try Emulator(broker)
        _ = try guest.connect().primary(Template.eccStorage)
        broker.child.stop()
        try FileManager.default.removeItem(atPath: path)
        try broker.restart()
        #expect(!FileManager.default.fileExists(atPath: path))
        let status = try run(Programs.path("paratpmctl"), ["status", "--dir", broker.directory.path])
        #expect(status.output.contains("run paratpmctl host init"))
        withExtendedLifetime(guest) {}
    }
}
