// TPMS_ATTEST as a verifier reads it (Part 2, 10.12.8).
import CryptoBase
import TPMCrypto
import TPMWire
import Wire

/// A statement that a TPM made and signed.
package struct AttestStatement {
    package let qualifiedSigner: [UInt8]
    package let extraData: [UInt8]
    package let clockInfo: ClockInfo
    package let firmwareVersion: UInt64
    package let attested: Attested

    package enum Attested: Equatable {
        /// TPMS_QUOTE_INFO
        case quote(selection: [PCRSelection], digest: [UInt8])
        /// TPMS_CREATION_INFO
        case creation(objectName: [UInt8], creationHash: [UInt8])
    }

    private static let nameMax = 2 + HashAlgorithm.largestDigest

    package init(_ bytes: [UInt8]) throws(FormatError) {
        var reader = WireReader(bytes)
        do throws(WireError) {
            try self.init(from: &reader)
            try reader.finish()
        } catch { throw FormatError("the statement is not a TPMS_ATTEST of a quote or of a creation") }
    }

    private init(from reader: inout WireReader) throws(WireError) {
        // What no data from outside may begin with (Part 2, 6.2): only the TPM itself writes it into what it signs.
        guard try reader.u32() == Attestation.magic else { throw .invalid(0) }
        let tag = try reader.u16()
        qualifiedSigner = try reader.sized16(max: Self.nameMax)
        extraData = try reader.sized16(max: Self.nameMax)
        clockInfo = try reader.value()
        firmwareVersion = try reader.u64()
        switch tag {
        case StructureTag.attestQuote:
            attested = .quote(
                selection: try reader.list(max: PCRSelection.listMax), digest: try reader.sized16(max: HashAlgorithm.largestDigest))
        case StructureTag.attestCreation:
            attested = .creation(
                objectName: try reader.sized16(max: Self.nameMax), creationHash: try reader.sized16(max: HashAlgorithm.largestDigest))
        default: throw .invalid(0)
        }
    }
}

/// Which PCRs a quote is over, and the digest of their values.
package struct QuotedPCRs: Sendable {
    package let selection: [PCRSelection]
    package let digest: [UInt8]

    /// - Parameter statement: TPMS_ATTEST; nil comes of any that is not of a quote.
    package init?(_ statement: [UInt8]) {
        guard case .quote(let selection, let digest)? = try? AttestStatement(statement).attested else { return nil }
        self.selection = selection
        self.digest = digest
    }
}

extension PublicArea {
    /// What only a key can be that signs nothing but what its TPM says: restricted, made by the TPM and bound to it.
    package var isAttestationKey: Bool {
        attributes.contains([.restricted, .sign, .fixedTPM, .fixedParent, .sensitiveDataOrigin]) && !attributes.contains(.decrypt)
    }

    /// Whether this key signed the bytes.
    package func signed(_ bytes: [UInt8], _ signature: Signature) -> Bool {
        guard let hash = signature.hash, parameters.scheme.hash == nil || parameters.scheme.hash == hash else { return false }
        return (try? verifies(signature, digest(hash, bytes))) ?? false
    }
}

extension WireCodable {
    /// Decodes a value that fills `bytes`, and says in words what it is not.
    package init(_ what: String, _ bytes: [UInt8]) throws(FormatError) {
        do throws(WireError) { self = try Self(wire: bytes) } catch { throw FormatError("\(what) does not decode") }
    }
}
