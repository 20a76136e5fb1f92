// Keys that come into the chip and leave it (Part 3, 13).
import ChipClient
import TPMCrypto
import TPMWire
import Wire

extension Chip {
    /// TPM2_Import (Part 3, 13.3), without outer wrapper.
    /// - Returns: TPM2B_PRIVATE under `parent`.
    func importObject(
        _ area: PublicArea, _ sensitive: SensitiveArea, under parent: Entity
    ) throws(ChipError) -> [UInt8] {
        guard let parameters = KeyTransport().importParameters(area, sensitive) else { throw Self.nameless }
        var command = ChipCommand(
            code: .import, entities: [parent], authorization: .salted(.decrypt), parameters: parameters)
        defer { wipe(&command.parameters) }
        return try run(command).decode { (reader) throws(WireError) in try reader.sized16() }
    }

    /// TPM2_Duplicate (Part 3, 13.1) to nobody: what the inner wrapper holds, the device owner opens.
    func duplicate(_ object: Entity, area: PublicArea) throws(ChipError) -> SensitiveArea {
        let transport = KeyTransport()
        var command = ChipCommand(
            code: .duplicate, entities: [object, Entity(permanent: .null)], authorization: .commandPolicy(.decrypt),
            parameters: transport.duplicationParameters)
        defer { wipe(&command.parameters) }
        guard let sensitive = transport.duplicated(try run(command).parameters, of: area) else { throw .garbage }
        return sensitive
    }

    private static let nameless = ChipError.refused("an object without a Name cannot be wrapped")

    /// TPM2_PolicyCommandCode (Part 3, 23.11)
    func policyCommandCode(_ code: TPMCommandCode, in session: TPMHandle) throws(ChipError) {
        let command = ChipCommand(
            code: .policyCommandCode, entities: [Entity(permanent: session)], parameters: code.wire)
        try run(command).decode { (_) throws(WireError) in }
    }

    /// TPM2_PolicyAuthValue (Part 3, 23.17)
    func policyAuthValue(in session: TPMHandle) throws(ChipError) {
        try run(ChipCommand(code: .policyAuthValue, entities: [Entity(permanent: session)])).decode { (_) throws(WireError) in }
    }
}
