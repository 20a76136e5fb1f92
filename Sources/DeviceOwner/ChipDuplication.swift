// Keys that come into the chip and leave it (Part 3, 13): always under an inner wrapper whose key is fresh and crosses the bus
// as the encrypted first parameter of a salted session.
import ChipClient
import TPMCrypto
import TPMWire
import Wire

extension Chip {
    /// AES-128-CFB, which every chip has.
    private static let innerAlgorithm = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)
    private static let innerKeySize = 16

    /// TPM2_Import (Part 3, 13.3), without outer wrapper.
    /// - Returns: TPM2B_PRIVATE under `parent`.
    func importObject(
        _ area: PublicArea, _ sensitive: SensitiveArea, under parent: Entity
    ) throws(ChipError) -> [UInt8] {
        var key = randomBytes(Self.innerKeySize)
        var plain = Sized(sensitive).wire
        defer {
            wipe(&key)
            wipe(&plain)
        }
        var writer = WireWriter(capacity: 1024)
        writer.sized16(key)
        writer.sized16(area)
        writer.sized16(try innerWrapper(key, area.nameAlgorithm, area.name).seal(plain))
        writer.sized16([UInt8]())
        Self.innerAlgorithm.encode(to: &writer)
        var command = ChipCommand(
            code: .import, entities: [parent], authorization: .salted(.decrypt), parameters: writer.bytes)
        defer { wipe(&command.parameters) }
        return try run(command).decode { (reader) throws(WireError) in try reader.sized16() }
    }

    /// TPM2_Duplicate (Part 3, 13.1) to nobody: what the inner wrapper holds, the device owner opens.
    /// - Parameter hash: the object's nameAlg.
    func duplicate(_ object: Entity, hash: HashAlgorithm?) throws(ChipError) -> SensitiveArea {
        var key = randomBytes(Self.innerKeySize)
        defer { wipe(&key) }
        var writer = WireWriter()
        writer.sized16(key)
        Self.innerAlgorithm.encode(to: &writer)
        var command = ChipCommand(
            code: .duplicate, entities: [object, Entity(permanent: .null)], authorization: .commandPolicy(.decrypt),
            parameters: writer.bytes)
        defer { wipe(&command.parameters) }
        let wrapped = try run(command).decode { (reader) throws(WireError) in
            guard try reader.sized16().isEmpty else { throw .invalid(0) }
            let wrapped = try reader.sized16()
            guard try reader.sized16().isEmpty else { throw .invalid(0) }
            return wrapped
        }
        let wrapper = try innerWrapper(key, hash, object.name)
        do throws(TPMRC) {
            var plain = try wrapper.open(wrapped)
            defer { wipe(&plain) }
            return try SensitiveArea(unwrapped: plain)
        } catch { throw .garbage }
    }

    private func innerWrapper(_ key: [UInt8], _ hash: HashAlgorithm?, _ name: [UInt8]) throws(ChipError) -> InnerWrapper {
        guard let hash, let wrapper = InnerWrapper(key: key, hash: hash, name: name) else {
            throw .refused("an object without a Name cannot be wrapped")
        }
        return wrapper
    }

    /// TPM2_PolicyCommandCode (Part 3, 23.11)
    func policyCommandCode(_ code: TPMCommandCode, in session: TPMHandle) throws(ChipError) {
        let command = ChipCommand(
            code: .policyCommandCode, entities: [Entity(permanent: session)], parameters: code.wire)
        try run(command).decode { (_) throws(WireError) in }
    }
}
