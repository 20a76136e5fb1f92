// The deep quote: one signature of the hardware over the host's PCRs, bound to one guest's vPCRs (docs/attestation.md).
import CryptoBase
import TPMCrypto
import TPMWire
import Wire

/// What a guest asks with: the verifier's nonce, and which of its vPCRs shall be in the bundle.
public struct DeepQuoteRequest: Sendable {
    /// What the verifier chose and nobody could know before; 1 to 64 bytes.
    public let nonce: [UInt8]
    package let selection: [PCRSelection]

    /// Bytes of the longest nonce.
    public static let nonceMax = 64
    /// Bytes of all selected vPCRs together, so that a bundle fits the buffers of guests.
    public static let valuesMax = 1024

    /// - Throws: what is wrong with the nonce's length, or with the choice.
    public init(nonce: [UInt8], pcrs: PCRChoice) throws(FormatError) {
        try self.init(nonce: nonce, selection: pcrs.selections)
    }

    package init(nonce: [UInt8], selection: [PCRSelection]) throws(FormatError) {
        guard (1...Self.nonceMax).contains(nonce.count) else { throw FormatError("a nonce has 1 to \(Self.nonceMax) bytes") }
        let size = selection.reduce(0) { $0 + $1.pcrs.count * $1.hash.digestSize }
        guard Set(selection.map(\.hash)).count == selection.count, (1...Self.valuesMax).contains(size) else {
            throw FormatError("a selection names each bank once, and vPCRs of 1 to \(Self.valuesMax) bytes")
        }
        self.nonce = nonce
        self.selection = selection
    }

    /// sized16 nonce, TPML_PCR_SELECTION: what is written to the request index.
    public init(_ bytes: [UInt8]) throws(FormatError) {
        var reader = WireReader(bytes)
        let nonce: [UInt8]
        let selection: [PCRSelection]
        do throws(WireError) {
            nonce = try reader.sized16(max: Self.nonceMax)
            selection = try reader.list(max: PCRSelection.listMax)
            try reader.finish()
        } catch { throw FormatError("a request is a nonce behind its 16-bit size, and a TPML_PCR_SELECTION") }
        try self.init(nonce: nonce, selection: selection)
    }

    /// The request as it is written to the request index.
    public var bytes: [UInt8] {
        var writer = WireWriter()
        writer.sized16(nonce)
        writer.list(selection)
        return writer.bytes
    }
}

/// The bundle that answers a request.
///
/// Everything in it is in network byte order:
///
///     u32 magic "PTDQ", u16 version
///     32 bytes guest's identity
///     sized16 nonce
///     u64 boot count
///     TPML_PCR_SELECTION of the guest, sized16 its vPCRs' values
///     sized16 values of the host's PCRs, in the order of the statement's selection
///     sized16 statement (TPMS_ATTEST), sized16 signature (TPMT_SIGNATURE)
///     sized16 attestation key (TPMT_PUBLIC), 32 bytes evidence id
public struct DeepQuote: Sendable {
    /// Of the format that is made and read here.
    public static let version: UInt16 = 1
    private static let magic: UInt32 = 0x5054_4451

    /// SHA-256 of the guest's public identity, as `paratpmctl guest list` shows it.
    public let guest: [UInt8]
    /// The verifier's
    public let nonce: [UInt8]
    /// Which boot of the guest it was, as paratpm-pcr counts.
    public let bootCount: UInt64
    package let selection: [PCRSelection]
    /// The selected vPCRs' values, behind each other.
    package let values: [UInt8]
    /// The host's PCRs' values, behind each other.
    package let hostValues: [UInt8]
    /// TPMS_ATTEST
    package let statement: [UInt8]
    /// TPMT_SIGNATURE
    package let signature: [UInt8]
    /// TPMT_PUBLIC
    package let attestationKey: [UInt8]
    /// SHA-256 of the host's evidence.
    public let evidenceID: [UInt8]

    /// Bytes of a guest's identity and of an evidence id.
    public static let idSize = 32
    private static let statementMax = 1024
    /// Bytes of the largest bundle that anyone makes.
    public static let largest = 8192

    package init(
        request: DeepQuoteRequest, guest: [UInt8], bootCount: UInt64, values: [UInt8], hostValues: [UInt8], statement: [UInt8],
        signature: [UInt8], attestationKey: [UInt8], evidenceID: [UInt8]
    ) {
        self.guest = guest
        nonce = request.nonce
        self.bootCount = bootCount
        selection = request.selection
        self.values = values
        self.hostValues = hostValues
        self.statement = statement
        self.signature = signature
        self.attestationKey = attestationKey
        self.evidenceID = evidenceID
    }

    /// Decodes a bundle: every byte of it, or an error.
    public init(_ bytes: [UInt8]) throws(FormatError) {
        var reader = WireReader(bytes)
        do throws(WireError) {
            try self.init(from: &reader)
            try reader.finish()
        } catch { throw FormatError("this is not a deep quote of version \(Self.version)") }
        guard PCRValues(values, selection) != nil else { throw FormatError("the vPCRs' values do not fit their selection") }
    }

    private init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u32() == Self.magic, try reader.u16() == Self.version else { throw .invalid(0) }
        guest = try reader.bytes(Self.idSize)
        nonce = try reader.sized16(max: DeepQuoteRequest.nonceMax)
        bootCount = try reader.u64()
        selection = try reader.list(max: PCRSelection.listMax)
        values = try reader.sized16(max: DeepQuoteRequest.valuesMax)
        hostValues = try reader.sized16()
        statement = try reader.sized16(max: Self.statementMax)
        signature = try reader.sized16(max: Self.statementMax)
        attestationKey = try reader.sized16(max: Self.statementMax)
        evidenceID = try reader.bytes(Self.idSize)
    }

    /// The bundle as it travels.
    public var bytes: [UInt8] {
        var writer = WireWriter(capacity: 2048)
        writer.u32(Self.magic)
        writer.u16(Self.version)
        writer.raw(guest)
        writer.sized16(nonce)
        writer.u64(bootCount)
        writer.list(selection)
        writer.sized16(values)
        writer.sized16(hostValues)
        writer.sized16(statement)
        writer.sized16(signature)
        writer.sized16(attestationKey)
        writer.raw(evidenceID)
        return writer.bytes
    }

    /// The guest's vPCRs.
    public var guestPCRs: PCRValues { PCRValues(values, selection) ?? [:] }

    /// What the hardware is asked to sign along (TPM2_Quote's qualifyingData): SHA-256 over a domain tag, the guest's identity,
    /// the nonce, the selection, the values and the boot count, each of fixed size or behind its size.
    package static func qualifyingData(
        guest: [UInt8], request: DeepQuoteRequest, values: [UInt8], bootCount: UInt64
    ) -> [UInt8] {
        var writer = WireWriter(capacity: 1024)
        writer.raw(Array("paratpm deep quote 1".utf8) + [0])
        writer.raw(guest)
        writer.sized16(request.nonce)
        writer.list(request.selection)
        writer.sized16(values)
        writer.u64(bootCount)
        return digest(.sha256, writer.bytes)
    }
}
