// The command lines that libvirt, Incus, Proxmox and people give swtpm_setup and swtpm_ioctl.
import SwtpmTools
import TPMWire
import Testing

private func setup(_ line: String) throws -> SetupArguments { try SetupArguments(line.split(separator: " ").map(String.init)) }
private func ioctl(_ line: String) throws -> IoctlArguments { try IoctlArguments(line.split(separator: " ").map(String.init)) }

@Suite struct SetupCommandLines {
    @Test func libvirtMakesANewTPM() throws {
        let arguments = try setup(
            "--tpm2 --tpm-state /d --vmid vm:uuid --logfile /l --createek --create-ek-cert --create-platform-cert --lock-nvram --not-overwrite")
        #expect(arguments.state == .directory("/d") && arguments.existing == .stays && arguments.logFile == "/l")
        #expect(arguments.createsEndorsementKeys && arguments.wantsCertificates && !arguments.createsStorageKey)
        #expect(arguments.banks == [.sha256])
    }

    @Test func libvirtReconfiguresAndReceives() throws {
        let banks = try setup("--tpm2 --tpm-state /d --logfile /l --pcr-banks sha256,sha384 --reconfigure")
        #expect(banks.existing == .isReconfigured && banks.banks == [.sha256, .sha384])
        #expect(try setup("--tpm2 --tpm-state /d --logfile /l --overwrite").existing == .isReplaced)
        #expect(try setup("--create-config-files skip-if-exist").task == .nothing)
    }

    @Test func proxmoxKeepsItInAFile() throws {
        let arguments = try setup(
            "--tpmstate file:///dev/zvol/x --createek --create-ek-cert --create-platform-cert --lock-nvram --config /c --runas 0 --not-overwrite --tpm2 --ecc")
        #expect(arguments.state == .file("/dev/zvol/x") && arguments.runAs == "0" && arguments.isECC)
    }

    @Test func managersProbe() throws {
        guard case .print(let text) = try setup("--print-capabilities").task else { return #expect(Bool(false)) }
        for feature in ["tpm-2.0", "cmdarg-pwdfile-fd", "cmdarg-create-config-files", "cmdarg-reconfigure-pcr-banks"] {
            #expect(text.contains("\"\(feature)\""))
        }
    }

    @Test(arguments: ["--tpm2", "--tpm-state /d", "--bogus", "--tpm2 --tpm-state /d --pcr-banks md5", "--tpm2 --tpm-state /d --rsa-keysize 3072"])
    func whatCannotBeIsRefused(_ line: String) {
        #expect { try setup(line) } throws: { ($0 as? ToolError)?.exit == 1 }
    }

    /// The Names' policies and attributes that verifiers look for (EK Credential Profile 2.5, B.3 and B.4).
    @Test func endorsementTemplatesAreTheTCGs() {
        #expect(SetupKey.endorsementRSA.template.wire.prefix(8) == [0x00, 0x01, 0x00, 0x0B, 0x00, 0x03, 0x00, 0xB2])
        #expect(SetupKey.endorsementP384.template.wire.prefix(8) == [0x00, 0x23, 0x00, 0x0C, 0x00, 0x03, 0x00, 0xF2])
    }
}

@Suite struct IoctlCommandLines {
    @Test func libvirtShutsATPMDown() throws {
        let arguments = try ioctl("--unix /run/s.sock -s")
        #expect(arguments.target == .unix("/run/s.sock") && arguments.command == .shutdown)
    }

    @Test func everyCommand() throws {
        let commands: [(String, IoctlArguments.Command)] = [
            ("-c", .getCapability), ("-i", .initialize(flags: 0)), ("-i 2", .initialize(flags: 2)), ("--stop", .stop), ("-e", .getEstablished),
            ("-v", .storeVolatile), ("-C", .cancel), ("-g", .getConfig), ("-r 3", .resetEstablished(3)), ("-l 4", .setLocality(4)),
            ("-h abc", .hash("abc")), ("-h -", .hash(nil)), ("-b 4000", .setBufferSize(4000)), ("--info 0x6", .getInfo(6)),
        ]
        for (line, command) in commands { #expect(try ioctl("--tcp :2322 \(line)").command == command) }
        #expect(try ioctl("--tcp :2322 -c").target == .tcp(host: "127.0.0.1", port: 2322))
    }

    @Test(arguments: ["", "--unix /s", "-c -e --unix /s", "--unix /s -l 5", "-c", "--unix /s --save volatile f", "-x"])
    func whatCannotBeIsRefused(_ line: String) {
        #expect { try ioctl(line) } throws: { ($0 as? ToolError)?.exit == 1 }
    }
}
