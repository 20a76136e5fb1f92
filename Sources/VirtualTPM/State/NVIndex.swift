// One NV index: public area, authorization, data (Part 1, 37).
import TPMCrypto
import TPMWire
import Wire

struct NVIndex: WireCodable, Equatable {
    var publicArea: NVPublic
    var authValue: Secret
    /// As many bytes as publicArea.dataSize; meaningless until TPMA_NV_WRITTEN.
    var data: [UInt8]

    init(publicArea: NVPublic, authValue: Secret) {
        self.publicArea = publicArea
        self.authValue = authValue
        data = Self.unwritten(publicArea)
    }

    /// What a first write does not cover: zeros where the data is orderly, else ones (as erased NV memory is).
    static func unwritten(_ publicArea: NVPublic) -> [UInt8] {
        [UInt8](repeating: publicArea.attributes.contains(.orderly) ? 0 : 0xFF, count: Int(publicArea.dataSize))
    }
    init(from reader: inout WireReader) throws(WireError) {
        publicArea = try reader.value()
        authValue = Secret(try reader.sized16(max: HashAlgorithm.largestDigest))
        data = try reader.sized16(max: NVPublic.dataMax)
        guard data.count == Int(publicArea.dataSize) else { throw .invalid(0) }
    }
    func encode(to writer: inout WireWriter) {
        writer.value(publicArea)
        writer.sized16(authValue.bytes)
        writer.sized16(data)
    }
}

extension NVIndex {
    var isWritten: Bool { publicArea.attributes.contains(.written) }
    var type: NVAttributes.IndexType? { publicArea.attributes.indexType }
    var isPIN: Bool { type == .pinFail || type == .pinPass }

    /// The data of a counter or bit field; 0 where it was not written.
    var integer: UInt64 {
        isWritten ? data.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } : 0
    }

    /// TPMS_NV_PIN_COUNTER_PARAMETERS (Part 2, 13.3): the data of a PIN index.
    var pin: (count: UInt32, limit: UInt32) {
        get { (UInt32(truncatingIfNeeded: integer >> 32), UInt32(truncatingIfNeeded: integer)) }
        set { data = newValue.count.wire + newValue.limit.wire }
    }
}
