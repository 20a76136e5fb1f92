// PCRs and their values, as verifiers name them; and the text in which tpm2_pcrread prints them.
import TPMWire

/// A bank of PCRs, by its hash algorithm.
public enum PCRBank: String, CaseIterable, Comparable, Sendable {
    case sha1, sha256, sha384, sha512

    /// By the size of their digests.
    public static func < (a: Self, b: Self) -> Bool { a.digestSize < b.digestSize }
    /// Bytes of a digest.
    public var digestSize: Int { hash.digestSize }

    package var hash: HashAlgorithm {
        switch self {
        case .sha1: .sha1
        case .sha256: .sha256
        case .sha384: .sha384
        case .sha512: .sha512
        }
    }

    package init(_ hash: HashAlgorithm) {
        self = switch hash {
        case .sha1: .sha1
        case .sha256: .sha256
        case .sha384: .sha384
        case .sha512: .sha512
        }
    }
}

/// One PCR of one bank; "sha256:7" in text.
public struct PCRIndex: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Which bank it is in.
    public let bank: PCRBank
    /// 0 to 23
    public let number: Int

    /// - Parameter number: 0 to 23
    public init(_ bank: PCRBank, _ number: Int) {
        self.bank = bank
        self.number = number
    }
    /// “sha256:7”
    public var description: String { "\(bank.rawValue):\(number)" }
    /// By bank, then by number.
    public static func < (a: Self, b: Self) -> Bool { (a.bank, a.number) < (b.bank, b.number) }
}

/// Digests by PCR.
public typealias PCRValues = [PCRIndex: [UInt8]]

/// Input that is not what it should be.
public struct FormatError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A sentence's middle: what it is not.
    public let description: String
    /// - Parameter description: in words.
    public init(_ description: String) { self.description = description }
}

extension PCRValues {
    /// Reads what tpm2_pcrread prints: a line "sha256:" for each bank, and "7 : 0x…" for each PCR.
    public init(text: String) throws(FormatError) {
        self = [:]
        var bank: PCRBank?
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let bare = line.filter { !$0.isWhitespace }
            if bare.isEmpty || bare.hasPrefix("#") { continue }
            let parts = bare.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            let wrong = FormatError("line \(number + 1) is neither a bank (“sha256:”) nor a PCR (“7 : 0x…”)")
            guard parts.count == 2, let left = parts.first, let right = parts.last else { throw wrong }
            if right.isEmpty {
                guard let named = PCRBank(rawValue: String(left)) else { throw FormatError("line \(number + 1): there is no bank \(left)") }
                bank = named
                continue
            }
            guard let bank, let index = Int(left), (0..<PCRSelection.pcrCount).contains(index), let digest = hexadecimalBytes(right),
                digest.count == bank.digestSize
            else { throw wrong }
            self[PCRIndex(bank, index)] = digest
        }
    }

    /// The text that `init(text:)` reads.
    public var text: String {
        PCRBank.allCases.filter { bank in keys.contains { $0.bank == bank } }.map { bank in
            let lines = filter { $0.key.bank == bank }.sorted { $0.key < $1.key }
                .map { "  \($0.key.number < 10 ? " " : "")\($0.key.number) : 0x\(hexadecimal($0.value).uppercased())\n" }
            return "\(bank.rawValue):\n" + lines.joined()
        }.joined()
    }

    /// The digests behind each other, in the order of the selections and ascending within each; nil if they are not all there.
    package func concatenated(_ selections: [PCRSelection]) -> [UInt8]? {
        var bytes: [UInt8] = []
        for selection in selections {
            for pcr in selection.pcrs {
                guard let digest = self[PCRIndex(PCRBank(selection.hash), pcr)] else { return nil }
                bytes += digest
            }
        }
        return bytes
    }

    /// Cuts digests apart that `concatenated` put together; nil unless the bytes are exactly as many.
    package init?(_ bytes: [UInt8], _ selections: [PCRSelection]) {
        self = [:]
        var rest = bytes[...]
        for selection in selections {
            for pcr in selection.pcrs {
                guard rest.count >= selection.hash.digestSize else { return nil }
                self[PCRIndex(PCRBank(selection.hash), pcr)] = Array(rest.prefix(selection.hash.digestSize))
                rest = rest.dropFirst(selection.hash.digestSize)
            }
        }
        guard rest.isEmpty else { return nil }
    }
}

/// A selection in words: "sha256:0,1,7" and, for several banks, "+" between them, as tpm2-tools take it.
public struct PCRChoice: Sendable, CustomStringConvertible {
    package let selections: [PCRSelection]

    package init(_ selections: [PCRSelection]) { self.selections = selections }

    /// Reads the words: “sha256:0,1,7”.
    public init(_ text: String) throws(FormatError) {
        var selections: [PCRSelection] = []
        for part in text.split(separator: "+", omittingEmptySubsequences: false) {
            let sides = part.split(separator: ":", omittingEmptySubsequences: false)
            guard sides.count == 2, let bank = PCRBank(rawValue: String(sides[0])), !selections.contains(where: { $0.hash == bank.hash })
            else { throw FormatError("a selection of PCRs looks like sha256:0,1,7 or sha1:0+sha256:0,7") }
            let numbers = sides[1].split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? -1 }
            guard numbers.allSatisfy((0..<PCRSelection.pcrCount).contains) else { throw FormatError("PCRs have the numbers 0 to 23") }
            selections.append(PCRSelection(bank.hash, pcrs: numbers))
        }
        self.selections = selections
    }

    /// The words that `init(_:)` reads.
    public var description: String {
        selections.map { "\(PCRBank($0.hash).rawValue):" + $0.pcrs.map(String.init).joined(separator: ",") }.joined(separator: "+")
    }

    /// The choice of exactly these.
    package static func naming(_ indices: some Sequence<PCRIndex>) -> PCRChoice {
        let byBank = Dictionary(grouping: indices, by: \.bank).sorted { $0.key < $1.key }
        return PCRChoice(byBank.map { PCRSelection($0.key.hash, pcrs: $0.value.map(\.number)) })
    }

    /// The PCRs, in the order of the choice.
    public var indices: [PCRIndex] { selections.flatMap { one in one.pcrs.map { PCRIndex(PCRBank(one.hash), $0) } } }
}

/// Lower-case hexadecimal.
public func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

/// The bytes of hexadecimal digits, with or without "0x"; nil for anything else.
public func hexadecimalBytes(_ text: some StringProtocol) -> [UInt8]? {
    let digits = Array((text.hasPrefix("0x") ? text.dropFirst(2) : text[...]).utf8)
    guard digits.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    for pair in stride(from: 0, to: digits.count, by: 2) {
        guard let high = Character(UnicodeScalar(digits[pair])).hexDigitValue,
            let low = Character(UnicodeScalar(digits[pair + 1])).hexDigitValue
        else { return nil }
        bytes.append(UInt8(high << 4 | low))
    }
    return bytes
}
