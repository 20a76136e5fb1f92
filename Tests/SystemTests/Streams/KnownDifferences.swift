// Every difference between a paratpm guest and stock swtpm 0.7.1 (libtpms 0.9.2) that is meant to be, with its reason.
import TPMWire

struct KnownDifference {
    /// Any, where nil
    let codes: Set<TPMCommandCode>?
    /// Any, where nil
    let ours: TPMRC?
    let stock: TPMRC?
    let reason: String

    init(_ codes: Set<TPMCommandCode>? = nil, ours: TPMRC? = nil, stock: TPMRC? = nil, _ reason: String) {
        (self.codes, self.ours, self.stock, self.reason) = (codes, ours, stock, reason)
    }

    func covers(_ code: TPMCommandCode, ours: TPMRC, stock: TPMRC) -> Bool {
        codes?.contains(code) ?? true && self.ours ?? ours == ours && self.stock ?? stock == stock
    }

    static let all: [KnownDifference] = [
        KnownDifference(stock: .objectMemory, "A stock TPM holds three objects, and needs places for persistent ones that are used; a guest's holds 32."),
        KnownDifference(stock: .sessionMemory, "A stock TPM holds three loaded sessions; a guest's holds 64."),
        KnownDifference(ours: .authSize, "What is wrong with authorizationSize is TPM_RC_AUTHSIZE (Part 2, 6.6.3); a stock TPM says SIZE or INSUFFICIENT."),
        KnownDifference([.load], ours: TPMRC.integrity.parameter(1), "Rubbish is no TPM's own private area; in which of its parts that shows depends on their form."),
        KnownDifference([.load], ours: TPMRC.size.parameter(1), stock: TPMRC.insufficient.parameter(1), "As before."),
        KnownDifference([.contextLoad], ours: TPMRC.integrity.parameter(1), "As before: the form of a context is each TPM's own."),
        KnownDifference([.contextLoad], ours: TPMRC.size.parameter(1), "As before."),
    ]
}

/// What of a successful answer must be the same.
enum StreamComparison {
    /// Nothing but success: private areas and contexts are each TPM's own, and so is what a TPM says of itself.
    case success
    case size
    case bytes
    /// From the start, so many bytes
    case prefix(Int)
    /// But for so many bytes at the start
    case suffix(from: Int)

    init(_ step: Step) {
        switch step.code {
        case .create, .createLoaded, .createPrimary, .import, .rewrap, .duplicate, .objectChangeAuth, .contextSave, .getCapability: self = .success
        case .incrementalSelfTest: self = .success  // nothing is left to test in a guest's TPM
        case .pcrRead: self = .suffix(from: 4)  // pcrUpdateCounter counts from the last reset of each
        case .hash: self = .prefix(20)  // then a ticket
        case .testParms, .eccParameters, .getTestResult, .unseal, .pcrEvent, .nvReadPublic, .policyGetDigest: self = .bytes
        default: self = .size
        }
    }

    func agree(_ a: [UInt8], _ b: [UInt8]) -> Bool {
        switch self {
        case .success: true
        case .size: a.count == b.count
        case .bytes: a == b
        case .prefix(let count): a.count == b.count && a.prefix(count) == b.prefix(count)
        case .suffix(let start): a.dropFirst(start) == b.dropFirst(start)
        }
    }
}
