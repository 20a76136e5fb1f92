// What a handler is given and what it answers.
import TPMWire
import Wire

/// The parameter area, read in order: a complaint carries the parameter's number (TPM_RC_P + TPM_RC_n).
struct ParameterReader {
    private var reader: WireReader
    /// The number of the parameter that was read last, from 1.
    private(set) var number = 0

    static let empty = ParameterReader([])

    init(_ bytes: [UInt8], _ vocabulary: Vocabulary = .whole) { reader = WireReader(bytes, vocabulary) }

    /// What came that the vocabulary lacks, as bits.
    var met: UInt32 { reader.met }

    mutating func next<T: WireCodable>(_: T.Type = T.self) throws(TPMRC) -> T {
        try read { (reader) throws(WireError) in try T(from: &reader) }
    }

    /// A parameter whose form depends on more than its bytes.
    mutating func read<T>(_ body: (inout WireReader) throws(WireError) -> T) throws(TPMRC) -> T {
        number += 1
        do throws(WireError) { return try body(&reader) } catch { throw TPMRC(error).parameter(number) }
    }

    /// A TPM2B of at most `max` bytes.
    mutating func bytes(max: Int) throws(TPMRC) -> [UInt8] {
        try read { (reader) throws(WireError) in try reader.sized16(max: max) }
    }

    /// A TPML.
    mutating func list<T: WireCodable>(_: T.Type = T.self, max: Int) throws(TPMRC) -> [T] {
        try read { (reader) throws(WireError) in try reader.list(max: max) }
    }

    /// Every handler ends its reading with this: bytes left over are TPM_RC_SIZE.
    func finish() throws(TPMRC) {
        guard reader.isAtEnd else { throw .size }
    }
}

/// One command, decoded as far as its handles and authorized.
struct CommandCall {
    let row: CommandRow
    let handles: [TPMHandle]
    var parameters: ParameterReader
    /// The sessions of the authorization area, in order.
    var sessions: [AppliedSession]
    /// The parameter area as it came (still encrypted where a session says so): what cpHash covers.
    let rawParameters: [UInt8]
    /// SetCommandCodeAuditStatus changed the hash: the command audit digest does not have it.
    var isAuditHashChange = false
}

/// A command's successful answer.
struct Reply {
    var handle: TPMHandle?
    var parameters = WireWriter()

    static let empty = Reply()

    init(handle: TPMHandle? = nil) { self.handle = handle }
    init(handle: TPMHandle? = nil, _ body: (inout WireWriter) -> Void) {
        self.handle = handle
        body(&parameters)
    }
}
