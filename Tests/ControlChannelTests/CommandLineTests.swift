// Command lines that test suites, libvirt, Incus, Proxmox and swtpm_setup start swtpm with, and what the door makes of them.
import GuestDoor
import SystemMap
import Testing

private func swtpm(_ line: String, environment: [String: String] = [:]) throws -> DoorOptions {
    let arguments = line.split(separator: " ").map(String.init)
    guard case .run(let options) = try SwtpmArguments.parse(arguments, environment: environment) else {
        throw UsageError(message: "nothing to run", exit: 0)
    }
    return options
}

private func tcp(_ port: UInt16) -> Endpoint { .tcp(address: "127.0.0.1", port: port, interface: nil) }

@Suite struct SwtpmCommandLines {
    @Test func tpm2ToolsStartsItWithTwoPorts() throws {
        let options = try swtpm(
            "socket --tpm2 --server port=2321 --ctrl type=tcp,port=2322 --seccomp action=none --flags not-need-init --tpmstate dir=/t")
        #expect(options.data == tcp(2321))
        #expect(options.control == tcp(2322))
        #expect(!options.needsInit && !options.disconnects && !options.terminates)
        #expect(options.guest == .directory("/t"))
        #expect(options.startup == .none)
    }

    @Test func tpm2TSSLogsToADescriptor() throws {
        let options = try swtpm(
            "socket --tpm2 -p 2321 --ctrl type=tcp,port=2322 --log fd=1,level=5 --flags not-need-init --tpmstate dir=/t --locality allow-set-locality")
        #expect(options.data == tcp(2321))
        #expect(options.disconnects)
        #expect(options.logFile == .init(target: .descriptor(1), truncates: false))
    }

    @Test func swtpmsOwnTestsTakeTheDirectoryFromTheEnvironment() throws {
        let options = try swtpm(
            "socket --tpm2 --server type=tcp,port=65431,disconnect --ctrl type=tcp,port=65432", environment: ["TPM_PATH": "/p"])
        #expect(options.guest == .directory("/p"))
        #expect(options.disconnects)
        #expect(options.needsInit)
        #expect(throws: UsageError.self) { try swtpm("socket --tpm2 --ctrl type=tcp,port=1") }
    }

    @Test func swtpmSetupPassesDescriptors() throws {
        let options = try swtpm(
            "socket --flags not-need-init,startup-clear --tpmstate backend-uri=dir:///d --pid file=/d/.pid --tpm2 --server type=tcp,fd=5 --ctrl type=unixio,clientfd=7")
        #expect(options.data == .connected(5))
        #expect(options.control == .connected(7))
        #expect(options.terminates)
        #expect(options.startup == .clear && !options.needsInit)
        #expect(options.pidFile == .path("/d/.pid"))
        #expect(options.guest == .directory("/d"))
    }

    @Test func libvirtGivesOnlyAControlSocket() throws {
        let options = try swtpm(
            "socket --ctrl type=unixio,path=/s,mode=0600 --tpmstate dir=/d,mode=0600 --log file=/l --terminate --tpm2 --key pwdfd=30,mode=aes-256-cbc --migration-key pwdfd=31,mode=aes-256-cbc --migration release-lock-outgoing,incoming")
        #expect(options.control == .unix(path: "/s", mode: 0o600, uid: nil, gid: nil))
        #expect(options.data == nil)
        #expect(options.terminates)
        #expect(options.stateMode == 0o600)
        #expect(options.keyFlags == 3)
    }

    @Test func proxmoxKeepsItsStateInOneFile() throws {
        let arguments = [
            "socket", "--tpmstate", "backend-uri=file:///dev/zvol/x", "--ctrl", "type=unixio,path=/s,mode=0600", "--pid", "file=/p",
            "--terminate", "--daemon", "--log", "file=/l,level=1,prefix=[id=1690000000] ", "--tpm2",
        ]
        guard case .run(let options) = try SwtpmArguments.parse(arguments, environment: [:]) else { return #expect(Bool(false)) }
        #expect(options.guest == .file("/dev/zvol/x"))
        #expect(options.isDaemon)
        #expect(options.logFile?.target == .path("/l"))
        #expect(options.logPrefix == "[id=1690000000] ")
    }

    @Test func shortOptionsMayStandTogether() throws {
        let options = try swtpm("socket -td --tpm2 --tpmstate dir=/d --ctrl type=unixio,path=s,uid=65534,gid=65533")
        #expect(options.terminates && options.isDaemon)
        #expect(options.control == .unix(path: "s", mode: 0o770, uid: 65534, gid: 65533))
    }

    @Test func endpointsOfEveryKind() throws {
        let six = try swtpm("socket --tpm2 --tpmstate dir=/d --server type=tcp,port=9,bindaddr=fe80::1,ifname=eth0 --ctrl type=tcp,fd=4")
        #expect(six.data == .tcp(address: "fe80::1", port: 9, interface: "eth0"))
        #expect(six.control == .listening(4))
        let unix = try swtpm("socket --tpm2 --tpmstate dir=/d --server type=unixio,path=/a,mode=0700 --ctrl type=unixio,fd=8")
        #expect(unix.data == .unix(path: "/a", mode: 0o700, uid: nil, gid: nil))
        #expect(unix.control == .listening(8))
        let given = try swtpm("socket --tpm2 --tpmstate dir=/d --fd 9")
        #expect(given.data == .connected(9) && given.terminates)
    }

    @Test func localityAndShutdownRules() throws {
        let options = try swtpm(
            "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 --locality reject-locality-4,allow-set-locality --flags disable-auto-shutdown")
        #expect(options.rejectsLocality4 && !options.shutsDown && options.needsInit)
    }

    @Test(arguments: [
        "", "foo", "chardev --tpm2 --tpmstate dir=/d", "chardev --tpm2 --tpmstate dir=/d --fd 1", "chardev --tpm2 --tpmstate dir=/d --fd 9 --port 1",
        "socket --tpm2 --tpmstate dir=/d --vtpm-proxy", "socket --tpm2 --tpmstate dir=/d -c /dev/x --ctrl type=tcp,port=1",
        "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 --key file=/k,mode=rot13",
        "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 --key pwdfile=/k,kdf=none", "socket --tpm2 --tpmstate dir=/d", "socket --tpmstate dir=/d --ctrl type=tcp,port=1",
        "socket --tpm2 --tpmstate dir=/d --ctrl port=1", "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=70000",
        "socket --tpm2 --tpmstate dir=/d --ctrl type=unixio,path=/s,mode=999", "socket --tpm2 --tpmstate dir=/d --ctrl type=ip,path=/s",
        "socket --tpm2 --tpmstate mode=0600 --ctrl type=tcp,port=1", "socket --tpm2 --tpmstate backend-uri=ftp://x --ctrl type=tcp,port=1",
        "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 --flags startup-deactivated",
        "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 --flags bogus", "socket --bogus", "socket --tpm2 rest", "socket -x",
        "socket --tpm2 --tpmstate", "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 --key mode=aes-cbc",
        "socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 --pid level=1",
    ])
    func whatSwtpmRefusesEndsWithOne(_ line: String) {
        let arguments = line.split(separator: " ").map(String.init)
        #expect { try SwtpmArguments.parse(arguments, environment: [:]) } throws: { ($0 as? UsageError)?.exit == 1 }
    }

    @Test func devicesInPlaceOfSockets() throws {
        let given = try swtpm("chardev --fd 100 --tpmstate dir=/d --pid file=/p --ctrl type=unixio,path=/s,mode=621,uid=65534,gid=65534 --tpm2")
        #expect(given.device == .descriptor(100) && given.terminates && given.data == nil)
        #expect(given.control == .unix(path: "/s", mode: 0o621, uid: 65534, gid: 65534))
        #expect(try swtpm("chardev -c /dev/x --tpmstate dir=/d --tpm2").device == .path("/dev/x"))
        #expect(try swtpm("chardev --tpm2 --tpmstate dir=/d --vtpm-proxy").device == .virtual)
        guard case .print(let text) = try SwtpmArguments.parse(["chardev", "--help"], environment: [:]) else { return #expect(Bool(false)) }
        #expect(text.contains("--vtpm-proxy") && !text.contains("Unsupported TPM interface"))
    }

    @Test func keysInAllTheirForms() throws {
        func files(_ key: String) throws -> [DoorOptions.KeyFile] {
            try swtpm("socket --tpm2 --tpmstate dir=/d --ctrl type=tcp,port=1 \(key)").keyFiles
        }
        #expect(try files("--key file=/k,mode=aes-cbc,format=hex,remove") == [.init(path: "/k", isRemoved: true)])
        #expect(try files("--key pwdfile=/k,mode=aes-256-cbc,kdf=sha512 --migration-key pwdfile=/m,remove=true,kdf=sha512")
            == [.init(path: "/k", isRemoved: false), .init(path: "/m", isRemoved: true)])
        #expect(try files("--migration-key pwdfile=/m,remove=false,kdf=sha512") == [.init(path: "/m", isRemoved: false)])
        #expect(try files("--key fd=5,format=binary --migration-key pwdfd=6,mode=aes-128-cbc") == [])
    }

    @Test func probingPrintsWhatManagersLookFor() throws {
        for line in ["socket --print-capabilities", "socket --tpm2 --print-capabilities --log file=/l"] {
            let arguments = line.split(separator: " ").map(String.init)
            guard case .print(let text) = try SwtpmArguments.parse(arguments, environment: [:]) else { return #expect(Bool(false)) }
            #expect(text.hasPrefix(#"{ "type": "swtpm", "features": [ "tpm-2.0","#))
            #expect(text.contains(#""cmdarg-pwd-fd""#) && text.hasSuffix(#""version": "0.7.1" }"#))
        }
        let states = try SwtpmArguments.parse(
            ["socket", "--print-states", "--tpmstate", "backend-uri=dir:///d", "--tpm2"], environment: [:])
        #expect(states == .printStates(.directory("/d")))
    }
}

@Suite struct NativeCommandLines {
    private func options(_ line: String, activated: Bool = false) throws -> DoorOptions {
        let arguments = line.split(separator: " ").map(String.init)
        guard case .run(let options) = try NativeArguments.parse(arguments, activated: activated) else {
            throw UsageError(message: "nothing to run", exit: 0)
        }
        return options
    }

    @Test func theControlSocketIsInTheGuestsDirectory() throws {
        let plain = try options("--name alice --dir /i")
        #expect(plain.guest == .named(try #require(GuestName("alice"))))
        #expect(plain.control == .unix(path: "/i/guests/alice/control.sock", mode: 0o600, uid: nil, gid: nil))
        #expect(plain.needsInit && plain.data == nil)
    }

    @Test func orWhereItIsSaid() throws {
        #expect(try options("--name=alice --dir=/i --ctrl=/run/a.sock").control == .unix(path: "/run/a.sock", mode: 0o600, uid: nil, gid: nil))
        #expect(try options("--name alice --dir /i", activated: true).control == .listening(3))
        #expect(try options("--name alice --dir /i --ctrl /c", activated: true).control == .unix(path: "/c", mode: 0o600, uid: nil, gid: nil))
    }

    @Test(arguments: ["", "--name", "--name ../x", "--name a --name b", "--bogus", "--ctrl /c"])
    func anythingElseIsAnErrorOfUsage(_ line: String) {
        #expect { try options(line) } throws: { ($0 as? UsageError)?.exit == 64 }
    }
}
