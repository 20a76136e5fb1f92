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

    /// Commands whose handle of this number names an object.
    private static func naming(_ number: Int) -> Set<TPMCommandCode> {
        Set(CommandTable.rows.filter { $0.handles.count > number && [.object, .objectOrNull].contains($0.handles[number].kind) }.map(\.code))
    }

    /// Commands whose second parameter is, or holds, the public area of a new object.
    private static let publicAreas: Set<TPMCommandCode> = [.create, .createPrimary, .createLoaded, .loadExternal, .import]

    static let all: [KnownDifference] = [
        KnownDifference(stock: .objectMemory, "A stock TPM holds three objects, and needs places for persistent ones that are used; a guest's holds 32."),
        KnownDifference(
            naming(0), ours: .badAuth.session(1), stock: .referenceH0,
            "A stock TPM loads a persistent object into one of its places while a command uses it, so an object that the command makes gets the next handle."),
        KnownDifference(naming(0), ours: TPMRC.key.handle(1), stock: .referenceH0, "As before."),
        KnownDifference(naming(0), ours: .authMissing, stock: .referenceH0, "As before."),
        KnownDifference(stock: .sessionMemory, "A stock TPM holds three loaded sessions; a guest's holds 64."),
        KnownDifference(ours: .authSize, "What is wrong with authorizationSize is TPM_RC_AUTHSIZE (Part 2, 6.6.3); a stock TPM says SIZE or INSUFFICIENT."),
        KnownDifference([.load], ours: TPMRC.integrity.parameter(1), "Rubbish is no TPM's own private area; in which of its parts that shows depends on their form."),
        KnownDifference([.load], ours: TPMRC.size.parameter(1), stock: TPMRC.insufficient.parameter(1), "As before."),
        KnownDifference([.contextLoad], ours: TPMRC.integrity.parameter(1), "As before: the form of a context is each TPM's own."),
        KnownDifference([.contextLoad], ours: TPMRC.size.parameter(1), "As before."),
        KnownDifference(
            [.eccParameters, .ecEphemeral, .testParms], ours: TPMRC.curve.parameter(1),
            "A stock TPM has more curves than a chip of the PC Client profile."),
        KnownDifference(publicAreas, ours: TPMRC.curve.parameter(2), stock: .success, "As before."),
        KnownDifference(publicAreas, ours: TPMRC.curve.parameter(2), stock: TPMRC.size.parameter(2), "Then it finds what else is wrong: a policy of another size."),
        KnownDifference(publicAreas, ours: TPMRC.scheme.parameter(2), stock: TPMRC.hash.parameter(2), "And other schemes, with hashes that are none."),
        KnownDifference(publicAreas, ours: TPMRC.symmetric.parameter(2), stock: .success, "It also has other ciphers than AES."),
        KnownDifference(publicAreas, ours: TPMRC.symmetric.parameter(2), stock: TPMRC.value.parameter(2), "Though not with such keys."),
        KnownDifference([.certifyX509], ours: TPMRC.key.handle(2), "Stock numbers the handles of CertifyX509 the other way round."),
        KnownDifference([.certifyX509], ours: TPMRC.asymmetric.handle(1), "As before."),
        KnownDifference([.certifyX509], ours: TPMRC.value.handle(2), "A certificate without a signature is none: it needs a key."),
        KnownDifference([.policyCounterTimer], ours: .success, stock: .policy, "What is compared is the time, which is not the same in both."),
        KnownDifference([.policyCounterTimer], ours: .policy, stock: .success, "As before."),
        KnownDifference([.incrementalSelfTest], ours: TPMRC.value.parameter(1), stock: .success, "A stock TPM has more algorithms."),
        KnownDifference([.zGen2Phase], ours: TPMRC.scheme.parameter(3), "ECMQV and SM2 are two of them."),
        KnownDifference(
            [.certify, .getTime, .getSessionAuditDigest, .getCommandAuditDigest, .quote, .nvCertify, .sign], ours: TPMRC.scheme.parameter(2),
            stock: TPMRC.insufficient.parameter(2), "Of SM2's scheme it misses the hash."),
        KnownDifference(
            [.ecdhZGen, .zGen2Phase], ours: TPMRC.size.parameter(1), stock: TPMRC.insufficient.parameter(1), "And with larger curves it allows longer coordinates."),
        KnownDifference([.activateCredential], ours: TPMRC.size.parameter(2), stock: TPMRC.insufficient.parameter(2), "As before."),
        KnownDifference([.startAuthSession], ours: TPMRC.symmetric.parameter(4), stock: .success, "A stock TPM has Camellia."),
        KnownDifference([.startAuthSession], ours: TPMRC.symmetric.parameter(4), stock: TPMRC.value.parameter(4), "Though not with such keys."),
        KnownDifference([.startAuthSession], ours: TPMRC.type.handle(2), "There is nothing in a sequence for a session to be bound to."),
        // Where several things are wrong, which of them is named is not always the same.
        KnownDifference([.policySigned], ours: TPMRC.scheme.parameter(5), "A sequence where a key is expected, and a wrong cpHash."),
        KnownDifference([.loadExternal], ours: TPMRC.hierarchy.parameter(3), stock: TPMRC.scheme.parameter(2), "A hierarchy and a scheme that are none."),
        KnownDifference([.startAuthSession], ours: TPMRC.insufficient.parameter(2), stock: TPMRC.size.parameter(2), "A salt too long for the command, and for any key."),
        KnownDifference(ours: TPMRC.size.session(1), stock: TPMRC.value.session(1), "A session without a handle, and a nonce too long."),
        KnownDifference([.nvDefineSpace], ours: TPMRC.attributes.parameter(2), stock: TPMRC.attributes.handle(1), "Several attributes that do not go together."),
        KnownDifference([.activateCredential], ours: TPMRC.type.handle(1), "A sequence where a key is expected, and a secret that is none."),
        KnownDifference([.load], ours: TPMRC.insufficient.parameter(2), "A private and a public area that are both cut off."),
        KnownDifference([.load], ours: TPMRC.insufficient.parameter(1), stock: TPMRC.size.parameter(1), "As before."),
        KnownDifference([.createLoaded], ours: TPMRC.insufficient.parameter(2), stock: TPMRC.size.parameter(2), "Data that run on into the template."),
        KnownDifference([.startAuthSession], ours: TPMRC.size.parameter(1), stock: TPMRC.value.parameter(4), "A nonce and an algorithm that are both wrong."),
        KnownDifference([.clockSet], ours: TPMRC.value.parameter(1), stock: .success, "The same time twice: it depends on the millisecond."),
        KnownDifference([.clockSet], ours: .success, stock: TPMRC.value.parameter(1), "As before."),
        KnownDifference([.startAuthSession], ours: TPMRC.size.parameter(2), stock: TPMRC.value.parameter(2), "A salt of a wrong size for the key."),
        KnownDifference(
            [.verifySignature, .policySigned], stock: TPMRC.size.parameter(2), "A stock TPM has shorter RSA keys, so that it calls a signature too long."),
        KnownDifference([.getCapability], ours: TPMRC.value.parameter(1), stock: TPMRC.insufficient.parameter(2), "A guest's TPM has no vendor properties."),
        KnownDifference(
            naming(0), ours: .referenceH0,
            "A stock TPM takes a place of a transient object for a persistent one in use; another handle then names that."),
        KnownDifference(naming(1), ours: TPMRC(rawValue: TPMRC.referenceH0.rawValue + 1), "As before."),
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
        case .testParms, .eccParameters, .getTestResult, .unseal, .pcrEvent, .nvReadPublic: self = .bytes
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
