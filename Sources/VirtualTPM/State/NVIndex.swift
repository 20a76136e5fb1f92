// One NV index: public area, authorization, data (Part 1, 37).
import TPMCrypto
import TPMWire
import Wire

struct NVIndex: WireCodable {
    var publicArea: NVPublic
    var authValue: Secret
    /// As many bytes as publicArea.dataSize; meaningless until TPMA_NV_WRITTEN.
    var data: [UInt8]

    init(publicArea: NVPublic, authValue: Secret) {
        self.publicArea = publicArea
        self.authValue = authValue
        data = [UInt8](repeating: 0xFF, count: Int(publicArea.dataSize))
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
