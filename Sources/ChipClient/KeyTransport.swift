// Private parts that come into the chip and leave it (Part 3, 13): always under an inner wrapper whose key is fresh and crosses the
// bus as the encrypted first parameter of a salted session.
import TPMCrypto
import TPMWire
import Wire

package struct KeyTransport {
    /// AES-128-CFB, which every chip has
    private static let algorithm = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)
    private let key = Secret(randomBytes(16))

    package init() {}

    /// The parameters of TPM2_Import (Part 3, 13.3), without outer wrapper; nil for an object without a Name.
    package func importParameters(_ area: PublicArea, _ sensitive: SensitiveArea) -> [UInt8]? {
        guard let wrapper = wrapper(area) else { return nil }
        var (key, plain) = (key.bytes, Sized(sensitive).wire)
        defer {
            wipe(&key)
            wipe(&plain)
        }
        var writer = WireWriter(capacity: 1024)
        writer.sized16(key)
        writer.sized16(area)
        writer.sized16(wrapper.seal(plain))
        writer.sized16([UInt8]())
        Self.algorithm.encode(to: &writer)
        return writer.bytes
    }

    /// The parameters of TPM2_Duplicate (Part 3, 13.1), to nobody.
    package var duplicationParameters: [UInt8] {
        var key = key.bytes
        defer { wipe(&key) }
        var writer = WireWriter()
        writer.sized16(key)
        Self.algorithm.encode(to: &writer)
        return writer.bytes
    }

    /// What a response of TPM2_Duplicate has of an object; nil if it is not what `duplicationParameters` asked for.
    package func duplicated(_ response: [UInt8], of area: PublicArea) -> SensitiveArea? {
        var reader = WireReader(response)
        guard let outKey = try? reader.sized16(), outKey.isEmpty, let wrapped = try? reader.sized16(),
            let outSeed = try? reader.sized16(), outSeed.isEmpty, reader.isAtEnd, var plain = try? wrapper(area)?.open(wrapped)
        else { return nil }
        defer { wipe(&plain) }
        return try? SensitiveArea(unwrapped: plain)
    }

    private func wrapper(_ area: PublicArea) -> InnerWrapper? {
        guard let hash = area.nameAlgorithm else { return nil }
        var key = key.bytes
        defer { wipe(&key) }
        return InnerWrapper(key: key, hash: hash, name: area.name)
    }
}
