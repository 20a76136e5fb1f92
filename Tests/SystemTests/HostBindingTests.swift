// Guests whose policy has the host measured into them, and guests whose policy denies deep quotes.
import Foundation
import RunningService
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct HostBindingTests {
    /// A chip that stays, so that its PCRs can change between two runs of the broker.
    private let chip: Emulator
    private let broker: Broker

    init() throws {
        chip = try Emulator(nil)
        broker = try Broker(chip: "stream:" + chip.dataSocket)
        #expect(try control("host", "init").status == 0)
    }

    private func control(_ arguments: String...) throws -> (status: Int32, output: String) {
        try run(Programs.path("paratpmctl"), arguments + ["--dir", broker.directory.path])
    }

    /// The broker's standard policy, in force at once.
    private func apply(_ policy: String) throws {
        let directory = broker.directory.path + "/policy.d"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try "[profile.default]\n\(policy)\n".write(toFile: directory + "/test.toml", atomically: true, encoding: .utf8)
        let reloaded = try control("policy", "reload")
        #expect(reloaded.status == 0, "\(reloaded.output)")
    }

    private func readNV(_ index: UInt32, _ tpm: TPMConnection) throws -> [UInt8] {
        var reader = WireReader(try tpm.run(.nvReadPublic, [TPMHandle(index)]).parameters)
        let size = try reader.value(Sized<NVPublic>.self).value.dataSize
        let read = try tpm.run(.nvRead, [TPMHandle(index), TPMHandle(index)], passwords: [[]]) {
            $0.u16(size)
            $0.u16(0)
        }
        #expect(read.code == .success)
        return Array(read.parameters.dropFirst(2))
    }

    private func request(_ pcrs: [Int], _ tpm: TPMConnection) throws -> TPMRC {
        let request = TPMHandle(0x010A_5000)
        return try tpm.run(.nvWrite, [request, request], passwords: [[]]) {
            $0.sized16(WireWriter.bytes {
                $0.sized16([0xAB])
                $0.list([PCRSelection(.sha256, pcrs: pcrs)])
            })
            $0.u16(0)
        }.code
    }

    @Test func theHostIsTheFirstEventOfEachBootAndTheVerifierReadsIt() throws {
        try apply("host-binding-pcrs = [0, 7]\nhost-binding-vpcr = 13")
        let guest = try Emulator(broker)
        var tpm = try guest.connect()
        let first = try tpm.readPCR(13)
        #expect(first != [UInt8](repeating: 0, count: 32))
        #expect(try request([12, 13], tpm) == .success)
        let files = broker.directory.path
        try Data(try readNV(0x010A_5001, tpm)).write(to: URL(fileURLWithPath: files + "/bundle"))
        try Data(try readNV(0x010A_5002, tpm)).write(to: URL(fileURLWithPath: files + "/log"))
        _ = try control("host", "enrol", "--out", files + "/evidence")
        let verified = try run(Programs.path("paratpmctl"), [
            "attest", "verify", files + "/bundle", "--nonce", "ab", "--host-evidence", files + "/evidence", "--event-log", files + "/log",
        ])
        #expect(verified.status == 0 && verified.output.contains("event log: begins with the host's PCRs sha256:0,7"), "\(verified.output)")

        try guest.restart()
        tpm = try guest.connect()
        #expect(try tpm.readPCR(13) == first, "the same host")
        let sealed = try seal([4, 2], tpm)
        #expect(try unseal(sealed, tpm) == [4, 2])
        guest.child.stop()
        broker.child.stop()
        #expect(try chip.connect().extendPCR(7, [TaggedDigest(.sha256, digest(.sha256, [7]))]) == .success)
        try broker.restart()
        try guest.startAgain()
        tpm = try guest.connect()
        #expect(try tpm.readPCR(13) != first, "the host booted otherwise")
        #expect(try unseal(sealed, tpm) == nil, "so what was sealed on the other does not open")
    }

    /// A policy session with PolicyPCR of vPCR 13.
    private func session(_ tpm: TPMConnection) throws -> ClientSession {
        let session = try ClientSession(tpm, type: 1)
        let bound = try tpm.run(.policyPCR, [session.handle]) {
            $0.sized16([])
            $0.list([PCRSelection(.sha256, pcrs: [13])])
        }
        #expect(bound.code == .success)
        return session
    }

    /// Data that vPCR 13 opens as it is now.
    private func seal(_ data: [UInt8], _ tpm: TPMConnection) throws -> Created {
        let session = try session(tpm)
        let policy = Array(try tpm.run(.policyGetDigest, [session.handle]).parameters.dropFirst(2))
        let template = Template.sealed(policy: policy, attributes: [.fixedTPM, .fixedParent, .noDA])
        return try Created(try tpm.run(.create, [try tpm.primary(Template.eccStorage).handle], passwords: [[]], creation(template, data: data)))
    }

    /// nil: the policy does not hold.
    private func unseal(_ sealed: Created, _ tpm: TPMConnection) throws -> [UInt8]? {
        let object = try #require(try tpm.load(sealed, under: try tpm.primary(Template.eccStorage).handle).handle)
        let response = try ClientSession.run(
            tpm, .unseal, [Entity(object, name: sealed.publicArea.name)], [.init(try session(tpm))], authorized: 1)
        #expect(response.code == .success || response.code == TPMRC.policyFail.session(1))
        return response.code == .success ? Array(response.parameters.dropFirst(2)) : nil
    }

    @Test func aGuestThatMayNotGetsNoDeepQuoteAndTheLogSaysWhy() throws {
        let guest = try Emulator(broker)
        let tpm = try guest.connect()
        #expect(try request([0], tpm) == .success)
        #expect(try tpm.run(.nvReadPublic, [TPMHandle(0x010A_5002)]).code == .success)
        try apply("deep-quote-pcrs = []")
        #expect(try request([0], tpm) == .disabled)
        try eventually("the log says why") {
            let refusal = broker.child.log.split(separator: "\n").first { $0.contains("event=deep-quote-refused") }
            return refusal?.contains("why=\"the policy does not allow it\"") ?? false
        }
        try apply("deep-quote-pcrs = [0]")
        #expect(try request([0], tpm) == .success)
    }
}
