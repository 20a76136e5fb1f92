// A guest that is bound to its host: on one that booted otherwise its TPM does not work, and the log says why.
import Foundation
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct BoundGuestTests {
    private func control(_ arguments: String..., broker: Broker) throws -> (status: Int32, output: String) {
        try run(Programs.path("paratpmctl"), arguments + ["--dir", broker.directory.path])
    }

    @Test func onAHostThatBootedOtherwiseABoundGuestDoesNotLoadUntilThatIsApproved() throws {
        // A chip that stays, so that its PCRs can change between two runs of the broker.
        let chip = try Emulator(nil)
        let broker = try Broker(chip: "stream:" + chip.dataSocket)
        let key = broker.directory.path + "/key.pem"
        #expect(try run("/usr/bin/openssl", ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key]).status == 0)
        #expect(try control("guest", "add", "web", broker: broker).status == 0)
        let bound = try control("guest", "bind", "web", "--key", key, "--pcrs", "sha256:0,7", broker: broker)
        #expect(bound.status == 0, "\(bound.output)")

        let guest = try Emulator(broker, state: broker.directory.path + "/guests/web")
        let storageKey = try guest.connect().primary(Template.eccStorage).area
        guest.child.stop()
        broker.child.stop()

        #expect(try chip.connect().extendPCR(7, [TaggedDigest(.sha256, digest(.sha256, [7]))]) == .success)
        try broker.restart()
        try guest.startAgain()
        #expect(try guest.connect().run(.getRandom) { $0.u16(4) }.code == .failure)
        try eventually("the log says why") { broker.child.log.contains("is bound to a host that booted otherwise: PCR 7 (sha256) is") }
        guest.child.stop()

        let update = try control("host", "authorize-update", "--key", key, broker: broker)
        #expect(update.status == 0 && update.output.contains("web: sha256:0,7 approved"), "\(update.output)")
        try guest.startAgain()
        #expect(try guest.connect().primary(Template.eccStorage).area == storageKey)
        let again = try control("guest", "bind", "web", "--key", key, broker: broker)
        #expect(again.status == 69 && again.output.contains("has keys already"), "\(again.output)")
    }
}
