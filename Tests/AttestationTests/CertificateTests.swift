// Certificates and revocation lists, beside OpenSSL: what we make it accepts, what it makes we accept.
import CryptoBase
import Foundation
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import Attestation
@testable import AttestationFormats

/// Files of one test, and openssl on them.
private final class Bench {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent("paratpm-x509-\(UUID().uuidString)")
    init() throws { try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(at: directory) }

    func write(_ name: String, _ text: String) throws { try text.write(to: directory.appendingPathComponent(name), atomically: true, encoding: .utf8) }
    func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: directory.appendingPathComponent(name))) }

    @discardableResult
    func openssl(_ arguments: String...) throws -> (status: Int32, output: String) { try openssl(arguments) }

    func openssl(_ arguments: [String]) throws -> (status: Int32, output: String) {
        let (process, pipe) = (Process(), Pipe())
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments
        process.currentDirectoryURL = directory
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return (process.terminationStatus, output)
    }
}

@Suite struct CertificateTests {
    private let bench: Bench
    private let host = SoftwareHost()
    private let guest = [UInt8](repeating: 0xAB, count: 32)
    private let now = Int64(Date().timeIntervalSince1970) - 60
    init() throws { bench = try Bench() }

    private func guestCertificate(_ kind: GuestCertificateKind = .endorsementKey, of key: PublicArea, serial: [UInt8]) throws -> [UInt8] {
        host.sign(try #require(host.authority.guestCertificate(kind, of: key, guest: guest, name: "web", serial: serial, from: now)))
    }

    /// A key with this modulus, which the certificate only carries.
    private var rsaKey: PublicArea {
        PublicArea(
            nameAlgorithm: .sha256, attributes: [.restricted, .decrypt, .fixedTPM],
            parameters: .rsa(symmetric: .aes(keyBits: 128, mode: .cfb), scheme: .null, keyBits: 2048, exponent: 0),
            unique: .rsa([0xC5] + [UInt8](repeating: 0x35, count: 255)))
    }

    @Test func opensslAcceptsTheHostsAndItsGuestsCertificates() throws {
        try bench.write("host.pem", PEM.text("CERTIFICATE", host.sign(host.authority.hostCertificate(serial: CertificateAuthority.newSerial(), from: now))))
        for (name, key) in [("rsa", rsaKey), ("ecc", SoftwareKey.endorsement().area)] {
            for (kind, use) in [(GuestCertificateKind.endorsementKey, "2.23.133.8.1"), (.platform, "2.23.133.8.2")] {
                try bench.write("\(name).pem", PEM.text("CERTIFICATE", try guestCertificate(kind, of: key, serial: CertificateAuthority.newSerial())))
                let verified = try bench.openssl("verify", "-x509_strict", "-CAfile", "host.pem", "\(name).pem")
                #expect(verified.status == 0, "\(verified.output)")
                let text = try bench.openssl("x509", "-in", "\(name).pem", "-noout", "-text").output
                #expect(text.contains(use) || text.contains("Endorsement Key Certificate") || text.contains("Platform"))
                #expect(text.contains(name == "rsa" ? "Key Encipherment" : "Key Agreement"))
                #expect(text.contains("CN = web, serialNumber = \(hexadecimal(guest))"))
                #expect(text.contains("CA:FALSE") && text.contains("Not After : Dec 31 23:59:59 9999 GMT"))
            }
        }
    }

    /// TCG EK Credential Profile 2.5, 3.2.9: directoryName with the manufacturer, the model and the version.
    @Test func theAlternativeNameIsTheTPMs() throws {
        let bytes = try guestCertificate(of: rsaKey, serial: [1])
        let manufacturer = DER.element(
            DER.sequence, DER.identifier([0x67, 0x81, 0x05, 0x02, 0x01]), DER.element(DER.utf8String, Array("id:5054504D".utf8)))
        let version = DER.element(
            DER.sequence, DER.identifier([0x67, 0x81, 0x05, 0x02, 0x03]), DER.element(DER.utf8String, Array("id:00010000".utf8)))
        for part in [manufacturer, version] {
            #expect((0..<bytes.count - part.count).contains { bytes[$0..<$0 + part.count].elementsEqual(part) })
        }
    }

    @Test func whatIsRevokedOpensslRefuses() throws {
        let (good, bad) = ([UInt8]([0x41]) + [UInt8](repeating: 1, count: 15), [UInt8]([0x42]) + [UInt8](repeating: 2, count: 15))
        let hostCertificate = host.sign(host.authority.hostCertificate(serial: CertificateAuthority.newSerial(), from: now))
        let list = host.sign(host.authority.revocationList(number: 5, at: now, revoked: [(bad, now)]))
        try bench.write("host.pem", PEM.text("CERTIFICATE", hostCertificate))
        try bench.write("list.pem", PEM.text("X509 CRL", list))
        for (name, serial) in [("good", good), ("bad", bad)] {
            try bench.write("\(name).pem", PEM.text("CERTIFICATE", try guestCertificate(of: rsaKey, serial: serial)))
        }
        func verify(_ name: String) throws -> (status: Int32, output: String) {
            try bench.openssl("verify", "-crl_check", "-CAfile", "host.pem", "-CRLfile", "list.pem", "\(name).pem")
        }
        #expect(try verify("good").status == 0)
        #expect(try verify("bad").output.contains("certificate revoked"))
        let decoded = try RevocationList(list)
        #expect(decoded.serials == [bad] && decoded.isSigned(by: host.certificate.area) && !decoded.isSigned(by: SoftwareKey.certificate().area))
        #expect(try RevocationList(host.sign(host.authority.revocationList(number: 1, at: now, revoked: []))).serials == [])
        #expect(decoded.isCurrent(at: now) && decoded.isCurrent(at: now + CertificateAuthority.listLifetime))
        #expect(!decoded.isCurrent(at: now - 1) && !decoded.isCurrent(at: now + CertificateAuthority.listLifetime + 1))
        for bit in 0..<list.count * 8 {
            let forged = try? RevocationList(flipping(bit, of: list))
            #expect(forged?.isSigned(by: host.certificate.area) ?? false == false, "bit \(bit)")
        }
    }

    private func flipping(_ bit: Int, of bytes: [UInt8]) -> [UInt8] {
        var forged = bytes
        forged[bit / 8] ^= 1 << (bit % 8)
        return forged
    }

    /// As some makers of chips write it: id-RSAES-OAEP, 1.2.840.113549.1.1.7, where others write rsaEncryption.
    @Test func anEndorsementKeyMayBeNamedAfterItsUse() throws {
        let unsigned = try #require(host.authority.guestCertificate(
            .endorsementKey, of: rsaKey, guest: guest, name: "chip", serial: [0x41], from: now)).bytes
        let rsaEncryption: [UInt8] = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01]
        let place = try #require((0..<unsigned.count - 9).first { unsigned[$0..<$0 + 9].elementsEqual(rsaEncryption) })
        var renamed = unsigned
        renamed[place + 8] = 7
        let bytes = host.sign(Unsigned(bytes: renamed))
        let certificate = try Certificate(bytes)
        #expect(certificate.isOf(rsaKey) && certificate.isSigned(by: host.certificate.area) && certificate.serial == [0x41])
        #expect(!certificate.isOf(SoftwareKey.endorsement().area) && !certificate.isSigned(by: SoftwareKey.certificate().area))
        for bit in 0..<bytes.count * 8 {
            let forged = try? Certificate(flipping(bit, of: bytes))
            #expect(forged?.isSigned(by: host.certificate.area) ?? false == false, "bit \(bit)")
        }
    }

    @Test func aSubjectCannotWriteLinesOfAReport() throws {
        let name = "chip\nok      signature: all is well\u{1B}[2K"
        let unsigned = try #require(host.authority.guestCertificate(
            .endorsementKey, of: rsaKey, guest: guest, name: name, serial: [0x41], from: now))
        let text = try Certificate(host.sign(unsigned)).subjectText
        #expect(text.contains("all is well") && !text.contains("\n") && !text.contains("\u{1B}"))
    }

    /// A root, a certificate in between and a leaf, RSA and ECDSA, made by OpenSSL.
    @Test(arguments: [("rsa:2048", "-sha256"), ("ec", "-sha384")])
    func chainsThatOpensslMadeVerify(_ kind: (key: String, hash: String)) throws {
        let keyArguments = kind.key == "ec" ? ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"] : ["-newkey", kind.key]
        try bench.write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
        try bench.write("ee.ext", "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyEncipherment\n")
        func request(_ name: String) throws {
            let arguments = ["req", "-new", "-nodes", "-keyout", "\(name).key", "-out", "\(name).csr", "-subj", "/CN=\(name)"]
            #expect(try bench.openssl(arguments + keyArguments).status == 0)
        }
        for name in ["root", "middle", "leaf"] { try request(name) }
        func sign(_ name: String, by issuer: String?, _ ext: String) throws {
            let by = issuer.map { ["-CA", "\($0).pem", "-CAkey", "\($0).key", "-CAcreateserial"] } ?? ["-signkey", "\(name).key"]
            let result = try bench.openssl(
                ["x509", "-req", "-in", "\(name).csr", "-out", "\(name).pem", "-days", "10", kind.hash, "-extfile", ext] + by)
            #expect(result.status == 0, "\(result.output)")
        }
        try sign("root", by: nil, "ca.ext")
        try sign("middle", by: "root", "ca.ext")
        try sign("leaf", by: "middle", "ee.ext")
        let (root, middle, leaf) = (
            try PEM.objects(bench.read("root.pem"))[0], try PEM.objects(bench.read("middle.pem"))[0], try PEM.objects(bench.read("leaf.pem"))[0])
        let later = now + 3600
        #expect(try CertificateChain.verify(leaf, roots: [root, middle], time: later) == "CN=root")
        #expect(throws: FormatError.self) { try CertificateChain.verify(leaf, roots: [root], time: later) }
        #expect(throws: FormatError.self) { try CertificateChain.verify(leaf, roots: [middle], time: later) }
        #expect(throws: FormatError.self) { try CertificateChain.verify(leaf, roots: [root, middle], time: later + 20 * 86_400) }
        for byte in stride(from: 0, to: leaf.count, by: 7) {
            var forged = leaf
            forged[byte] ^= 0x10
            #expect(throws: FormatError.self, "byte \(byte)") { try CertificateChain.verify(forged, roots: [root, middle], time: later) }
        }
        for count in 0..<leaf.count { #expect(throws: FormatError.self) { try Certificate(Array(leaf[..<count])) } }
    }

    @Test(arguments: [(0, "700101000000Z"), (951_782_400, "000229000000Z"), (2_524_607_999, "491231235959Z"), (1_795_392_059, "261123000059Z")])
    func timesAreWritten(_ time: (seconds: Int64, text: String)) throws {
        let encoded = DERTime.encoded(time.seconds)
        #expect(encoded == DER.element(DER.utcTime, Array(time.text.utf8)))
    }

    @Test func from2050OnTheYearHasFourDigits() {
        #expect(DERTime.encoded(2_524_608_000) == DER.element(DER.generalizedTime, Array("20500101000000Z".utf8)))
    }

    @Test func pemIsReadAsItIsWritten() throws {
        for count in 1..<70 {
            let bytes = [UInt8]((0..<count).map { UInt8($0 * 7 % 256) })
            #expect(try PEM.objects(Array(PEM.text("X", bytes).utf8)) == [bytes])
        }
        for wrong in ["-----BEGIN X-----\nAA\n-----END X-----", "-----BEGIN X-----\nA===\n-----END X-----", "-----BEGIN X-----\nAAAA\n"] {
            #expect(throws: FormatError.self) { try PEM.objects(Array(wrong.utf8)) }
        }
    }
}
