// What a policy session knows, and its wire form inside a token.
import SystemMap
import TPMWire
import Wire

/// A policy session's context values (Part 1, 19.7), as far as the Policy commands make them.
package struct PolicyState: WireCodable, Sendable, Equatable {
    // For the session's whole life

    /// The session's hash: of policyDigest, cpHash, nameHash
    package let hash: HashAlgorithm
    /// A trial session computes a digest and checks nothing; it authorizes nothing.
    package let isTrial: Bool
    /// The start, by the host's clock: a time limit that names the session's nonce counts from here.
    package let startTime: GuestTime
    package let nonces: SessionNonces

    // What Policy commands add, and PolicyRestart takes away

    package internal(set) var policyDigest: [UInt8]
    package internal(set) var proof: Proof = .none
    package internal(set) var commandCode: TPMCommandCode?
    package internal(set) var binding: Binding?
    /// PolicyTemplate came. (A cpHash of the same value may have taken the binding over.)
    package internal(set) var isTemplateSet = false
    /// The generation of the guest's vPCRs that PolicyPCR saw (pcrUpdateCounter in a chip).
    package internal(set) var pcrGeneration: UInt64?
    /// Of the PCRs that it saw, those that the generation does not count
    package internal(set) var uncountedPCRs: UncountedPCRs?
    /// The guest's time, of the session's own epoch, after which it authorizes no more, in milliseconds
    package internal(set) var timeout: UInt64?
    /// The localities at which the command may come
    package internal(set) var locality: LocalityAttributes?
    package internal(set) var isPhysicalPresenceNeeded = false
    /// What TPMA_NV_WRITTEN of the index must be
    package internal(set) var nvWritten: Bool?

    /// What the caller must know besides, of the entity it uses.
    package enum Proof: UInt8, Sendable {
        case none = 0
        /// isAuthValueNeeded: the authValue is part of the session's HMAC key.
        case authValue = 1
        /// isPasswordNeeded: the authValue stands in the session's hmac field.
        case password = 2
    }

    /// A digest that the command must have: cpHash, nameHash, template and parameters share one place.
    package struct Binding: Sendable, Equatable {
        package let kind: PolicyBinding
        package let digest: [UInt8]
    }

    package var isAuthValueNeeded: Bool { proof == .authValue }
    package var isPasswordNeeded: Bool { proof == .password }

    /// The state after TPM2_StartAuthSession (Part 3, 11.1): policyDigest is all zero.
    package init(hash: HashAlgorithm, isTrial: Bool, startTime: GuestTime, nonces: SessionNonces) {
        self.hash = hash
        self.isTrial = isTrial
        self.startTime = startTime
        self.nonces = nonces
        policyDigest = [UInt8](repeating: 0, count: hash.digestSize)
    }

    /// Changes with the fields below: a token of another version is no token.
    private static let version: UInt8 = 5

    package init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        hash = try reader.value()
        isTrial = try reader.flag()
        startTime = try reader.value()
        nonces = try reader.value()
        policyDigest = try reader.bytes(hash.digestSize)
        guard let proof = Proof(rawValue: try reader.u8()) else { throw .invalid(0) }
        self.proof = proof
        commandCode = try reader.optional()
        binding = try reader.optional()
        isTemplateSet = try reader.flag()
        pcrGeneration = try reader.optional()
        uncountedPCRs = try reader.optional()
        timeout = try reader.optional()
        locality = try reader.optional()
        isPhysicalPresenceNeeded = try reader.flag()
        nvWritten = try reader.flag() ? try reader.flag() : nil
    }
    package func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.value(hash)
        writer.flag(isTrial)
        writer.value(startTime)
        writer.value(nonces)
        writer.raw(policyDigest)
        writer.u8(proof.rawValue)
        writer.optional(commandCode)
        writer.optional(binding)
        writer.flag(isTemplateSet)
        writer.optional(pcrGeneration)
        writer.optional(uncountedPCRs)
        writer.optional(timeout)
        writer.optional(locality)
        writer.flag(isPhysicalPresenceNeeded)
        writer.flag(nvWritten != nil)
        if let nvWritten { writer.flag(nvWritten) }
    }
}

extension PolicyState.Binding: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        guard let kind = PolicyBinding(rawValue: try reader.u8()) else { throw .invalid(0) }
        self.kind = kind
        digest = try reader.sized16(max: HashAlgorithm.largestDigest)
    }
    package func encode(to writer: inout WireWriter) {
        writer.u8(kind.rawValue)
        writer.sized16(digest)
    }
}

extension WireReader {
    /// A flag, and the value if it is set.
    mutating func optional<T: WireCodable>() throws(WireError) -> T? { try flag() ? try value(T.self) : nil }
}

extension WireWriter {
    mutating func optional(_ value: (some WireCodable)?) {
        flag(value != nil)
        if let value { self.value(value) }
    }
}
