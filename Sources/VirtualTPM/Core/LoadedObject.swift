// A guest's object as its TPM holds it, and the twin behind it.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// Where the private part of an object is.
enum Backing {
    /// Nowhere: only the public area is loaded.
    case publicOnly
    /// In the hardware TPM.
    case twin(TwinReference)
    /// In this process: keys of the NULL hierarchy and keys that came in the clear (LoadExternal). The listed exceptions to P2.
    case software(Secret)
}

/// An object in a transient slot or in persistent memory. Immutable but for what the commands change.
final class LoadedObject {
    let publicArea: PublicArea
    /// nameAlg || digest; empty where nameAlg is TPM_ALG_NULL
    let name: [UInt8]
    let qualifiedName: [UInt8]
    /// owner, endorsement, platform or null
    let hierarchy: TPMHandle
    var authValue: Secret
    let backing: Backing
    /// LoadExternal made it: it has no parent and cannot be made persistent.
    let isExternal: Bool
    /// The hierarchy itself is its parent.
    let isPrimary: Bool
    /// stClear here or in an ancestor: gone at the next Startup(CLEAR).
    let isStClear: Bool

    init(
        publicArea: PublicArea, name: [UInt8], qualifiedName: [UInt8], hierarchy: TPMHandle, authValue: Secret,
        backing: Backing, isExternal: Bool = false, isPrimary: Bool = false, isStClear: Bool = false
    ) {
        self.publicArea = publicArea
        self.name = name
        self.qualifiedName = qualifiedName
        self.hierarchy = hierarchy
        self.authValue = authValue
        self.backing = backing
        self.isExternal = isExternal
        self.isPrimary = isPrimary
        self.isStClear = isStClear
    }

    /// A child of a storage key or of a derivation parent.
    convenience init(_ publicArea: PublicArea, under parent: LoadedObject, authValue: [UInt8], backing: Backing) {
        self.init(
            publicArea: publicArea, name: publicArea.name, qualifiedName: publicArea.qualifiedName(under: parent.qualifiedName),
            hierarchy: parent.hierarchy, authValue: Secret(authValue), backing: backing,
            isStClear: parent.isStClear || publicArea.attributes.contains(.stClear))
    }

    /// A primary.
    convenience init(_ publicArea: PublicArea, in hierarchy: TPMHandle, authValue: [UInt8], backing: Backing) {
        self.init(
            publicArea: publicArea, name: publicArea.name, qualifiedName: publicArea.qualifiedName(under: hierarchy.wire),
            hierarchy: hierarchy, authValue: Secret(authValue), backing: backing, isPrimary: true,
            isStClear: publicArea.attributes.contains(.stClear))
    }

    var attributes: ObjectAttributes { publicArea.attributes }

    var isPublicOnly: Bool {
        if case .publicOnly = backing { true } else { false }
    }

    /// A storage key: restricted, decrypt, not sign, with its private part (Part 1, 25).
    var isParent: Bool { hasChildren && publicArea.type != .keyedHash }

    /// A keyed hash of that kind: objects are derived from it (Part 1, 28.4).
    var isDerivationParent: Bool { hasChildren && publicArea.type == .keyedHash }

    private var hasChildren: Bool {
        publicArea.isParent && !attributes.contains(.sign) && !isPublicOnly && publicArea.nameAlgorithm != nil
    }

    /// Whether seeds may be shared with it: an asymmetric storage key, with or without its private part.
    var isStorageKey: Bool { publicArea.isParent && !attributes.contains(.sign) && publicArea.isAsymmetric }
}

extension PublicArea {
    /// - Parameter parent: the parent's Qualified Name, or a hierarchy's handle.
    func qualifiedName(under parent: [UInt8]) -> [UInt8] {
        guard let nameAlgorithm else { return [] }
        return TPMCrypto.qualifiedName(parent: parent, name: name, nameAlgorithm)
    }
}

/// One form of an object for saved contexts and for persistent memory; always encrypted by who stores it.
struct ObjectRecord: WireCodable {
    var publicArea: PublicArea
    var qualifiedName: [UInt8]
    var hierarchy: TPMHandle
    var authValue: [UInt8]
    var stored: Stored
    var flags: UInt8

    enum Stored {
        case publicOnly
        case twin(TwinBlob)
        case software([UInt8])
    }

    init(_ object: LoadedObject) {
        publicArea = object.publicArea
        qualifiedName = object.qualifiedName
        hierarchy = object.hierarchy
        authValue = object.authValue.bytes
        stored = switch object.backing {
        case .publicOnly: .publicOnly
        case .twin(let twin): .twin(twin.blob)
        case .software(let secret): .software(secret.bytes)
        }
        flags = (object.isExternal ? 1 : 0) | (object.isPrimary ? 2 : 0) | (object.isStClear ? 4 : 0)
    }

    func object(_ keeper: TwinKeeper) -> LoadedObject {
        let backing: Backing = switch stored {
        case .publicOnly: .publicOnly
        case .twin(let blob): .twin(TwinReference(blob, keeper))
        case .software(let bytes): .software(Secret(bytes))
        }
        return LoadedObject(
            publicArea: publicArea, name: publicArea.name, qualifiedName: qualifiedName, hierarchy: hierarchy,
            authValue: Secret(authValue), backing: backing, isExternal: flags & 1 != 0, isPrimary: flags & 2 != 0,
            isStClear: flags & 4 != 0)
    }

    init(from reader: inout WireReader) throws(WireError) {
        publicArea = try reader.value()
        qualifiedName = try reader.sized16(max: 2 + HashAlgorithm.largestDigest)
        hierarchy = try reader.value()
        authValue = try reader.sized16(max: HashAlgorithm.largestDigest)
        switch try reader.u8() {
        case 0: stored = .publicOnly
        case 1: stored = .twin(try reader.value())
        case 2: stored = .software(try reader.sized16(max: SensitiveArea.sensitiveMax))
        default: throw .invalid(0)
        }
        flags = try reader.u8()
    }

    func encode(to writer: inout WireWriter) {
        writer.value(publicArea)
        writer.sized16(qualifiedName)
        writer.value(hierarchy)
        writer.sized16(authValue)
        switch stored {
        case .publicOnly: writer.u8(0)
        case .twin(let blob):
            writer.u8(1)
            writer.value(blob)
        case .software(let secret):
            writer.u8(2)
            writer.sized16(secret)
        }
        writer.u8(flags)
    }
}
