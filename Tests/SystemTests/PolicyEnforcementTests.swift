// A policy that changes under a running guest, through real processes.
import Foundation
import TPMCrypto
import TPMWire
import Testing
import Wire

@Suite(.serialized) struct PolicyEnforcementTests {
    private let broker: Broker
    private let guest: Emulator
    private let tpm: TPMConnection

    init() throws {
        broker = try Broker()
        guest = try Emulator(broker)
        tpm = try guest.connect()
        try FileManager.default.createDirectory(atPath: broker.directory.path + "/policy.d", withIntermediateDirectories: true)
    }

    private func reload(_ lines: String) throws {
        let text = "[profile.default]\n" + lines
        try text.write(toFile: broker.directory.path + "/policy.d/host.toml", atomically: true, encoding: .utf8)
        let result = try run(Programs.path("paratpmctl"), ["policy", "reload", "--dir", broker.directory.path])
        try #require(result.status == 0, "\(result.output)")
    }

    private func code(
        _ command: TPMCommandCode, _ handles: [TPMHandle] = [], passwords: [[UInt8]] = [], _ parameters: (inout WireWriter) -> Void = { _ in }
    ) throws -> UInt32 {
        try tpm.run(command, handles, passwords: passwords, parameters).code.rawValue
    }

    private func hash(_ algorithm: HashAlgorithm) throws -> UInt32 {
        try code(.hash) {
            $0.sized16([UInt8]("x".utf8))
            $0.value(algorithm)
            $0.value(TPMHandle.null)
        }
    }

    /// The first `count` 32-bit words behind capability and count.
    private func capability(_ capability: UInt32, _ property: UInt32, _ count: UInt32) throws -> [UInt32] {
        let response = try tpm.run(.getCapability) {
            $0.u32(capability)
            $0.u32(property)
            $0.u32(count)
        }
        var reader = WireReader(response.parameters)
        _ = (try reader.u8(), try reader.u32(), try reader.u32())
        var words: [UInt32] = []
        while let word = try? reader.u32() { words.append(word) }
        return words
    }

    private func define(_ index: UInt32, size: UInt16) throws -> UInt32 {
        try code(.nvDefineSpace, [.owner], passwords: [[]]) {
            $0.sized16([UInt8]())
            var area = WireWriter()
            area.u32(0x0100_0000 + index)
            area.value(HashAlgorithm.sha256)
            area.u32(0x0004_0004)  // authRead, authWrite
            area.sized16([UInt8]())
            area.u16(size)
            $0.sized16(area.bytes)
        }
    }

    @Test func commandsAndAlgorithmsGoAndComeBackUnderARunningGuest() throws {
        #expect(try hash(.sha1) == 0)
        let all = try capability(2, 0, 250)
        try reload("deny-commands = [\"Hash\"]\nalgorithms = [\"ecc\", \"ecdsa\", \"rsa\"]\n")
        #expect(try hash(.sha256) == 0x143)
        #expect(try capability(2, 0, 250).count == all.count - 1)
        #expect(try code(.pcrRead) { $0.list([PCRSelection(.sha1, pcrs: [0])]) } == 0x1C3)
        #expect(try code(.pcrRead) { $0.list([PCRSelection(.sha256, pcrs: [0])]) } == 0)
        #expect(guest.child.log.contains("event=command-refused guest=swtpm-"), "\(guest.child.log)")
        #expect(guest.child.log.contains(" command=Hash"))
        #expect(guest.child.log.contains(" algorithms=sha1"))
        try reload("")
        #expect(try hash(.sha1) == 0)
        #expect(try capability(2, 0, 250) == all)
    }

    @Test func quotasSinkUnderARunningGuestWhichKeepsWhatItHas() throws {
        let primary = try tpm.primary(Template.eccStorage).handle
        #expect(try code(.evictControl, [.owner, primary], passwords: [[]]) { $0.value(TPMHandle(0x8100_0001)) } == 0)
        #expect(try define(1, size: 1000) == 0)
        try reload(
            "nv-bytes = 1500\nnv-indices = 2\npersistent-objects = 0\nprimaries = 1\ntransient-objects = 3\nsessions = 3\n")
        // What it holds
        #expect(try code(.readPublic, [TPMHandle(0x8100_0001)]) == 0)
        #expect(try code(.nvReadPublic, [TPMHandle(0x0100_0001)]) == 0)
        // What is left: sizes, and how it ends
        #expect(try capability(6, 0x10E, 4) == [0x10E, 3, 0x10F, 0, 0x110, 3, 0x111, 3])
        #expect(try define(2, size: 1000) == 0x14B)
        #expect(try define(2, size: 10) == 0)
        #expect(try define(3, size: 10) == 0x14B)
        #expect(try code(.evictControl, [.owner, primary], passwords: [[]]) { $0.value(TPMHandle(0x8100_0002)) } == 0x14B)
        #expect(try code(.createPrimary, [.owner], passwords: [[]], creation(Template.eccSigning())) == 0x902)
        _ = (try tpm.primary(Template.eccStorage), try tpm.primary(Template.eccStorage))
        #expect(try code(.createPrimary, [.owner], passwords: [[]], creation(Template.eccStorage)) == 0x902)
        let sessions = try (0..<3).map { _ in try ClientSession(tpm) }
        #expect { try ClientSession(tpm) } throws: { "\($0)" == "StartAuthSession: 905" }
        #expect(sessions.count == 3)
        let log = guest.child.log
        #expect(log.contains("event=quota-exceeded guest=swtpm-") && log.contains("quota=persistent-objects held=1 allowed=0"), "\(log)")
        #expect(log.contains("event=quota-reached guest=swtpm-") && log.contains("quota=nv-bytes"), "\(log)")
    }

    @Test func aPolicyCheckerThatComesBackBringsTheSamePolicy() throws {
        try reload("deny-commands = [\"Hash\"]\n")
        #expect(try hash(.sha256) == 0x143)
        let old = try #require(try broker.processes { $0.contains("paratpm-policy") }.first)
        kill(old, SIGKILL)
        #expect(try hash(.sha256) == 0x143, "the proxy knows it without its checker")
        try eventually("the door is with the new checker") { guest.child.log.contains("policy is back") }
        #expect(try hash(.sha256) == 0x143)
        try reload("")
        #expect(try hash(.sha256) == 0)
    }
}
