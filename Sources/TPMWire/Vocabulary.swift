// The algorithms, curves and key sizes that a guest's TPM may do without: those that its administrator can take away. A reader that
// is told so decodes them as any other unknown value, so whatever a TPM without them would answer is answered.
import Wire

package struct Vocabulary: Hashable, Sendable {
    /// One bit for each word that is missing (WireReader.absent).
    package private(set) var absent: UInt32 = 0
    package static let whole = Vocabulary()

    package enum Word: Hashable, Sendable {
        case algorithm(TPMAlgorithm)
        case curve(ECCCurve)
        case rsaBits(UInt16)
        case aesBits(UInt16)
    }

    /// All that can be missing; a word's place is its bit. SHA-256, HMAC, AES in CFB mode and the key derivations are what sessions,
    /// Names and saved contexts are made of.
    package static let words: [Word] =
        algorithms.map(Word.algorithm) + ECCCurve.allCases.map(Word.curve) + rsaBits.map(Word.rsaBits) + aesBits.map(Word.aesBits)
    package static let algorithms: [TPMAlgorithm] = [
        .rsa, .ecc, .symcipher, .sha1, .sha384, .sha512, .rsassa, .rsapss, .rsaes, .oaep, .ecdsa, .ecdh, .ecdaa, .ecschnorr, .xor, .cmac, .ctr,
        .ofb, .cbc, .ecb,
    ]
    /// Key sizes, in bits (TPMI_RSA_KEY_BITS, TPMI_AES_KEY_BITS)
    package static let rsaBits: [UInt16] = [1024, 2048, 3072, 4096]
    package static let aesBits: [UInt16] = [128, 192, 256]

    package init() {}

    package init(without missing: some Sequence<Word>) {
        for word in missing { absent |= Self.bit(word) ?? 0 }
    }

    package func has(_ word: Word) -> Bool { absent == 0 || absent & (Self.bit(word) ?? 0) == 0 }

    /// The words whose bits are set.
    package static func words(_ bits: UInt32) -> [Word] { words.indices.filter { bits & 1 << UInt32($0) != 0 }.map { words[$0] } }

    fileprivate static func bit(_ word: Word) -> UInt32? { words.firstIndex(of: word).map { 1 << UInt32($0) } }

    // What decoders ask for again and again

    private static let algorithmBits: [UInt32] = (0..<128).map { bit(.algorithm(TPMAlgorithm(rawValue: $0))) ?? 0 }

    fileprivate static func bit(_ algorithm: TPMAlgorithm) -> UInt32 {
        algorithm.rawValue < algorithmBits.count ? algorithmBits[Int(algorithm.rawValue)] : 0
    }
}

extension WireReader {
    package init(_ bytes: [UInt8], _ vocabulary: Vocabulary) {
        self.init(bytes)
        absent = vocabulary.absent
    }

    /// Algorithms that a TPM cannot do without are always known.
    package mutating func knows(_ algorithm: TPMAlgorithm) -> Bool { absent == 0 || knows(Vocabulary.bit(algorithm)) }
    mutating func knows(_ curve: ECCCurve) -> Bool { absent == 0 || knows(Vocabulary.bit(.curve(curve)) ?? 0) }

    /// Whether there are RSA keys of this size.
    mutating func knows(rsaBits: UInt16) -> Bool {
        Vocabulary.rsaBits.contains(rsaBits) && (absent == 0 || knows(Vocabulary.bit(.rsaBits(rsaBits)) ?? 0))
    }
    /// Whether there are AES keys of this size.
    mutating func knows(aesBits: UInt16) -> Bool {
        Vocabulary.aesBits.contains(aesBits) && (absent == 0 || knows(Vocabulary.bit(.aesBits(aesBits)) ?? 0))
    }
}
