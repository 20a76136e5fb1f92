// The gate secret under the host's PCRs: on a host that booted otherwise no gated key can be used.
import Foundation
import Testing
import TPMCrypto
import TPMWire

@Suite(.serialized) struct SealedGateTests {
    private func seal(_ arguments: String..., broker: Broker) throws -> (status: Int32, output: String) {
        try run(Programs.path("paratpmctl"), ["host", "seal-gate", "--dir", broker.directory.path] + arguments)
    }

    @Test func onAHostThatBootedOtherwiseThePolicyCheckerDoesNotStart() throws {
        // A chip that stays, so that its PCRs can change between two runs of the broker.
        let chip = try Emulator(nil)
        let broker = try Broker(chip: "stream:" + chip.dataSocket)
        #expect(try seal(broker: broker).status == 64)
        #expect(try seal("--pcrs", "sha256:0,7", broker: broker).status == 0)
        try broker.restart()
        broker.child.stop()
        #expect(try chip.connect().extendPCR(7, [TaggedDigest(.sha256, digest(.sha256, [7]))]) == .success)
        let ended = try run(
            Programs.path("paratpmctl"), ["run", "--dir", broker.directory.path, "--chip", "stream:" + chip.dataSocket])
        #expect(ended.status != 0)
        #expect(ended.output.contains("booted otherwise than when the gate secret was sealed under its PCRs (sha256:0,7)"))
    }

    @Test func thePCRsCanBeTakenOffAgain() throws {
        let chip = try Emulator(nil)
        let broker = try Broker(chip: "stream:" + chip.dataSocket)
        #expect(try seal("--pcrs", "sha256:0,7", broker: broker).status == 0)
        #expect(try seal("--no-pcrs", broker: broker).status == 0)
        broker.child.stop()
        #expect(try chip.connect().extendPCR(7, [TaggedDigest(.sha256, digest(.sha256, [7]))]) == .success)
        try broker.restart()
    }
}
