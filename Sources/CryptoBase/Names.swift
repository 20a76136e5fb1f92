// Names and Qualified Names (Part 1, 16 and 26.5).
import TPMWire
import Wire

extension PublicArea {
    /// nameAlg || H_nameAlg(TPMT_PUBLIC); empty for an object whose nameAlg is TPM_ALG_NULL.
    package var name: [UInt8] {
        guard let hash = nameAlgorithm else { return [] }
        return tagged(hash, wire)
    }
}

extension NVPublic {
    /// nameAlg || H_nameAlg(TPMS_NV_PUBLIC)
    package var name: [UInt8] { tagged(nameAlgorithm, wire) }
}

/// QN_object = nameAlg || H_nameAlg(QN_parent || Name_object). A hierarchy's Qualified Name is its handle.
/// - Parameter hash: the object's nameAlg.
package func qualifiedName(parent: [UInt8], name: [UInt8], _ hash: HashAlgorithm) -> [UInt8] {
    tagged(hash, parent, name)
}

private func tagged(_ hash: HashAlgorithm, _ parts: [UInt8]...) -> [UInt8] {
    var context = HashContext(hash)
    for part in parts { context.update(part) }
    return hash.wire + context.finished()
}
