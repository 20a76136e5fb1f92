// Chapters 12 and 13 of Part 3 beside a stock TPM: keys that come and go, credentials, changed auths, loaded creation. Keys of
// known private parts make even derived keys and rewrapped blobs comparable byte by byte.
import Testing
import TPMCrypto
import TPMWire
import Wire

/// Keys whose private part the test knows.
private enum Known {
    static let movable: ObjectAttributes = [.userWithAuth, .noDA]
    static let seed = [UInt8](repeating: 0x5E, count: 32)
    static let scalar = [UInt8](repeating: 0x11, count: 32)
    static let duplicationPolicy = digest(
        .sha256, [UInt8](repeating: 0, count: 32), TPMCommandCode.policyCommandCode.wire, TPMCommandCode.duplicate.wire)

    struct Key {
        var area: PublicArea
        var sensitive: SensitiveArea
        var blob: [UInt8] { Sized(sensitive).wire }
    }

    private static func symmetric(_ parameters: PublicArea.Parameters, _ attributes: ObjectAttributes, _ data: [UInt8]) -> Key {
        let isParent = attributes.contains([.restricted, .decrypt])
        let unique = isParent ? hmac(.sha256, key: seed, data) : digest(.sha256, seed, data)
        let area = PublicArea(nameAlgorithm: .sha256, attributes: attributes, parameters: parameters, unique: .digest(unique))
        return Key(area: area, sensitive: SensitiveArea(type: area.type, authValue: [], seedValue: seed, sensitive: data))
    }

    static let hmacKey = symmetric(.keyedHash(scheme: Scheme(.hmac, .sha256)), movable.union(.sign), Array("known".utf8))
    static let sealed = symmetric(.keyedHash(scheme: .null), movable, Array("sealed".utf8))
    static let aes = symmetric(.symcipher(.aes(keyBits: 128, mode: .cfb)), movable.union([.sign, .decrypt]), Array(seed[..<16]))
    static let derivationParent = symmetric(
        .keyedHash(scheme: Scheme(.xor, .sha256, kdf: .kdf1SP800_108)), movable.union([.restricted, .decrypt]), scalar)

    static func ecc(
        _ attributes: ObjectAttributes, symmetric: SymmetricDefinition = .null, seed: [UInt8] = [], policy: [UInt8] = []
    ) throws -> Key {
        let pair = try #require(ECCKeyPair(curve: .p256, privateKey: scalar))
        let area = PublicArea(
            nameAlgorithm: .sha256, attributes: movable.union(attributes), authPolicy: policy,
            parameters: .ecc(symmetric: symmetric, scheme: .null, curve: .p256, kdf: .null), unique: .ecc(pair.publicPoint))
        return Key(area: area, sensitive: SensitiveArea(type: .ecc, authValue: [], seedValue: seed, sensitive: scalar))
    }

    static func eccStorage() throws -> Key {
        try ecc([.restricted, .decrypt], symmetric: .aes(keyBits: 128, mode: .cfb), seed: seed)
    }
}

extension Recorder {
    /// TPM2_Import; without wrappers where none are given.
    @discardableResult
    fileprivate func `import`(
        _ name: String, _ key: Known.Key, under parent: TPMHandle, blob: [UInt8]? = nil, innerKey: [UInt8] = [], secret: [UInt8] = [],
        symmetric: SymmetricDefinition = .null
    ) throws -> ResponseMessage {
        try step("Import \(name)", .code, .import, [parent], passwords: [[]]) {
            $0.sized16(innerKey)
            $0.sized16(key.area)
            $0.sized16(blob ?? key.blob)
            $0.sized16(secret)
            symmetric.encode(to: &$0)
        }
    }

    /// Imports and loads.
    fileprivate func adopt(_ name: String, _ key: Known.Key, under parent: TPMHandle) throws -> TPMHandle {
        let response = try self.import(name, key, under: parent)
        let loaded = try step("Load \(name)", .bytes, .load, [parent], passwords: [[]]) {
            $0.raw(response.parameters)
            $0.sized16(key.area)
        }
        guard let handle = loaded.handle else { throw HarnessError("\(name) is not loaded") }
        return handle
    }

    fileprivate func primary() throws -> (handle: TPMHandle, area: PublicArea) { try connection.primary(Template.eccStorage) }

    /// TPM2_Duplicate under a policy session.
    @discardableResult
    fileprivate func duplicate(
        _ name: String, _ object: (TPMHandle, PublicArea), to parent: (handle: TPMHandle, area: PublicArea)?, key: [UInt8] = [],
        symmetric: SymmetricDefinition = .null
    ) throws -> ResponseMessage {
        let session = try ClientSession(connection, type: 1)
        _ = try connection.run(.policyCommandCode, [session.handle]) { $0.value(TPMCommandCode.duplicate) }
        let target = parent.map { Entity($0.handle, name: $0.area.name) } ?? Entity(.null)
        let response = try ClientSession.run(
            connection, .duplicate, [Entity(object.0, name: object.1.name), target],
            [ClientSession.Use(session, [])], authorized: 1
        ) {
            $0.sized16(key)
            symmetric.encode(to: &$0)
        }
        if response.code != .success { try connection.flush(session.handle) }
        return try note("Duplicate \(name)", .size, response)
    }
}

private let aes128 = SymmetricDefinition.aes(keyBits: 128, mode: .cfb)

@Suite(.serialized) struct DifferentialDuplicationTests {
    @Test func importsOfEveryKind() throws {
        try compareWithStock { r in
            let parent = try r.primary().handle
            let hmacKey = try r.adopt("HMAC key", Known.hmacKey, under: parent)
            try r.step("HMAC", .bytes, .hmac, [hmacKey], passwords: [[]]) {
                $0.sized16([1, 2, 3])
                $0.value(TPMAlgorithm.null)
            }
            try r.connection.flush(hmacKey)
            let sealed = try r.adopt("sealed data", Known.sealed, under: parent)
            try r.step("Unseal", .bytes, .unseal, [sealed], passwords: [[]])
            try r.connection.flush(sealed)
            for (name, key) in [
                ("AES key", Known.aes), ("derivation parent", Known.derivationParent), ("ECC key", try Known.ecc([.sign])),
                ("ECC storage key", try Known.eccStorage()),
            ] {
                let handle = try r.adopt(name, key, under: parent)
                // The Qualified Name at the end depends on the parent, which no two TPMs share.
                try r.step("ReadPublic \(name)", .part { Array($0.parameters.dropLast(34)) }, .readPublic, [handle])
                try r.connection.flush(handle)
            }
            let storage = try r.adopt("storage key", try Known.eccStorage(), under: parent)
            var child = Template.sealed(attributes: [.fixedParent, .userWithAuth, .noDA])
            let created = try Created(try r.step("Create under it", .code, .create, [storage], passwords: [[]], creation(child, data: [7])))
            let loaded = try r.note("Load the child", .code, r.connection.load(created, under: storage))
            let object = try #require(loaded.handle)
            try r.step("Unseal the child", .bytes, .unseal, [object], passwords: [[]])
            try r.connection.flush(object)
            child.attributes.insert(.fixedTPM)
            try r.step("a child more fixed than its parent", .code, .create, [storage], passwords: [[]], creation(child, data: [7]))
        }
    }

    @Test func importsThatFail() throws {
        try compareWithStock { r in
            let parent = try r.primary().handle
            let good = try Known.ecc([.sign])
            func bad(_ name: String, _ from: Known.Key? = nil, _ change: (inout Known.Key) -> Void) throws {
                var key = from ?? good
                change(&key)
                try r.import(name, key, under: parent)
            }
            try bad("fixedTPM") { $0.area.attributes.insert(.fixedTPM) }
            try bad("fixedParent") { $0.area.attributes.insert(.fixedParent) }
            try bad("encryptedDuplication") { $0.area.attributes.insert(.encryptedDuplication) }
            try bad("no nameAlg") { $0.area.nameAlgorithm = nil }
            try bad("restricted without use") { $0.area.attributes = [.restricted, .userWithAuth] }
            try bad("a policy of a wrong size") { $0.area.authPolicy = [1] }
            try bad("another type") { $0.sensitive.type = .rsa }
            try bad("a long auth") { $0.sensitive.authValue = [UInt8](repeating: 1, count: 33) }
            try bad("a long seed") { $0.sensitive.seedValue = [UInt8](repeating: 1, count: 33) }
            try bad("another scalar") { $0.sensitive.sensitive[3] ^= 1 }
            try bad("no scalar") { $0.sensitive.sensitive = [0] }
            try bad("a scalar above the order") { $0.sensitive.sensitive = [UInt8](repeating: 0xFF, count: 32) }
            try bad("a symmetric algorithm") { $0.area.parameters = .ecc(symmetric: aes128, scheme: .null, curve: .p256, kdf: .null) }
            try bad("storage key without seed", try Known.eccStorage()) { $0.sensitive.seedValue = [] }
            try bad("HMAC key of another unique field", Known.hmacKey) { $0.sensitive.sensitive.append(1) }
            try bad("HMAC key of a short seed", Known.hmacKey) { $0.sensitive.seedValue.removeLast() }
            try bad("HMAC key too long", Known.hmacKey) { $0.sensitive.sensitive = [UInt8](repeating: 1, count: 65) }
            try bad("sealed data too long", Known.sealed) { $0.sensitive.sensitive = [UInt8](repeating: 1, count: 129) }
            try bad("AES key of a wrong size", Known.aes) { $0.sensitive.sensitive.append(1) }
            try r.import("nothing", good, under: parent, blob: [])
            try r.import("one byte", good, under: parent, blob: [0])
            try r.import("half", good, under: parent, blob: Array(good.blob.prefix(20)))
            try r.import("too much", good, under: parent, blob: good.blob + [0])
            try r.import("a key without algorithm", good, under: parent, innerKey: [1])
            try r.import("a short key", good, under: parent, innerKey: [1], symmetric: aes128)
            try r.import("no key", good, under: parent, symmetric: aes128)
            try r.import("a wrong key", good, under: parent, innerKey: Array(Known.seed[..<16]), symmetric: aes128)
            try r.import("a secret that is no point", good, under: parent, secret: [1])
            try r.import("a secret off the curve", good, under: parent, secret: ECCPoint(x: Known.seed, y: Known.seed).wire)
            let leaf = try r.adopt("HMAC key", Known.hmacKey, under: parent)
            try r.import("under a leaf", good, under: leaf)
            try r.step("too little", .code, .import, [parent], passwords: [[]]) { $0.raw([0, 0, 0]) }
        }
    }

    @Test func importsUnderWrappers() throws {
        try compareWithStock { r in
            let (parent, area) = try r.primary()
            var key = try Known.ecc([.sign])
            key.area.attributes.insert(.encryptedDuplication)
            let name = key.area.name
            let innerKey = Array(Known.seed[..<16])
            let inner = try #require(InnerWrapper(key: innerKey, hash: .sha256, name: name))
            let (seed, secret) = try area.shareSeed(for: .duplicate)
            let outer = try #require(OuterWrapper(protector: area, seed: seed, name: name))
            let blob = outer.seal(inner.seal(key.blob))
            try r.import("both wrappers", key, under: parent, blob: blob, innerKey: innerKey, secret: secret, symmetric: aes128)
            try r.import("no inner key", key, under: parent, blob: blob, secret: secret)
            try r.import("no outer secret", key, under: parent, blob: blob, innerKey: innerKey, symmetric: aes128)
            key.area.attributes.remove(.encryptedDuplication)
            try r.import("another Name", key, under: parent, blob: blob, innerKey: innerKey, secret: secret, symmetric: aes128)
            let (otherSeed, _) = try area.shareSeed(for: .duplicate)
            let other = try #require(OuterWrapper(protector: area, seed: otherSeed, name: key.area.name))
            try r.import("another seed", key, under: parent, blob: other.seal(key.blob), secret: secret)
            let own = try #require(OuterWrapper(protector: area, seed: seed, name: key.area.name))
            try r.import("an outer wrapper only", key, under: parent, blob: own.seal(key.blob), secret: secret)
            try r.import("an empty outer wrapper", key, under: parent, blob: own.seal([]), secret: secret)
            var damaged = own.seal(key.blob)
            damaged[damaged.count - 1] ^= 1
            try r.import("a damaged outer wrapper", key, under: parent, blob: damaged, secret: secret)
            try r.import("a long integrity", key, under: parent, blob: [0, 65] + damaged, secret: secret)
            let (identity, wrong) = try area.shareSeed(for: .identity)
            let mislabelled = try #require(OuterWrapper(protector: area, seed: identity, name: key.area.name))
            try r.import("a seed of another label", key, under: parent, blob: mislabelled.seal(key.blob), secret: wrong)
        }
    }

    @Test func duplicates() throws {
        try compareWithStock { r in
            let parent = try r.primary()
            let key = try Known.ecc([.sign], policy: Known.duplicationPolicy)
            let handle = try r.adopt("key", key, under: parent.handle)
            let object = (handle, key.area)
            try r.duplicate("in the clear", object, to: nil)
            try r.duplicate("to its parent", object, to: parent)
            try r.duplicate("under an inner wrapper", object, to: parent, symmetric: aes128)
            try r.duplicate("under a given inner wrapper", object, to: parent, key: Array(Known.seed[..<16]), symmetric: aes128)
            try r.duplicate("with a short key", object, to: parent, key: [1], symmetric: aes128)
            try r.duplicate("with a key but no algorithm", object, to: parent, key: [1])
            try r.duplicate("to itself", object, to: (handle, key.area))
            try r.step("with a password", .code, .duplicate, [handle, .null], passwords: [[]]) { $0.raw([0, 0, 0, 0x10]) }
            try r.connection.flush(handle)

            var strict = key
            strict.area.attributes.insert(.encryptedDuplication)
            let inner = try #require(InnerWrapper(key: Array(Known.seed[..<16]), hash: .sha256, name: strict.area.name))
            let (seed, secret) = try parent.area.shareSeed(for: .duplicate)
            let outer = try #require(OuterWrapper(protector: parent.area, seed: seed, name: strict.area.name))
            let imported = try r.import(
                "strict", strict, under: parent.handle, blob: outer.seal(inner.seal(strict.blob)),
                innerKey: Array(Known.seed[..<16]), secret: secret, symmetric: aes128)
            let loaded = try r.step("Load strict", .bytes, .load, [parent.handle], passwords: [[]]) {
                $0.raw(imported.parameters)
                $0.sized16(strict.area)
            }
            let strictObject = (try #require(loaded.handle), strict.area)
            try r.duplicate("strict without inner wrapper", strictObject, to: parent)
            try r.duplicate("strict to nobody", strictObject, to: nil, symmetric: aes128)
            try r.duplicate("strict", strictObject, to: parent, symmetric: aes128)
            try r.connection.flush(strictObject.0)

            // The key that comes out in the clear is the key that went in.
            let again = try r.adopt("key again", key, under: parent.handle)
            let clear = try r.duplicate("in the clear", (again, key.area), to: nil)
            var reader = WireReader(clear.parameters)
            _ = try reader.sized16()
            var padded = key
            padded.sensitive.authValue = [UInt8](repeating: 0, count: 32)
            #expect(try reader.sized16() == padded.blob)
        }
    }

    @Test func rewraps() throws {
        try compareWithStock { r in
            let (handle, area) = try r.primary()
            let name = Template.eccStorage.name
            let content = Array("whatever is inside".utf8)
            func rewrap(
                _ step: String, _ compare: Recorder.Compare, _ from: TPMHandle, _ to: TPMHandle, _ blob: [UInt8], _ secret: [UInt8]
            ) throws {
                try r.step("Rewrap \(step)", compare, .rewrap, [from, to], passwords: [[]]) {
                    $0.sized16(blob)
                    $0.sized16(name)
                    $0.sized16(secret)
                }
            }
            let (seed, secret) = try area.shareSeed(for: .duplicate)
            let outer = try #require(OuterWrapper(protector: area, seed: seed, name: name))
            let wrapped = outer.seal(content)
            try rewrap("to nobody", .bytes, handle, .null, wrapped, secret)
            try rewrap("to itself", .size, handle, handle, wrapped, secret)
            try rewrap("from nobody", .size, .null, handle, content, [])
            try rewrap("from nobody to nobody", .bytes, .null, .null, content, [])
            try rewrap("without secret", .bytes, handle, .null, wrapped, [])
            try rewrap("from nobody with a secret", .bytes, .null, handle, content, secret)
            try rewrap("with a wrong secret", .bytes, handle, .null, wrapped, [1, 2])
            try rewrap("damaged", .bytes, handle, .null, wrapped + [0], secret)
            try rewrap("empty", .bytes, handle, .null, [], secret)
            let leaf = try r.adopt("leaf", Known.hmacKey, under: handle)
            try rewrap("from a leaf", .bytes, leaf, .null, wrapped, secret)
            try rewrap("to a leaf", .bytes, handle, leaf, wrapped, secret)
        }
    }

    @Test func credentials() throws {
        try compareWithStock { r in
            for template in [Template.eccStorage, Template.rsaStorage] {
                let (key, area) = try r.connection.primary(template)
                let leaf = try r.adopt("leaf", Known.hmacKey, under: key)
                func make(_ step: String, _ handle: TPMHandle, _ credential: [UInt8], _ name: [UInt8]) throws -> [UInt8] {
                    try r.step("MakeCredential \(step)", .size, .makeCredential, [handle]) {
                        $0.sized16(credential)
                        $0.sized16(name)
                    }.parameters
                }
                func activate(_ step: String, _ parameters: [UInt8], _ key: TPMHandle) throws {
                    try r.step("ActivateCredential \(step)", .bytes, .activateCredential, [leaf, key], passwords: [[], []]) {
                        $0.raw(parameters)
                    }
                }
                let credential = Array("a credential".utf8)
                try activate("", try make("", key, credential, Known.hmacKey.area.name), key)
                try activate("for another", try make("for another", key, credential, area.name), key)
                try activate("by a leaf", try make("once more", key, credential, Known.hmacKey.area.name), leaf)
                _ = try make("of a leaf", leaf, credential, area.name)
                _ = try make("too long", key, [UInt8](repeating: 1, count: 33), area.name)
                _ = try make("of nothing", key, [], [])
                _ = try make("with a long name", key, credential, [UInt8](repeating: 1, count: 69))
                let (seed, secret) = try area.shareSeed(for: .identity)
                let wrapper = try #require(OuterWrapper(protector: area, seed: seed, name: Known.hmacKey.area.name))
                let contents: [(String, [UInt8])] = [("with bytes left over", [0, 1, 7, 7]), ("too short", [0, 9, 1]), ("empty", [])]
                for (name, content) in contents {
                    var writer = WireWriter()
                    writer.sized16(wrapper.seal(content))
                    writer.sized16(secret)
                    try activate(name, writer.bytes, key)
                }
                try activate("of nothing", [0, 0, 0, 0], key)
                try r.connection.flush(leaf)
                try r.connection.flush(key)
            }
        }
    }

    @Test func changedAuths() throws {
        try compareWithStock { r in
            let parent = try r.primary().handle
            let created = try Created(try r.connection.run(
                .create, [parent], passwords: [[]], creation(Template.sealed(), auth: [1], data: [5])))
            let object = try #require(try r.connection.load(created, under: parent).handle)
            func change(_ step: String, _ auth: [UInt8], _ password: [UInt8] = [1], parent: TPMHandle) throws -> ResponseMessage {
                try r.step("ObjectChangeAuth \(step)", .code, .objectChangeAuth, [object, parent], passwords: [password]) {
                    $0.sized16(auth)
                }
            }
            _ = try change("with a wrong password", [2], [9], parent: parent)
            _ = try change("of a wrong parent", [2], parent: object)
            _ = try change("too long", [UInt8](repeating: 2, count: 33), parent: parent)
            _ = try change("with zeros", [2] + [UInt8](repeating: 0, count: 40), parent: parent)
            let changed = try change("", [2, 0], parent: parent)
            try r.step("Unseal with the old one", .bytes, .unseal, [object], passwords: [[1]])
            try r.connection.flush(object)
            let loaded = try r.step("Load the new one", .size, .load, [parent], passwords: [[]]) {
                $0.raw(changed.parameters)
                $0.sized16(created.publicArea)
            }
            let again = try #require(loaded.handle)
            try r.step("Unseal with the new one", .bytes, .unseal, [again], passwords: [[2]])
            try r.step("Unseal with the old one", .bytes, .unseal, [again], passwords: [[1]])
        }
    }

    @Test func loadedCreation() throws {
        try compareWithStock { r in
            func create(
                _ name: String, _ compare: Recorder.Compare, _ parent: TPMHandle, _ template: [UInt8], auth: [UInt8] = [], data: [UInt8] = []
            ) throws {
                let response = try r.step("CreateLoaded \(name)", compare, .createLoaded, [parent], passwords: [[]]) {
                    $0.sized16(SensitiveCreate(userAuth: auth, data: data))
                    $0.sized16(template)
                }
                if let handle = response.handle { try r.connection.flush(handle) }
            }
            for hierarchy in [TPMHandle.owner, .endorsement, .platform, .null] {
                try create("primary", .size, hierarchy, Template.eccStorage.wire)
            }
            let parent = try r.primary().handle
            try create("ordinary", .code, parent, Template.eccSigning().wire)
            try create("sealed", .code, parent, Template.sealed().wire, auth: [1], data: [2])
            try create("with bytes left over", .code, parent, Template.eccSigning().wire + [0])
            try create("cut", .code, parent, Array(Template.eccSigning().wire.dropLast()))
            try create("of nothing", .code, parent, [])
            try create("with a long auth", .code, parent, Template.eccSigning().wire, auth: [UInt8](repeating: 1, count: 33))
            var odd = Template.eccSigning()
            odd.attributes.remove(.fixedTPM)
            try create("half fixed", .code, parent, odd.wire)
            odd.nameAlgorithm = nil
            try create("without nameAlg", .code, parent, odd.wire)
            let leaf = try r.adopt("leaf", Known.hmacKey, under: parent)
            try create("under a leaf", .code, leaf, Template.eccSigning().wire)
        }
    }

    @Test func derivedKeys() throws {
        try compareWithStock { r in
            let parent = try r.adopt("derivation parent", Known.derivationParent, under: try r.primary().handle)
            func derive(
                _ name: String, _ template: PublicArea, label: [UInt8] = [], context: [UInt8] = [], auth: [UInt8] = [], data: [UInt8] = [],
                tail: [UInt8] = []
            ) throws {
                var bytes = template.wire
                bytes.removeLast(template.type == .ecc ? 4 : 2)
                let response = try r.step("derive \(name)", .bytes, .createLoaded, [parent], passwords: [[]]) {
                    $0.sized16(SensitiveCreate(userAuth: auth, data: data))
                    $0.sized16(bytes + UInt16(label.count).wire + label + UInt16(context.count).wire + context + tail)
                }
                guard let handle = response.handle else { return }
                if template.type == .keyedHash && template.attributes.contains(.sign) {
                    try r.step("HMAC with \(name)", .bytes, .hmac, [handle], passwords: [auth]) {
                        $0.sized16([1, 2, 3])
                        $0.value(TPMAlgorithm.null)
                    }
                }
                try r.connection.flush(handle)
            }
            let attributes: ObjectAttributes = [.fixedParent, .userWithAuth, .noDA]
            let noPoint = PublicArea.Unique.ecc(ECCPoint(x: [], y: []))
            func ecc(_ curve: ECCCurve, _ more: ObjectAttributes = .sign) -> PublicArea {
                PublicArea(
                    nameAlgorithm: .sha256, attributes: attributes.union(more),
                    parameters: .ecc(symmetric: .null, scheme: .null, curve: curve, kdf: .null), unique: noPoint)
            }
            let hmacKey = PublicArea(
                nameAlgorithm: .sha384, attributes: attributes.union(.sign), parameters: .keyedHash(scheme: Scheme(.hmac, .sha256)),
                unique: .digest([]))
            let aes = PublicArea(
                nameAlgorithm: .sha256, attributes: attributes.union([.sign, .decrypt]),
                parameters: .symcipher(.aes(keyBits: 256, mode: .cfb)), unique: .digest([]))
            let sealed = PublicArea(
                nameAlgorithm: .sha256, attributes: attributes, parameters: .keyedHash(scheme: .null), unique: .digest([]))
            let (label, context) = (Array("label".utf8), Array("context".utf8))
            for curve in ECCCurve.allCases { try derive("ECC \(curve)", ecc(curve), label: label, context: context) }
            try derive("an HMAC key", hmacKey, label: label, context: context, auth: [3])
            try derive("an AES key", aes, label: label)
            try derive("a sealed secret", sealed, context: context)
            try derive("from nothing", ecc(.p256))
            try derive("a label that ends in zero", ecc(.p256), label: [1, 0])
            let given: [UInt8] = [0, 2, 7, 7, 0, 1, 8]
            try derive("from data", ecc(.p256), data: given)
            try derive("from both", ecc(.p256), label: label, data: given)
            try derive("another derivation parent", {
                var area = Known.derivationParent.area
                area.attributes.insert(.fixedParent)
                area.unique = .digest([])
                return area
            }(), label: label)
            try derive("from cut data", ecc(.p256), data: [0, 5, 1])
            try derive("a long label", ecc(.p256), label: [UInt8](repeating: 1, count: 33))
            try derive("bytes left over", ecc(.p256), tail: [0])
            try derive("made by the TPM", ecc(.p256, [.sign, .sensitiveDataOrigin]))
            try derive("fixed to the TPM", ecc(.p256, [.sign, .fixedTPM]))
            var movable = ecc(.p256)
            movable.attributes.remove(.fixedParent)
            try derive("not fixed to its parent", movable)
            try derive("a storage key", {
                var area = Template.eccStorage
                area.attributes = attributes.union([.restricted, .decrypt])
                return area
            }())
            try derive("RSA", {
                var area = Template.rsaStorage
                area.attributes = attributes.union(.sign)
                area.parameters = .rsa(symmetric: .null, scheme: .null, keyBits: 2048, exponent: 0)
                return area
            }())
            try derive("a long auth", ecc(.p256), auth: [UInt8](repeating: 1, count: 33))
        }
    }
}
