// `paratpmctl guest certify` and `guest certificate`: the certificates of guests' endorsement keys.
import ArgumentParser
import Attestation
import GuestIdentity
import IPC
import SystemMap
import TPMCrypto
import TPMWire

/// NV indices of certificates: 0x1c00002 and the like.
private struct CertificateIndex: ExpressibleByArgument {
    let certificate: EndorsementCertificate
    init?(argument: String) {
        let digits = argument.hasPrefix("0x") ? argument.dropFirst(2) : argument[...]
        guard let number = UInt32(digits, radix: 16), let certificate = EndorsementCertificate(rawValue: number) else { return nil }
        self.certificate = certificate
    }
    static var allValueStrings: [String] { EndorsementCertificate.allCases.map { "0x" + String($0.rawValue, radix: 16) } }
}

extension Guest {
    struct Certify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revoke a guest's certificates, and have new ones made when its TPM is started the next time.",
            discussion: """
                Every guest gets those of its RSA-2048 key (0x1c00002), its P-256 key (0x1c0000a) and its P-384 key (0x1c00016), and the \
                platform's (0x1c08000). Revoked ones leave the guest's TPM at that start. With --high-range it gets those of all keys of \
                the TCG's high range that its chip can make and its policy allows: RSA-2048, P-256, P-384, P-521, RSA-3072 and RSA-4096 \
                (0x1c00012 to 0x1c0001e); making large RSA keys takes a chip long, once. See paratpmctl host revocations.
                """)

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @Option(help: ArgumentHelp("This certificate alone, which it need not have had, by NV index. Repeatable.", valueName: "index"))
        private var index: [CertificateIndex] = []
        @Flag(help: "Those of the high range, which it need not have had.")
        var highRange = false
        @Flag(help: "Revoke, and make no new ones.")
        var revoke = false
        @OptionGroup var output: OutputOptions

        func run() throws {
            let chosen = index.map(\.certificate) + (highRange ? Self.highRange : [])
            _ = try options.instance.ask(.device, HostCalls.Recertify.self, .init(
                guest: try options.instance.guest(name).bytes, chosen: chosen.map(\.index), renewing: !revoke))
            output.show(.object([("guest", .string(name.text)), ("renewing", .bool(!revoke))])) {
                print("\(name): revoked" + (revoke ? "" : "; new ones are made when its TPM is started the next time"))
            }
        }

        private static let highRange: [EndorsementCertificate] = [
            .highRSA2048, .highP256, .highP384, .highP521, .highRSA3072, .highRSA4096,
        ]
    }

    struct ShowCertificate: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "certificate", abstract: "Print the certificate of a guest's endorsement key (PEM).")

        @OptionGroup var options: InstanceOptions
        @Argument(help: "The guest's name.") var name: GuestName
        @Option(help: ArgumentHelp("Which one, by NV index (default: 0x1c00002).", valueName: "index"))
        private var index: CertificateIndex?
        @OptionGroup var output: OutputOptions

        func run() throws {
            let guest = try options.instance.guest(name)
            let index = index?.certificate ?? .rsa2048
            let certificate = try options.instance.ask(
                .device, HostCalls.Certificate.self, .init(guest: guest.bytes, index: index.index),
                explained: [.unavailable: "\(name) has no such certificate yet; its TPM gets it when it starts, after paratpmctl host init"])
            let text = PEM.text("CERTIFICATE", certificate.bytes)
            output.show(.object([
                ("guest", .string(name.text)), ("index", .string("0x" + String(index.rawValue, radix: 16))), ("certificate", .string(text)),
            ])) { print(text, terminator: "") }
        }
    }
}
