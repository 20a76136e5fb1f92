// A guest with stock tpm2-tools, as Keylime's registrar enrols it: the certificate of its endorsement key, a credential for its
// attestation key, quotes by that key. And a deep quote by the same tools.
import Foundation
import Testing

@Suite(.serialized) struct RegistrarTests {
    private let broker: Broker
    private let files: TemporaryDirectory
    private let guest: Child
    private let port: Int

    init() throws {
        broker = try Broker()
        files = try TemporaryDirectory()
        #expect(try run(Programs.path("paratpmctl"), ["host", "init", "--dir", broker.directory.path]).status == 0)
        let swtpm = files.path + "/swtpm"
        try FileManager.default.createSymbolicLink(atPath: swtpm, withDestinationPath: Programs.path("paratpm-guest"))
        try FileManager.default.createDirectory(atPath: files.path + "/state", withIntermediateDirectories: true)
        port = Int.random(in: 10_000...14_000) * 2
        guest = try Child(
            swtpm,
            ["socket", "--tpm2", "--server", "type=tcp,port=\(port)", "--ctrl", "type=tcp,port=\(port + 1)", "--tpmstate",
             "dir=\(files.path)/state", "--flags", "not-need-init,startup-clear"],
            environment: ["PARATPM_DIR": broker.directory.path], log: files.path + "/log")
        try eventually("the guest's TPM answers: \(guest.log)") {
            (try? run("/usr/bin/tpm2_getrandom", ["4"], environment: tcti))?.status == 0
        }
    }

    private var tcti: [String: String] { ["TPM2TOOLS_TCTI": "swtpm:host=127.0.0.1,port=\(port)"] }
    private func path(_ name: String) -> String { files.path + "/" + name }

    /// In the guest.
    @discardableResult
    private func tool(_ name: String, _ arguments: String...) throws -> String {
        let result = try run("/usr/bin/" + name, arguments.map { $0.replacingOccurrences(of: "@", with: files.path + "/") }, environment: tcti)
        #expect(result.status == 0, "\(name): \(result.output)")
        return result.output
    }

    /// Where the verifier is.
    private func verifier(_ name: String, _ arguments: String...) throws -> (status: Int32, output: String) {
        try run(name, arguments.map { $0.replacingOccurrences(of: "@", with: files.path + "/") })
    }

    private func control(_ arguments: String...) throws -> String {
        let result = try run(Programs.path("paratpmctl"), arguments + ["--dir", broker.directory.path])
        #expect(result.status == 0, "\(result.output)")
        return result.output
    }

    @Test func aGuestsOwnKeyIsEnrolledByItsCertificateAndQuotes() throws {
        try control("host", "certificate").write(toFile: path("host.pem"), atomically: true, encoding: .utf8)
        try tool("tpm2_createek", "-G", "rsa", "-c", "@ek.ctx", "-u", "@ek.pem", "-f", "pem")
        try tool("tpm2_createak", "-C", "@ek.ctx", "-c", "@ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-u", "@ak.pem", "-f", "pem", "-n", "@ak.name")
        try tool("tpm2_readpublic", "-c", "@ek.ctx", "-o", "@ek.pub")
        try tool("tpm2_getekcertificate", "-o", "@certificate", "-o", "@eccCertificate")
        try tool("tpm2_nvread", "0x1c00002", "-o", "@read")
        #expect(try Data(contentsOf: URL(fileURLWithPath: path("read"))) == Data(contentsOf: URL(fileURLWithPath: path("certificate"))))

        // The registrar: whose key is it?
        #expect(try verifier("/usr/bin/openssl", "x509", "-inform", "der", "-in", "@certificate", "-out", "@certificate.pem").status == 0)
        #expect(try verifier("/usr/bin/openssl", "verify", "-CAfile", "@host.pem", "@certificate.pem").status == 0)
        let certified = try verifier("/usr/bin/openssl", "x509", "-in", "@certificate.pem", "-noout", "-pubkey").output
        #expect(try certified == String(contentsOfFile: path("ek.pem"), encoding: .utf8))
        // And is the other key in the same TPM?
        let name = try Data(contentsOf: URL(fileURLWithPath: path("ak.name"))).map { String(format: "%02x", $0) }.joined()
        try "a secret".write(toFile: path("secret"), atomically: true, encoding: .utf8)
        #expect(try verifier("/usr/bin/tpm2_makecredential", "-T", "none", "-u", "@ek.pub", "-s", "@secret", "-n", name, "-o", "@credential").status == 0)
        try tool("tpm2_startauthsession", "--policy-session", "-S", "@session")
        try tool("tpm2_policysecret", "-S", "@session", "-c", "e")
        try tool("tpm2_activatecredential", "-c", "@ak.ctx", "-C", "@ek.ctx", "-i", "@credential", "-o", "@opened", "-P", "session:\(path("session"))")
        #expect(try String(contentsOfFile: path("opened"), encoding: .utf8) == "a secret")

        try tool("tpm2_quote", "-c", "@ak.ctx", "-l", "sha256:0,7,16", "-q", "abcd", "-m", "@quote", "-s", "@signature", "-o", "@pcrs", "-g", "sha256")
        func check(_ nonce: String) throws -> Int32 {
            try verifier("/usr/bin/tpm2_checkquote", "-u", "@ak.pem", "-m", "@quote", "-s", "@signature", "-f", "@pcrs", "-q", nonce, "-g", "sha256").status
        }
        #expect(try check("abcd") == 0)
        #expect(try check("abce") != 0)
    }

    @Test func aDeepQuoteTakesTwoStockTools() throws {
        // The bytes that docs/attestation.md prints.
        let request: [UInt8] = [0, 4, 0, 0x11, 0x22, 0x33, 0, 0, 0, 1, 0, 0x0B, 3, 0x81, 0x40, 0]
        try Data(request).write(to: URL(fileURLWithPath: path("request")))
        try tool("tpm2_nvwrite", "0x10a5000", "-i", "@request")
        try tool("tpm2_nvread", "0x10a5001", "-o", "@bundle")
        _ = try control("host", "enrol", "--out", path("evidence"))
        let verified = try verifier(
            Programs.path("paratpmctl"), "attest", "verify", "@bundle", "--nonce", "00112233", "--host-evidence", "@evidence")
        #expect(verified.status == 0 && verified.output.contains("sha256:0,7,14 were quoted"), "\(verified.output)")
    }
}
