// What a policy session knows, and its wire form inside a token.
import TPMWire
import Wire

/// A policy session's context values (Part 1, 19.7), as far as the Policy commands make them.
package struct PolicyState: WireCodable, Sendable, Equatable {
    // For the session's whole life

    /// The session's hash: of policyDigest, cpHash, nameHash
    package let hash: HashAlgorithm
    /// A trial session computes a digest and checks nothing; it authorizes nothing.
    package let isTrial: Bool
    /// The session's first nonceTPM
    package let nonceTPM: [UInt8]
    /// The guest's time when the session started, in milliseconds
    package let startTime: UInt64

    // What Policy commands add, and PolicyRestart takes away

    package internal(set) var policyDigest: [UInt8]
    package internal(set) var proof: Proof = .none
    package internal(set) var commandCode: TPMCommandCode?
    package internal(set) var binding: Binding = .none
    /// The generation of the guest's vPCRs that PolicyPCR saw (pcrUpdateCounter in a chip).
    package internal(set) var pcrGeneration: UInt64?
    /// The guest's time after which the session authorizes no more, in milliseconds
    package internal(set) var timeout: UInt64?

    /// What the caller must know besides, of the entity it uses.
    package enum Proof: UInt8, Sendable {
        case none = 0
        /// isAuthValueNeeded: the authValue is part of the session's HMAC key.
        case authValue = 1
        /// isPasswordNeeded: the authValue stands in the session's hmac field.
        case password = 2
    }

    /// cpHash, nameHash and templateHash share one place: a session has at most one of them.
    package enum Binding: Sendable, Equatable {
        case none
        case cpHash([UInt8])
    }

    package var isAuthValueNeeded: Bool { proof == .authValue }
    package var isPasswordNeeded: Bool { proof == .password }

    /// The state after TPM2_StartAuthSession (Part 3, 11.1): policyDigest is all zero.
    package init(hash: HashAlgorithm, isTrial: Bool, nonceTPM: [UInt8], startTime: UInt64) {
        self.hash = hash
        self.isTrial = isTrial
        self.nonceTPM = nonceTPM
        self.startTime = startTime
        policyDigest = [UInt8](repeating: 0, count: hash.digestSize)
    }

    /// Changes with the fields below: a token of another version is no token.
    private static let version: UInt8 = 1

    package init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        hash = try reader.value()
        isTrial = try reader.flag()
        nonceTPM = try reader.sized16(max: HashAlgorithm.largestDigest)
        startTime = try reader.u64()
        policyDigest = try reader.bytes(hash.digestSize)
        guard let proof = Proof(rawValue: try reader.u8()) else { throw .invalid(0) }
        self.proof = proof
        commandCode = try reader.optional()
        binding = try reader.value()
        pcrGeneration = try reader.optional()
        timeout = try reader.optional()
    }
    package func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.value(hash)
        writer.flag(isTrial)
        writer.sized16(nonceTPM)
        writer.u64(startTime)
        writer.raw(policyDigest)
        writer.u8(proof.rawValue)
        writer.optional(commandCode)
        writer.value(binding)
        writer.optional(pcrGeneration)
        writer.optional(timeout)
    }
}

extension PolicyState.Binding: WireCodable {
    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 0: self = .none
        case 1: self = .cpHash(try reader.sized16(max: HashAlgorithm.largestDigest))
        default: throw .invalid(0)
        }
    }
    package func encode(to writer: inout WireWriter) {
        switch self {
        case .none: writer.u8(0)
        case .cpHash(let digest):
            writer.u8(1)
            writer.sized16(digest)
        }
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
