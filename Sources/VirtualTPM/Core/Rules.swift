// What of a TPM this guest has: its administrator may take parts of it away, also while it runs (docs/policy.md). What is taken away
// is answered as a TPM that never had it would answer.
import TPMWire
import Wire

/// Commands, each a bit: asked at every command.
package struct CommandSet: Hashable, Sendable {
    private static let first = TPMCommandCode.nvUndefineSpaceSpecial.rawValue
    private var words: (UInt64, UInt64) = (0, 0)

    package static let all = CommandSet(CommandTable.rows.map(\.code))

    package init(_ codes: some Sequence<TPMCommandCode>) {
        for code in codes { insert(code) }
    }

    mutating func insert(_ code: TPMCommandCode) {
        guard let (isUpper, bit) = Self.place(code) else { return }
        if isUpper { words.1 |= bit } else { words.0 |= bit }
    }

    mutating func remove(_ code: TPMCommandCode) {
        guard let (isUpper, bit) = Self.place(code) else { return }
        if isUpper { words.1 &= ~bit } else { words.0 &= ~bit }
    }

    package func contains(_ code: TPMCommandCode) -> Bool {
        guard let (isUpper, bit) = Self.place(code) else { return false }
        return (isUpper ? words.1 : words.0) & bit != 0
    }

    /// How many commands of the table it has.
    package var count: Int { (words.0 & Self.all.words.0).nonzeroBitCount + (words.1 & Self.all.words.1).nonzeroBitCount }

    private static func place(_ code: TPMCommandCode) -> (isUpper: Bool, bit: UInt64)? {
        let index = code.rawValue &- first
        return index < 128 ? (index >= 64, 1 << UInt64(index & 63)) : nil
    }

    package static func == (a: Self, b: Self) -> Bool { a.words == b.words }
    package func hash(into hasher: inout Hasher) {
        hasher.combine(words.0)
        hasher.combine(words.1)
    }
}

package struct Rules: Hashable, Sendable {
    package var commands: CommandSet
    package var vocabulary: Vocabulary
    package var limits: Limits

    package init(commands: CommandSet = .all, vocabulary: Vocabulary = .whole, limits: Limits = Limits()) {
        self.commands = commands
        self.vocabulary = vocabulary
        self.limits = limits
    }
}

/// What the rules kept the guest from, for the log.
package enum Refusal: Equatable, Sendable {
    case command(TPMCommandCode)
    case vocabulary(Vocabulary.Word)
    case limit(Limits.Kind)
}

extension VirtualTPM {
    var limits: Limits { rules.limits }

    /// The rules from the next command on. What the guest holds already stays its own.
    /// - Returns: of what it holds more than it could have now, and how much.
    package func obey(_ new: Rules) -> [(limit: Limits.Kind, held: Int)] {
        rules = new
        volatile.transient.capacity = limits.transientObjects
        volatile.sessions.capacity = limits.sessions
        return Limits.Kind.allCases.map { ($0, held($0)) }.filter { $0.1 > limits[$0.0] }
    }

    private func held(_ kind: Limits.Kind) -> Int {
        switch kind {
        case .nvBytes: nvBytesUsed
        case .nvIndices: durable.nv.count
        case .persistentObjects: durable.persistent.count
        case .primaries: durable.primaries.count
        case .transientObjects: volatile.transient.count
        case .sessions: volatile.sessions.activeCount
        }
    }

    /// Whether one more is allowed; if not, that is noted for the log.
    func hasRoom(_ kind: Limits.Kind, for more: Int = 1) -> Bool {
        guard held(kind) + more > limits[kind] else { return true }
        refusal = .limit(kind)
        return false
    }

    /// What came that the vocabulary lacks, as bits: decoders answered it as unknown.
    func note(met: UInt32) {
        if let word = Vocabulary.words(met).first { refusal = .vocabulary(word) }
    }

    /// Codes that tables of fixed size answer with when they are full.
    func note(_ error: TPMRC) {
        switch error {
        case .objectMemory where volatile.transient.count >= limits.transientObjects: refusal = .limit(.transientObjects)
        case .sessionHandles: refusal = .limit(.sessions)
        default: break
        }
    }

    /// The hash algorithms that this TPM has.
    var hashes: [HashAlgorithm] { HashAlgorithm.allCases.filter { rules.vocabulary.has(.algorithm($0.algorithm)) } }
    var curves: [ECCCurve] {
        rules.vocabulary.has(.algorithm(.ecc)) ? device.chip.curves.filter { rules.vocabulary.has(.curve($0)) } : []
    }

    var rsaBits: [UInt16] {
        rules.vocabulary.has(.algorithm(.rsa)) ? device.chip.rsaBits.filter { rules.vocabulary.has(.rsaBits($0)) } : []
    }

    func has(_ row: CommandRow) -> Bool { rules.commands.contains(row.code) }
}
