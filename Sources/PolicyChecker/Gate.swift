// Where the gate secret comes from: made once, sealed in the chip under the host root, and recovered at each start.
import ChipClient
import Glibc
import GuestIdentity
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// File: u8 version, the host root's Name, which of the host's PCRs must be as they were, the sealed gate secret's TPM2B_PUBLIC and TPM2B_PRIVATE.
struct GateRecord: WireCodable {
    let rootName: [UInt8]
    /// Empty: none
    let selection: [PCRSelection]
    let area: PublicArea
    let wrapped: [UInt8]
    private static let version: UInt8 = 2
    static let largest = 4096

    init(rootName: [UInt8], selection: [PCRSelection], area: PublicArea, wrapped: [UInt8]) {
        self.rootName = rootName
        self.selection = selection
        self.area = area
        self.wrapped = wrapped
    }
    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        rootName = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
        selection = try reader.list(max: PCRSelection.listMax)
        area = try reader.value(Sized<PublicArea>.self).value
        wrapped = try reader.sized16(max: TwinBlob.privateMax)
    }
    func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.sized16(rootName)
        writer.list(selection)
        writer.sized16(area)
        writer.sized16(wrapped)
    }
}

/// The gate: its keys, and the way to the chip that they open.
package struct Gate {
    package let keys: GateKeys
    let chip: GateChip
    /// How long paratpm-device may take to come, in milliseconds.
    private static let patience = 30_000

    package init(keys: GateKeys, chip: GateChip) {
        self.keys = keys
        self.chip = chip
    }

    /// The instance's gate secret; made when the service starts for the first time.
    package static func acquire(_ instance: Instance) throws(Failure) -> Gate {
        try Files.makeDirectory(instance.policyDirectory, mode: 0o700)
        let boot = try hostBoot()
        if let bytes = try Files.read(instance.gateRecord, max: GateRecord.largest) {
            guard let record = try? GateRecord(wire: bytes) else {
                throw Failure(.dataError, "\(instance.gateRecord) is damaged; it was left alone. Without it nothing that guests had gated can be used")
            }
            return try patiently(record.selection) { () throws(CallStatus) in
                try recover(record, GateChip(instance, rootName: record.rootName), boot)
            }
        }
        let record = try patiently { () throws(CallStatus) in try make(instance) }
        try Files.write(instance.gateRecord, record.wire, mode: 0o600, replacing: false)
        log(.notice, .policy, "made the gate secret; the chip seals it under the host root")
        // What is used is what the chip gives back.
        let chip = GateChip(instance, rootName: record.rootName)
        return try patiently { () throws(CallStatus) in try recover(record, chip, boot) }
    }

    private static func make(_ instance: Instance) throws(CallStatus) -> GateRecord {
        let root = try GateChip(instance, rootName: []).hostRoot()
        guard RootTemplate.host.isTemplate(of: root) else { throw .failed }
        var secret = randomBytes(GateKeys.size)
        defer { wipe(&secret) }
        return try seal(secret, under: [], GateChip(instance, rootName: root.name))
    }

    private static func seal(_ secret: [UInt8], under selection: [PCRSelection], _ chip: GateChip) throws(CallStatus) -> GateRecord {
        let template = selection.isEmpty
            ? RootTemplate.gateSecret : RootTemplate.gateSecret(under: pcrPolicy(selection, values: try chip.hostPCRs(selection)))
        var parameters = creationParameters(SensitiveCreate(data: secret), template)
        defer { wipe(&parameters) }
        let response = try chip.run(GateCommand(
            code: .create, target: .hostRoot, name: chip.rootName, parameters: parameters, attributes: .decrypt))
        let made = try creationResult(response.parameters)
        guard template.isTemplate(of: made.area) else { throw .failed }
        return GateRecord(rootName: chip.rootName, selection: selection, area: made.area, wrapped: made.wrapped)
    }

    /// The record of the same secret, sealed anew, which the chip has opened once.
    func sealed(under selection: [PCRSelection]) throws(CallStatus) -> GateRecord {
        guard Set(selection.map(\.hash)).count == selection.count, selection.allSatisfy({ !$0.pcrs.isEmpty }) else { throw .malformed }
        var secret = keys.secret.bytes
        defer { wipe(&secret) }
        let record = try Self.seal(secret, under: selection, chip)
        guard try Self.recover(record, chip, keys.boot).keys.secret == keys.secret else { throw .failed }
        return record
    }

    private static func recover(_ record: GateRecord, _ chip: GateChip, _ boot: [UInt8]) throws(CallStatus) -> Gate {
        let opening = record.selection.isEmpty ? chip : chip.inSessions(.hostPCRs(record.selection))
        var response = try opening.run(GateCommand(
            code: .unseal, target: .gateSecret(record.area, record.wrapped), name: record.area.name, attributes: .encrypt))
        defer { wipe(&response.parameters) }
        var reader = WireReader(response.parameters)
        guard var secret = try? reader.sized16(), secret.count == GateKeys.size else { throw .failed }
        defer { wipe(&secret) }
        return Gate(keys: GateKeys(secret: Secret(secret), boot: boot), chip: chip)
    }

    /// - Parameter selection: what the gate secret is sealed under.
    private static func patiently<R>(_ selection: [PCRSelection] = [], _ body: () throws(CallStatus) -> R) throws(Failure) -> R {
        var waited = 0
        while true {
            do throws(CallStatus) { return try body() } catch {
                guard selection.isEmpty || error != CallStatus(TPMRC.policyFail.session(1)) else {
                    throw Failure(
                        .config, "the host booted otherwise than when the gate secret was sealed under its PCRs (\(text(selection))). "
                            + "Boot it as it was; before what changes them, paratpmctl host seal-gate --no-pcrs")
                }
                guard error == .unavailable, waited < patience else {
                    throw Failure(
                        .unavailable, "the chip does not give the gate secret (status 0x\(String(error.rawValue, radix: 16))): "
                            + "paratpm-device must answer, with the chip that this paratpm was made with")
                }
            }
            usleep(50_000)
            waited += 50
        }
    }
}

private func text(_ selection: [PCRSelection]) -> String {
    selection.map { "\($0.hash):" + $0.pcrs.map(String.init).joined(separator: ",") }.joined(separator: "+")
}

/// inSensitive, inPublic, outsideInfo, creationPCR of TPM2_Create (Part 3, 12.1)
func creationParameters(_ sensitive: SensitiveCreate, _ template: PublicArea) -> [UInt8] {
    var writer = WireWriter(capacity: 512)
    writer.sized16(sensitive)
    writer.sized16(template)
    writer.sized16([UInt8]())
    writer.list([PCRSelection]())
    return writer.bytes
}

/// outPrivate and outPublic of TPM2_Create
func creationResult(_ response: [UInt8]) throws(CallStatus) -> (area: PublicArea, wrapped: [UInt8]) {
    var reader = WireReader(response)
    guard let wrapped = try? reader.sized16(max: TwinBlob.privateMax),
        let area = try? reader.value(Sized<PublicArea>.self).value
    else { throw .failed }
    return (area, wrapped)
}
