// Templates that guests use, and short ways to create and load objects with them.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

enum Templates {
    static let aes128CFB = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)
    static let fixed: ObjectAttributes = [.fixedTPM, .fixedParent, .sensitiveDataOrigin, .userWithAuth, .noDA]
    static let noPoint = PublicArea.Unique.ecc(ECCPoint(x: [], y: []))

    static func ecc(
        _ attributes: ObjectAttributes, symmetric: SymmetricDefinition = .null, scheme: Scheme = .null, curve: ECCCurve = .p256,
        kdf: Scheme = .null, hash: HashAlgorithm? = .sha256
    ) -> PublicArea {
        PublicArea(
            nameAlgorithm: hash, attributes: attributes,
            parameters: .ecc(symmetric: symmetric, scheme: scheme, curve: curve, kdf: kdf), unique: noPoint)
    }

    static func rsa(
        _ attributes: ObjectAttributes, symmetric: SymmetricDefinition = .null, scheme: Scheme = .null, exponent: UInt32 = 0,
        hash: HashAlgorithm? = .sha256
    ) -> PublicArea {
        PublicArea(
            nameAlgorithm: hash, attributes: attributes,
            parameters: .rsa(symmetric: symmetric, scheme: scheme, keyBits: 2048, exponent: exponent), unique: .rsa([]))
    }

    static func keyedHash(_ attributes: ObjectAttributes, scheme: Scheme = .null, hash: HashAlgorithm? = .sha256) -> PublicArea {
        PublicArea(nameAlgorithm: hash, attributes: attributes, parameters: .keyedHash(scheme: scheme), unique: .digest([]))
    }

    static func cipher(_ attributes: ObjectAttributes, hash: HashAlgorithm? = .sha256) -> PublicArea {
        PublicArea(nameAlgorithm: hash, attributes: attributes, parameters: .symcipher(aes128CFB), unique: .digest([]))
    }

    static let eccStorage = ecc(fixed.union([.restricted, .decrypt]), symmetric: aes128CFB)
    static let eccSign = ecc(fixed.union(.sign))
    static let eccAttest = ecc(fixed.union([.sign, .restricted]), scheme: Scheme(.ecdsa, .sha256))
    static let eccAgree = ecc(fixed.union(.decrypt))
    static let rsaStorage = rsa(fixed.union([.restricted, .decrypt]), symmetric: aes128CFB)
    static let rsaSign = rsa(fixed.union(.sign))
    static let rsaDecrypt = rsa(fixed.union(.decrypt))
    static let sealed = keyedHash(fixed.subtracting(.sensitiveDataOrigin))
    static let hmac = keyedHash(fixed.union(.sign), scheme: Scheme(.hmac, .sha256))
    static let givenHMAC = keyedHash(fixed.union(.sign).subtracting(.sensitiveDataOrigin), scheme: Scheme(.hmac, .sha256))
    static let aes = cipher(fixed.union([.sign, .decrypt]))
}

/// What TPM2_Create and TPM2_CreatePrimary answer.
struct Created {
    var handle: TPMHandle?
    var outPrivate: [UInt8] = []
    let publicArea: PublicArea
    let creationData: CreationData
    let creationHash: [UInt8]
    let ticket: Ticket
}

extension Guest {
    func creation(
        _ template: PublicArea, auth: [UInt8] = [], data: [UInt8] = [], outsideInfo: [UInt8] = [], pcrs: [PCRSelection] = []
    ) -> (inout WireWriter) -> Void {
        { writer in
            writer.sized16(SensitiveCreate(userAuth: auth, data: data))
            writer.sized16(template)
            writer.sized16(outsideInfo)
            writer.list(pcrs)
        }
    }

    private func created(_ reader: inout WireReader) throws -> Created {
        let publicArea = try reader.value(Sized<PublicArea>.self).value
        let data = try reader.value(Sized<CreationData>.self).value
        return Created(
            publicArea: publicArea, creationData: data, creationHash: try reader.sized16(), ticket: try reader.value())
    }

    func createPrimary(
        _ template: PublicArea = Templates.eccStorage, in hierarchy: TPMHandle = .owner, auth: [UInt8] = [], data: [UInt8] = []
    ) throws -> Created {
        let response = try run(.createPrimary, [hierarchy], creation(template, auth: auth, data: data))
        try #require(response.code == .success)
        var reader = WireReader(response.parameters)
        var created = try created(&reader)
        #expect(try reader.sized16() == created.publicArea.name)
        try reader.finish()
        created.handle = response.handle
        return created
    }

    func create(
        _ template: PublicArea, under parent: TPMHandle, auth: [UInt8] = [], data: [UInt8] = [], outsideInfo: [UInt8] = [],
        pcrs: [PCRSelection] = []
    ) throws -> Created {
        var reader = try succeed(
            .create, [parent], creation(template, auth: auth, data: data, outsideInfo: outsideInfo, pcrs: pcrs))
        let outPrivate = try reader.sized16()
        var created = try created(&reader)
        try reader.finish()
        created.outPrivate = outPrivate
        return created
    }

    func load(_ created: Created, under parent: TPMHandle) throws -> ResponseMessage {
        try run(.load, [parent]) {
            $0.sized16(created.outPrivate)
            $0.sized16(created.publicArea)
        }
    }

    /// A loaded child of a new storage primary.
    func child(_ template: PublicArea, data: [UInt8] = []) throws -> TPMHandle {
        let parent = try #require(try createPrimary().handle)
        return try #require(try load(try create(template, under: parent, data: data), under: parent).handle)
    }

    func code(
        _ command: TPMCommandCode, _ handles: [TPMHandle] = [], _ parameters: (inout WireWriter) -> Void = { _ in }
    ) throws -> UInt32 {
        try run(command, handles, parameters).code.rawValue
    }
}
