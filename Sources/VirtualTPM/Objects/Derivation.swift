// Derived objects (Part 1, 28.4): a derivation parent, a label and a context always give the same key.
import TPMCrypto
import TPMWire
import Wire

/// TPMS_DERIVE (Part 2, 11.1.12)
struct DerivationInput: WireCodable {
    var label: [UInt8]
    var context: [UInt8]
    /// LABEL_MAX_BUFFER, in bytes
    private static let sizeMax = 32

    init(label: [UInt8] = [], context: [UInt8] = []) {
        self.label = label
        self.context = context
    }
    init(from reader: inout WireReader) throws(WireError) {
        label = try reader.sized16(max: Self.sizeMax)
        context = try reader.sized16(max: Self.sizeMax)
    }
    func encode(to writer: inout WireWriter) {
        writer.sized16(label)
        writer.sized16(context)
    }

    /// What the template leaves open, the sensitive data gives (Part 3, 12.9).
    mutating func fill(from data: [UInt8]) throws(WireError) {
        guard !data.isEmpty else { return }
        var reader = WireReader(data)
        let given = try reader.value(DerivationInput.self)
        if label.isEmpty { label = given.label }
        if context.isEmpty { context = given.context }
    }
}

/// The bytes that a derivation parent gives for an input: KDFa of a fixed total size, read piece by piece.
struct DerivationStream {
    private let keyed: HMACContext
    private let fixed: [UInt8]
    private var counter: UInt32 = 0
    private var block: [UInt8] = []
    /// TPM_MAX_DERIVATION_BITS (Part 2, 6.2)
    private static let totalBits: UInt32 = 8192

    init(_ hash: HashAlgorithm, key: [UInt8], _ input: DerivationInput) {
        keyed = HMACContext(hash, key: key)
        let terminator: [UInt8] = input.label.last == 0 ? [] : [0]
        fixed = input.label + terminator + input.context + Self.totalBits.wire
    }

    mutating func next(_ count: Int) -> [UInt8] {
        while block.count < count {
            counter += 1
            var context = keyed
            context.update(counter.wire)
            context.update(fixed)
            block += context.finished()
        }
        defer { block.removeFirst(count) }
        return Array(block.prefix(count))
    }

    /// What was not read is as secret as what was.
    mutating func close() { wipe(&block) }
}

extension LoadedObject {
    /// The derived key of a checked template.
    /// - Returns: the public area with its unique field, and the private part in the form of `Backing.software`.
    /// - Throws: TPM_RC_TYPE for RSA, which is not derived.
    func derive(_ template: PublicArea, _ input: DerivationInput) throws(TPMRC) -> (publicArea: PublicArea, secret: Secret) {
        guard let hash = publicArea.parameters.scheme.hash, let nameAlgorithm = template.nameAlgorithm else { throw .hash }
        var key = try unseal()
        defer { wipe(&key) }
        var stream = DerivationStream(hash, key: key, input)
        defer { stream.close() }
        let keySize: Int
        switch template.parameters {
        case .rsa: throw .type
        case .ecc(_, _, let curve, _):
            // 64 bits more than the order, which has the size of the field.
            var bytes = stream.next(curve.fieldSize + 8)
            defer { wipe(&bytes) }
            let pair = ECCKeyPair(curve: curve, extraBits: bytes)
            return (template.with(unique: .ecc(pair.publicPoint)), pair.privateKey)
        case .symcipher(.aes(let bits, _)): keySize = Int(bits) / 8
        case .symcipher: throw .symmetric
        case .keyedHash(let scheme): keySize = (scheme.hash ?? nameAlgorithm).digestSize
        }
        let data = stream.next(keySize)
        let secret = SymmetricSecret(seed: stream.next(nameAlgorithm.digestSize), data: data)
        let unique = template.symmetricUnique(secret, nameAlgorithm)
        return (template.with(unique: .digest(unique)), Secret(secret.bytes))
    }
}

