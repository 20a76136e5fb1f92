// A stream of commands against a live TPM whose services are in memory.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

@testable import VirtualTPM

/// The input is a stream of commands: selector (1) | length (2) | bytes. A selector of 255 sends the bytes as they are;
/// any other names a row of the command table, and the bytes are: one for each handle, an index into `handles`; then parameters.
/// What needs authorization has the empty password.
func fuzzCommands(_ input: [UInt8]) {
    guard let guest = try? Guest(limits: limits) else { broken("no TPM") }
    var reader = WireReader(input)
    var commands = 0
    while commands < 64, let selector = try? reader.u8(), let length = try? reader.u16() {
        let bytes = (try? reader.bytes(min(Int(length), reader.remaining))) ?? []
        check(guest.tpm.execute(selector == 255 ? bytes : command(selector, bytes)))
        commands += 1
    }
}

/// Small, so that quotas are reached.
private let limits: Limits = {
    var limits = Limits()
    limits.transientObjects = 5
    limits.sessions = 5
    return limits
}()

/// What commands may name: what there is when things are made in order, and some of what there never is.
private let handles: [TPMHandle] = [
    .owner, .null, .endorsement, .platform, .lockout, .password, .unassigned,
    TPMHandle(0x8000_0000), TPMHandle(0x8000_0001), TPMHandle(0x8000_0002), TPMHandle(0x8000_0003), TPMHandle(0x8000_0004),
    TPMHandle(0x8000_0005), TPMHandle(0x8100_0001), TPMHandle(0x8100_0002), TPMHandle(0x8180_0000),
    TPMHandle(0x0200_0000), TPMHandle(0x0200_0001), TPMHandle(0x0200_0002), TPMHandle(0x0300_0000), TPMHandle(0x0300_0001),
    TPMHandle(0x0300_0002), TPMHandle(0x0100_0001), TPMHandle(0x0100_0002), TPMHandle(0x01C0_0002), TPMHandle(0), TPMHandle(16),
    TPMHandle(23), TPMHandle(24), TPMHandle(0xFFFF_FFFF),
]

private func command(_ selector: UInt8, _ bytes: [UInt8]) -> [UInt8] {
    let row = CommandTable.rows[Int(selector) % CommandTable.rows.count]
    let named = row.handles.indices.map { $0 < bytes.count ? handles[Int(bytes[$0]) % handles.count] : .null }
    let passwords = (0..<row.authorizedHandles).map { _ in AuthCommand(handle: .password, attributes: [.continueSession]) }
    return CommandMessage(
        row.code, handles: named, sessions: passwords, parameters: Array(bytes.dropFirst(row.handles.count))).bytes
}

private func check(_ response: [UInt8]) {
    guard let header = try? MessageHeader(wire: Array(response.prefix(MessageHeader.size))),
        Int(header.size) == response.count, response.count <= Limits.commandSize
    else { broken("a response that is not well formed") }
    if header.code != 0 && response.count != MessageHeader.size { broken("an error with more than a code") }
}
