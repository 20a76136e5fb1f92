// Where the gate secret comes from: made once, at `paratpmctl host init`, sealed in the chip under the host root, and recovered at each start.
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

    package init(keys: GateKeys, chip: GateChip) {
        self.keys = keys
        self.chip = chip
    }

    /// The record of a new secret. Nobody has used it, and whoever wants to has the chip open the record.
    static func make(_ instance: Instance, under selection: [PCRSelection]) throws(CallStatus) -> GateRecord {
        let root = try GateChip(instance, rootName: []).hostRoot()
        guard RootTemplate.host.isTemplate(of: root) else { throw .failed }
        var secret = randomBytes(GateKeys.size)
        defer { wipe(&secret) }
        return try seal(secret, under: selection, GateChip(instance, rootName: root.name))
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
        var secret = keys.secret.bytes
        defer { wipe(&secret) }
        let record = try Self.seal(secret, under: selection, chip)
        guard try Self.recover(record, chip, keys.boot).keys.secret == keys.secret else { throw .failed }
        return record
    }

    static func recover(_ record: GateRecord, _ chip: GateChip, _ boot: [UInt8]) throws(CallStatus) -> Gate {
        let opening = record.selection.isEmpty ? chip : chip.inSessions(.hostPCRs(record.selection))
        var response = try opening.run(GateCommand(
            code: .unseal, target: .gateSecret(record.area, record.wrapped), name: record.area.name, attributes: .encrypt))
        defer { wipe(&response.parameters) }
        var reader = WireReader(response.parameters)
        guard var secret = try? reader.sized16(), secret.count == GateKeys.size else { throw .failed }
        defer { wipe(&secret) }
        return Gate(keys: GateKeys(secret: Secret(secret), boot: boot), chip: chip)
    }
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
