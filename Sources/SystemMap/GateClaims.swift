// What a proxy says to the gate (GateCalls): which object, for which command of the guest's, and what a signature shall be about.
import TPMWire
import Wire

/// A gated object: the guest's public area, and its twin. The checker takes neither on trust: a wrong one gives a wrong authValue.
package struct GatedObject: WireCodable, Sendable {
    package var area: PublicArea
    package var twin: TwinBlob

    package init(area: PublicArea, twin: TwinBlob) {
        self.area = area
        self.twin = twin
    }
    package init(from reader: inout WireReader) throws(WireError) {
        area = try reader.value()
        twin = try reader.value()
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(area)
        writer.value(twin)
    }
}

/// A command of the guest's, as far as policies and its gated operation need it.
package struct GuestCommand: WireCodable, Sendable {
    package static let parametersMax = 4096
    package var code: TPMCommandCode
    /// The Names of its handles
    package var names: [[UInt8]]
    /// Decrypted
    package var parameters: [UInt8]

    package init(code: TPMCommandCode, names: [[UInt8]], parameters: [UInt8]) {
        self.code = code
        self.names = names
        self.parameters = parameters
    }
    package init(from reader: inout WireReader) throws(WireError) {
        code = try reader.value()
        names = []
        for _ in 0..<min(try reader.u8(), 3) { names.append(try reader.sized16(max: 2 + HashAlgorithm.largestDigest)) }
        parameters = try reader.sized16(max: Self.parametersMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(code)
        writer.u8(UInt8(min(names.count, 3)))
        for name in names.prefix(3) { writer.sized16(name) }
        writer.sized16(parameters)
    }
}

/// What a signing key shall say, as far as the proxy contributes to it.
package enum Statement: WireCodable, Sendable {
    /// A TPMS_ATTEST, which the checker composes
    case attestation(Circumstances, Content)
    /// The TBSCertificate that CertifyX509 made
    case certificate([UInt8])
    /// Sign's digest; of the proof of its ticket's hierarchy the SHA-256 digest (TicketHierarchy)
    case digest(proofDigest: [UInt8])
    /// Which of the guest's commitments Commit shall make
    case commitment(series: UInt64, count: UInt64)

    /// What every TPMS_ATTEST has (Part 2, 10.12.8), the guest's own: the proxy's word.
    package struct Circumstances: Sendable {
        package var qualifiedSigner: [UInt8]
        package var clockInfo: ClockInfo
        package var firmwareVersion: UInt64
        package init(qualifiedSigner: [UInt8], clockInfo: ClockInfo, firmwareVersion: UInt64) {
            self.qualifiedSigner = qualifiedSigner
            self.clockInfo = clockInfo
            self.firmwareVersion = firmwareVersion
        }
    }

    /// TPMU_ATTEST (Part 2, 10.12.7), from the proxy only what is its guest's own.
    package enum Content: Sendable {
        /// What of the selection is there; the digest is the checker's to make.
        case quote([PCRSelection])
        case certify(NamedObject, qualifiedName: [UInt8])
        case creation(NamedObject, creationHash: [UInt8])
        /// Audit digests, time and NV contents
        case own(tag: UInt16, body: [UInt8])
    }

    private static let nameMax = 2 + HashAlgorithm.largestDigest

    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 0: self = .certificate(try reader.sized16(max: GuestCommand.parametersMax))
        case 1: self = .digest(proofDigest: try reader.bytes(TicketHierarchy.proofDigestSize))
        case 2:
            let circumstances = Circumstances(
                qualifiedSigner: try reader.sized16(max: Self.nameMax), clockInfo: try reader.value(), firmwareVersion: try reader.u64())
            self = .attestation(circumstances, try Self.content(&reader))
        case 3: self = .commitment(series: try reader.u64(), count: try reader.u64())
        default: throw .invalid(0)
        }
    }

    private static func content(_ reader: inout WireReader) throws(WireError) -> Content {
        switch try reader.u8() {
        case 0: .quote(try reader.list(max: PCRSelection.listMax))
        case 1: .certify(try reader.value(), qualifiedName: try reader.sized16(max: nameMax))
        case 2: .creation(try reader.value(), creationHash: try reader.sized16(max: HashAlgorithm.largestDigest))
        case 3: .own(tag: try reader.u16(), body: try reader.sized16(max: GuestCommand.parametersMax))
        default: throw .invalid(0)
        }
    }

    package func encode(to writer: inout WireWriter) {
        switch self {
        case .certificate(let bytes):
            writer.u8(0)
            writer.sized16(bytes)
        case .digest(let proofDigest):
            writer.u8(1)
            writer.raw(proofDigest)
        case .attestation(let circumstances, let content):
            writer.u8(2)
            writer.sized16(circumstances.qualifiedSigner)
            writer.value(circumstances.clockInfo)
            writer.u64(circumstances.firmwareVersion)
            encode(content, to: &writer)
        case .commitment(let series, let count):
            writer.u8(3)
            writer.u64(series)
            writer.u64(count)
        }
    }

    private func encode(_ content: Content, to writer: inout WireWriter) {
        switch content {
        case .quote(let selection):
            writer.u8(0)
            writer.list(selection)
        case .certify(let object, let qualifiedName):
            writer.u8(1)
            writer.value(object)
            writer.sized16(qualifiedName)
        case .creation(let object, let creationHash):
            writer.u8(2)
            writer.value(object)
            writer.sized16(creationHash)
        case .own(let tag, let body):
            writer.u8(3)
            writer.u16(tag)
            writer.sized16(body)
        }
    }
}

/// An object that somebody else is told about by its Name. Of a restricted signing key that claims to be fixed to its TPM the checker
/// speaks only if it made the mark.
package struct NamedObject: WireCodable, Sendable {
    /// nil: a sequence, which has no Name
    package var area: PublicArea?
    package var mark: [UInt8]

    package init(area: PublicArea?, mark: [UInt8]) {
        self.area = area
        self.mark = mark
    }
    package init(from reader: inout WireReader) throws(WireError) {
        area = try reader.flag() ? try reader.value() : nil
        mark = try reader.sized16(max: GateSeal.markSize)
    }
    package func encode(to writer: inout WireWriter) {
        writer.flag(area != nil)
        if let area { writer.value(area) }
        writer.sized16(mark)
    }
}

extension TPMCommandCode {
    /// Which handle of the command is the key whose private part it uses.
    package var gatedHandle: Int? {
        switch self {
        case .unseal, .duplicate, .sign, .hmac, .hmacStart, .rsaDecrypt, .ecdhZGen, .zGen2Phase, .encryptDecrypt, .encryptDecrypt2,
            .createLoaded, .quote, .certifyCreation, .nvCertify, .commit: 0
        case .certify, .certifyX509, .getSessionAuditDigest, .getCommandAuditDigest, .getTime: 1
        default: nil
        }
    }
}
