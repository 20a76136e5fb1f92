// The whole exchange with real processes: a guest, its host and a verifier, each with its own tools.
import Foundation
import Testing
import TPMCrypto
import TPMWire
import Wire

@Suite(.serialized) struct AttestationExchangeTests {
    private let broker: Broker
    private let guest: Emulator
    private let files: TemporaryDirectory
    private let nonce = "00112233445566778899aabbccddeeff"

    init() throws {
        broker = try Broker()
        files = try TemporaryDirectory()
        #expect(try Self.control(["host", "init", "--dir", broker.directory.path]).status == 0)
        guest = try Emulator(broker)
        #expect(try Self.control(["host", "enrol", "--dir", broker.directory.path, "--out", files.path + "/evidence"]).status == 0)
    }

    private static func control(_ arguments: [String]) throws -> (status: Int32, output: String) {
        try run(Programs.path("paratpmctl"), arguments)
    }
    private func host(_ arguments: String...) throws -> (status: Int32, output: String) {
        try Self.control(arguments + ["--dir", broker.directory.path])
    }
    private func path(_ name: String) -> String { files.path + "/" + name }
    private func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path(name)))) }
    private func write(_ bytes: [UInt8], _ name: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: path(name))) }
    private func verify(_ bundle: String, _ more: String..., nonce: String? = nil) throws -> (status: Int32, output: String) {
        try Self.control(
            ["attest", "verify", path(bundle), "--nonce", nonce ?? self.nonce, "--host-evidence", path("evidence")] + more)
    }

    /// As tpm2_nvwrite and tpm2_nvread do it: the public area, then parts of what they may be at most.
    private func readNV(_ index: TPMHandle, _ tpm: TPMConnection) throws -> [UInt8] {
        var reader = WireReader(try tpm.run(.nvReadPublic, [index]).parameters)
        let size = Int(try reader.value(Sized<NVPublic>.self).value.dataSize)
        var contents: [UInt8] = []
        while contents.count < size {
            let part = try tpm.run(.nvRead, [index, index], passwords: [[]]) {
                $0.u16(UInt16(min(size - contents.count, 300)))
                $0.u16(UInt16(contents.count))
            }
            #expect(part.code == .success)
            contents += part.parameters.dropFirst(2)
        }
        return contents
    }

    /// The TPM's first answer comes when its power is on, and with it its certificates.
    private func connect() throws -> TPMConnection {
        let tpm = try guest.connect()
        #expect(try tpm.run(.getRandom) { $0.u16(8) }.code == .success)
        return tpm
    }

    private func deepQuote(_ tpm: TPMConnection, pcrs: String = "sha256:0,7,16") throws -> [UInt8] {
        #expect(try Self.control(["attest", "request", "--nonce", nonce, "--pcrs", pcrs, "--out", path("request")]).status == 0)
        let request = try bytes("request")
        let code = try tpm.run(.nvWrite, [TPMHandle(0x010A_5000), TPMHandle(0x010A_5000)], passwords: [[]]) {
            $0.sized16(request)
            $0.u16(0)
        }.code
        #expect(code == .success)
        return try readNV(TPMHandle(0x010A_5001), tpm)
    }

    private var guestID: String {
        get throws { String(try host("guest", "list").output.split(separator: "\t").last?.prefix(64) ?? "") }
    }

    @Test func aGuestProvesItselfAndItsHost() throws {
        let tpm = try guest.connect()
        #expect(try tpm.extendPCR(16, [TaggedDigest(.sha256, digest(.sha256, [1]))]) == .success)
        let measured = try tpm.readPCR(16)
        try write(try deepQuote(tpm), "bundle")
        try write(Array("sha256:\n  16: 0x\(hex(measured))\n".utf8), "vpcrs")
        try write(Array(try host("host", "pcrs").output.utf8), "pcrs")
        try write(try readNV(EndorsementCertificate.rsa2048.index, tpm), "certificate")
        let pin = try host("host", "status").output.split(separator: "\n").first { $0.hasPrefix("endorsement-key: ") }?.dropFirst(17)
        let proved = try verify(
            "bundle", "--ek-pin", String(try #require(pin)), "--guest", try guestID, "--certificate", path("certificate"), "--host-pcrs",
            path("pcrs"), "--guest-pcrs", path("vpcrs"))
        #expect(proved.status == 0, "\(proved.output)")
        #expect(proved.output.split(separator: "\n").allSatisfy { $0.hasPrefix("ok ") })
        let json = try verify("bundle", "--json")
        let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        #expect(object?["holds"] as? Bool == true)
        #expect((object?["guestPCRs"] as? [String: String])?["sha256:16"] == hex(measured))
        // What the host asks for is the same, but for its nonce.
        #expect(try host("quote", try #require(try host("guest", "list").output.split(separator: "\t").first.map(String.init)),
                         "--nonce", "ff", "--out", path("hosts")).status == 0)
        #expect(try verify("hosts", nonce: "ff").status == 0)
    }

    @Test func whatIsNotSoIsRefusedAndSaid() throws {
        let tpm = try guest.connect()
        let bundle = try deepQuote(tpm)
        try write(bundle, "bundle")
        func expectBroken(_ link: String, _ result: (status: Int32, output: String)) {
            #expect(result.status == 65 && result.output.contains("BROKEN  \(link)"), "\(result.output)")
        }
        expectBroken("nonce", try verify("bundle", nonce: "00"))
        expectBroken("guest", try verify("bundle", "--guest", String(repeating: "0", count: 64)))
        expectBroken("endorsement key", try verify("bundle", "--ek-pin", "00"))
        try write(Array("sha256:\n  7 : 0x\(String(repeating: "11", count: 32))\n".utf8), "wrong")
        expectBroken("host's PCRs", try verify("bundle", "--host-pcrs", path("wrong")))
        expectBroken("guest's vPCRs", try verify("bundle", "--guest-pcrs", path("wrong")))
        for byte in stride(from: 0, to: bundle.count, by: 40) {
            var forged = bundle
            forged[byte] ^= 1
            try write(forged, "forged")
            #expect(try verify("forged").status == 65, "byte \(byte)")
        }
        #expect(try verify("bundle", "--guest-pcrs", path("missing")).status == 66)
        // Another host, with the same names.
        let other = try Broker()
        #expect(try Self.control(["host", "init", "--dir", other.directory.path]).status == 0)
        #expect(try Self.control(["host", "enrol", "--dir", other.directory.path, "--out", path("other")]).status == 0)
        expectBroken("bundle", try Self.control(
            ["attest", "verify", path("bundle"), "--nonce", nonce, "--host-evidence", path("other")]))
    }

    /// docs/examples: the format is what the document says, not what our code happens to do.
    @Test func theVerifierInPythonAgrees() throws {
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("docs/examples/verify_deep_quote.py").path
        #expect(try String(contentsOfFile: script, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false).count < 150)
        let bundle = try deepQuote(try guest.connect(), pcrs: "sha1:0+sha256:16+sha512:23")
        try write(bundle, "bundle")
        func python(_ bundle: String, _ evidence: String = "evidence", nonce: String? = nil) throws -> (status: Int32, output: String) {
            try run("/usr/bin/python3", ["-W", "ignore", script, path(bundle), path(evidence), nonce ?? self.nonce])
        }
        let (accepted, id) = (try python("bundle"), try guestID)
        #expect(accepted.status == 0 && accepted.output.contains(id), "\(accepted.output)")
        #expect(try python("bundle", nonce: "00").status == 1)
        for (name, original) in [("bundle", bundle), ("evidence", try bytes("evidence"))] {
            for byte in stride(from: 3, to: original.count, by: 97) {
                var forged = original
                forged[byte] ^= 0x20
                try write(forged, "forged")
                let result = name == "bundle" ? try python("forged") : try python("bundle", "forged")
                #expect(result.status == 1 && result.output.contains("refused"), "\(name), byte \(byte): \(result.output)")
            }
        }
    }

    @Test func certificatesVerifyAreRenewedAndRevoked() throws {
        let name = try #require(try host("guest", "list").output.split(separator: "\t").first.map(String.init))
        func save(_ file: String, _ arguments: String...) throws {
            let output = try Self.control(arguments + ["--dir", broker.directory.path])
            #expect(output.status == 0, "\(output.output)")
            try write(Array(output.output.utf8), file)
        }
        func openssl(_ arguments: String...) throws -> (status: Int32, output: String) {
            try run("/usr/bin/openssl", ["verify", "-crl_check", "-CAfile", path("host"), "-CRLfile", path("list")] + arguments)
        }
        try write(try deepQuote(try connect()), "bundle")
        try save("host", "host", "certificate")
        try save("list", "host", "revocations")
        for index in ["0x1c00002", "0x1c0000a", "0x1c08000"] {
            try save(index, "guest", "certificate", name, "--index", index)
            let verified = try openssl(path(index))
            #expect(verified.status == 0, "\(verified.output)")
        }
        #expect(try verify("bundle", "--certificate", path("0x1c00002"), "--revocations", path("list")).status == 0)

        #expect(try host("guest", "certify", name, "--index", "0x1c00002", "--index", "0x1c00016").status == 0)
        try save("list", "host", "revocations")
        #expect(try openssl(path("0x1c00002")).output.contains("revoked"))
        let revoked = try verify("bundle", "--certificate", path("0x1c00002"), "--revocations", path("list"))
        #expect(revoked.status == 65 && revoked.output.contains("is revoked"))
        try guest.restart()
        let tpm = try connect()
        for index in [EndorsementCertificate.rsa2048, .highP384] {
            try save("new", "guest", "certificate", name, "--index", "0x" + String(index.rawValue, radix: 16))
            #expect(try openssl(path("new")).status == 0)
            #expect(try run("/usr/bin/openssl", ["x509", "-in", path("new"), "-outform", "der", "-out", path("der")]).status == 0)
            #expect(try readNV(index.index, tpm) == bytes("der"))
        }

        #expect(try host("guest", "certify", name, "--revoke", "--index", "0x1c00002").status == 0)
        #expect(try tpm.run(.nvReadPublic, [EndorsementCertificate.rsa2048.index]).code == .success, "not under a running guest")
        try guest.restart()
        let after = try connect()
        #expect(try after.run(.nvReadPublic, [EndorsementCertificate.rsa2048.index]).code == TPMRC.handle.handle(1))
        #expect(try after.run(.nvReadPublic, [EndorsementCertificate.eccP256.index]).code == .success)
        #expect(try host("guest", "certificate", name, "--index", "0x1c00002").status != 0)
    }

    @Test func aHostAnswersAVerifiersChallenge() throws {
        let expected = try Self.control(["attest", "challenge", path("evidence"), "--out", path("challenge")])
        #expect(expected.status == 0)
        #expect(try host("host", "activate", path("challenge")).output == expected.output)
        #expect(try Self.control(["host", "verify", path("evidence")]).status == 0)
        #expect(try Self.control(["host", "verify", path("evidence"), "--ek-pin", "00"]).status == 65)
        #expect(try Self.control(["host", "verify", path("challenge")]).status == 65)
    }

    private func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
}
