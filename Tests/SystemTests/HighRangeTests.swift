// The TCG's high-range templates (EK Credential Profile 2.5, B.4): each certificate is of the key that stock tools make from the template.
import Foundation
import Testing

@Suite(.serialized) struct HighRangeTests {
    private let broker: Broker
    private let files: TemporaryDirectory
    private let port = Int.random(in: 10_000...14_000) * 2

    init() throws {
        broker = try Broker()
        files = try TemporaryDirectory()
        try FileManager.default.createSymbolicLink(atPath: files.path + "/swtpm", withDestinationPath: Programs.path("paratpm-guest"))
        try FileManager.default.createDirectory(atPath: files.path + "/state", withIntermediateDirectories: true)
        try control("host", "init")
    }

    private func path(_ name: String) -> String { files.path + "/" + name }

    @discardableResult
    private func control(_ arguments: String...) throws -> String {
        let result = try run(Programs.path("paratpmctl"), arguments + ["--dir", broker.directory.path])
        #expect(result.status == 0, "\(result.output)")
        return result.output
    }

    private func start() throws -> Child {
        let guest = try Child(
            path("swtpm"),
            ["socket", "--tpm2", "--server", "type=tcp,port=\(port)", "--ctrl", "type=tcp,port=\(port + 1)", "--tpmstate",
             "dir=\(files.path)/state", "--flags", "not-need-init,startup-clear"],
            environment: ["PARATPM_DIR": broker.directory.path], log: path("log"))
        try eventually("the guest's TPM answers: \(guest.log)", within: 120) { (try? tool("tpm2_getrandom", "4"))?.status == 0 }
        return guest
    }

    private func tool(_ name: String, _ arguments: String...) throws -> (status: Int32, output: String) {
        try run(
            "/usr/bin/" + name, arguments.map { $0.replacingOccurrences(of: "@", with: files.path + "/") },
            environment: ["TPM2TOOLS_TCTI": "swtpm:host=127.0.0.1,port=\(port)"])
    }

    private func indices() throws -> [String] {
        try tool("tpm2_getcap", "handles-nv-index").output.split(separator: "\n").map { $0.replacingOccurrences(of: "- 0x", with: "").lowercased() }
    }

    /// NV index, what tpm2_createek calls the key, or what tpm2_createprimary does.
    private static let templates: [(index: String, endorsementKey: String?, key: String)] = [
        ("1c00012", nil, "rsa2048:aes128cfb"), ("1c00014", nil, "ecc256:aes128cfb"), ("1c00016", "ecc384", ""),
        ("1c00018", "ecc521", ""), ("1c0001c", "rsa3072", ""),
    ]
    /// B.6.5: PolicyB for SHA-256.
    private static let policyB = "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"

    @Test func eachCertificateIsOfTheKeyThatStockToolsMake() throws {
        try start().stop()
        let name = try #require(try control("guest", "list").split(separator: "\t").first.map(String.init))
        try control("guest", "certify", name, "--high-range")
        var guest = try start()
        try control("host", "certificate").write(toFile: path("host.pem"), atomically: true, encoding: .utf8)
        let digest = stride(from: 0, to: Self.policyB.count, by: 2).map { UInt8(Self.policyB.dropFirst($0).prefix(2), radix: 16)! }
        try Data(digest).write(to: URL(fileURLWithPath: path("policy")))
        for (index, endorsementKey, key) in Self.templates {
            let made = if let endorsementKey {
                try tool("tpm2_createek", "-G", endorsementKey, "-c", "@key", "-u", "@public.pem", "-f", "pem")
            } else {
                try tool(
                    "tpm2_createprimary", "-C", "e", "-g", "sha256", "-G", key, "-L", "@policy", "-c", "@key", "-o", "@public.pem", "-f", "pem",
                    "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|adminwithpolicy|restricted|decrypt")
            }
            #expect(made.status == 0, "\(index): \(made.output)")
            #expect(try tool("tpm2_nvread", "0x" + index, "-o", "@der").status == 0)
            #expect(try run("/usr/bin/openssl", ["x509", "-inform", "der", "-in", path("der"), "-out", path("pem")]).status == 0)
            let verified = try run("/usr/bin/openssl", ["verify", "-CAfile", path("host.pem"), path("pem")])
            #expect(verified.status == 0, "\(index): \(verified.output)")
            let certified = try run("/usr/bin/openssl", ["x509", "-in", path("pem"), "-noout", "-pubkey"]).output
            #expect(try certified == String(contentsOfFile: path("public.pem"), encoding: .utf8), "\(index)")
            _ = try tool("tpm2_flushcontext", "-t")
        }
        // Its chip, which is libtpms, makes no key of 4096 bits.
        #expect(try !indices().contains("1c0001e"))

        try control("guest", "certify", name, "--high-range", "--revoke")
        guest.stop()
        guest = try start()
        #expect(try indices() == ["1c00002", "1c0000a", "1c08000"])
    }
}
