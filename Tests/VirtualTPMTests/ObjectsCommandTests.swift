// Part 3, 12 and 24.1, 28.5 as a guest sees them: objects are made, loaded, remembered, made persistent.
import SystemMap
import TPMCrypto
import TPMWire
import Testing
import Wire

@testable import VirtualTPM

@Suite("CreatePrimary")
struct CreatePrimaryTests {
    @Test("answers with Name, creation data, its hash and a ticket of the hierarchy")
    func evidence() throws {
        let guest = try Guest()
        let primary = try guest.createPrimary()
        #expect(primary.handle == TPMHandle(0x8000_0000))
        #expect(primary.creationData.parentName == TPMHandle.owner.wire)
        #expect(primary.creationData.parentQualifiedName == TPMHandle.owner.wire)
        #expect(primary.creationData.parentNameAlgorithm == nil)
        #expect(primary.creationData.locality.rawValue == 1)
        #expect(primary.creationData.pcrDigest == digest(.sha256, []))
        #expect(primary.creationHash == digest(.sha256, primary.creationData.wire))
        #expect(primary.ticket.hierarchy == .owner)
        let proof = guest.tpm.proof(of: .owner).bytes
        let mac = hmac(
            .sha512, key: proof, StructureTag.creation.wire, primary.publicArea.name, primary.creationHash)
        #expect(primary.ticket.digest == mac)
    }

    @Test("is remembered: the second time needs no chip, also after a power cut")
    func remembered() throws {
        let guest = try Guest()
        for template in [Templates.eccStorage, Templates.rsaStorage, Templates.hmac, Templates.aes] {
            let first = try guest.createPrimary(template)
            guest.device.forgetLog()
            let second = try guest.createPrimary(template, auth: [1])
            #expect(second.publicArea == first.publicArea)
            #expect(guest.device.log.isEmpty)
            try guest.revive()
            try guest.startup()
            #expect(try guest.createPrimary(template).publicArea == first.publicArea)
            #expect(guest.device.log.isEmpty)
        }
    }

    @Test("makes another key for another hierarchy, template or sensitive data, and after Clear")
    func distinct() throws {
        let guest = try Guest()
        var template = Templates.eccStorage
        var keys = [try guest.createPrimary(template).publicArea.unique]
        keys.append(try guest.createPrimary(template, in: .endorsement).publicArea.unique)
        keys.append(try guest.createPrimary(template, data: [1]).publicArea.unique)
        template.unique = .ecc(ECCPoint(x: [1], y: []))
        keys.append(try guest.createPrimary(template).publicArea.unique)
        _ = try guest.succeed(.clear, [.lockout])
        keys.append(try guest.createPrimary().publicArea.unique)
        #expect(Set(keys).count == keys.count)
        #expect(try guest.createPrimary(in: .endorsement).publicArea.unique == keys[1])
    }

    @Test("past the quota fails and evicts nothing")
    func quota() throws {
        var limits = Limits()
        limits.primaries = 2
        let guest = try Guest(limits: limits)
        let first = try guest.createPrimary(data: [1])
        _ = try guest.createPrimary(data: [2])
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(Templates.eccStorage, data: [3])) == 0x902)
        #expect(try guest.createPrimary(data: [1]).publicArea == first.publicArea)
        #expect(try guest.createPrimary(in: .null, data: [3]).handle != nil)
    }

    @Test("a NULL-hierarchy ECC storage key never touches the chip, and changes with the boot")
    func nullStorageKey() throws {
        let guest = try Guest()
        let first = try guest.createPrimary(in: .null)
        #expect(try guest.createPrimary(in: .null).publicArea == first.publicArea)
        #expect(try guest.createPrimary(in: .null, data: [1]).publicArea != first.publicArea)
        #expect(first.ticket.hierarchy == .null)
        let key = try guest.tpm.object(try #require(first.handle))
        guard case .ecc(let point) = key.publicArea.unique else { return #expect(Bool(false)) }
        let ephemeral = ECCKeyPair.generate(.p256)
        let shared = try #require(ephemeral.agree(point))
        let salt = try guest.tpm.recoverSalt(ephemeral.publicPoint.wire, key: key)
        #expect(salt == kdfe(.sha256, z: shared.x, label: "SECRET", partyU: ephemeral.publicPoint.x, partyV: point.x, bits: 256))
        #expect(guest.device.log.isEmpty)
        guest.powerOn()
        try guest.startup()
        #expect(try guest.createPrimary(in: .null).publicArea != first.publicArea)
    }

    @Test("other NULL-hierarchy keys are twins that the boot forgets")
    func nullSigningKey() throws {
        let guest = try Guest()
        let first = try guest.createPrimary(Templates.eccSign, in: .null)
        #expect(try guest.createPrimary(Templates.eccSign, in: .null).publicArea == first.publicArea)
        #expect(guest.device.log == ["create"])
        #expect(guest.store.records.keys.allSatisfy { $0.kind != 6 })
    }

    @Test("answers wrong parameters with their numbers")
    func wrongParameters() throws {
        let guest = try Guest()
        func answer(_ template: PublicArea, auth: [UInt8] = [], data: [UInt8] = [], outsideInfo: [UInt8] = []) throws -> UInt32 {
            try guest.code(
                .createPrimary, [.owner], guest.creation(template, auth: auth, data: data, outsideInfo: outsideInfo))
        }
        #expect(try answer(Templates.ecc(Templates.fixed.union(.sign), hash: nil)) == 0x2C3)
        #expect(try answer(Templates.rsa(Templates.fixed.union(.sign), exponent: 3)) == 0x8D)
        #expect(try answer(Templates.sealed, data: [UInt8](repeating: 1, count: 129)) == 0x1D5)
        #expect(try answer(Templates.eccSign, auth: [UInt8](repeating: 1, count: 33)) == 0x1D5)
        #expect(try answer(Templates.eccSign, auth: [UInt8](repeating: 1, count: 32) + [0]) == 0)
        #expect(try answer(Templates.eccSign, outsideInfo: [UInt8](repeating: 1, count: 67)) == 0x3D5)
        #expect(try answer(Templates.sealed) == 0x2C2)
        #expect(try guest.code(.createPrimary, [.owner]) { $0.u16(0) } == 0x1D5)
        #expect(guest.device.log == ["create"])
    }

    @Test("a chip that is lost makes nothing, and nothing is remembered")
    func outage() throws {
        let guest = try Guest()
        guest.device.outage = .retry
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(Templates.eccStorage)) == 0x922)
        #expect(guest.tpm.durable.primaries.isEmpty)
        #expect(guest.tpm.volatile.transient.count == 0)
    }
}

@Suite("Create and Load")
struct CreateAndLoadTests {
    @Test("sealed data comes back, and its blob is compact")
    func sealed() throws {
        let guest = try Guest()
        let parent = try #require(try guest.createPrimary().handle)
        let pcrs = [PCRSelection(.sha256, pcrs: [7])]
        let created = try guest.create(Templates.sealed, under: parent, data: [1, 2, 3], outsideInfo: [5], pcrs: pcrs)
        let parentObject = try guest.tpm.object(parent)
        #expect(created.creationData.parentName == parentObject.name)
        #expect(created.creationData.parentQualifiedName == parentObject.qualifiedName)
        #expect(created.creationData.parentNameAlgorithm == .sha256)
        #expect(created.creationData.outsideInfo == [5])
        #expect(created.creationData.pcrDigest == digest(.sha256, [UInt8](repeating: 0, count: 32)))
        #expect(created.outPrivate.count <= 32 + 3 + 64)
        let handle = try #require(try guest.load(created, under: parent).handle)
        var reader = try guest.succeed(.unseal, [handle])
        #expect(try reader.sized16() == [1, 2, 3])
    }

    @Test("a loaded child has its parent's hierarchy, a qualified Name and its own authValue")
    func inheritance() throws {
        let guest = try Guest()
        let parent = try guest.createPrimary(in: .endorsement)
        let parentHandle = try #require(parent.handle)
        let created = try guest.create(Templates.sealed, under: parentHandle, auth: [7, 0, 0], data: [1])
        let handle = try #require(try guest.load(created, under: parentHandle).handle)
        var reader = try guest.succeed(.readPublic, [handle])
        #expect(try reader.value(Sized<PublicArea>.self).value == created.publicArea)
        let name = created.publicArea.name
        #expect(try reader.sized16() == name)
        let parentQN = qualifiedName(parent: TPMHandle.endorsement.wire, name: parent.publicArea.name, .sha256)
        #expect(try reader.sized16() == qualifiedName(parent: parentQN, name: name, .sha256))
        #expect(try guest.tpm.object(handle).hierarchy == .endorsement)
        _ = try guest.succeed(.unseal, [handle], passwords: [[7]])
        #expect(try guest.run(.unseal, [handle], passwords: [[8]]).code != .success)
    }

    @Test("all kinds of keys survive a restart of the device owner: twins are loaded when they are used")
    func lazyTwins() throws {
        let guest = try Guest()
        let parent = try #require(try guest.createPrimary().handle)
        let created = try guest.create(Templates.hmac, under: parent)
        guest.device.forgetLog()
        let handle = try #require(try guest.load(created, under: parent).handle)
        #expect(guest.device.log.isEmpty)
        let mac = try guest.succeed(.hmac, [handle]) { $0.sized16([1]); $0.hashOrNull(nil) }
        guest.device.restart()
        let again = try guest.succeed(.hmac, [handle]) { $0.sized16([1]); $0.hashOrNull(nil) }
        var (first, second) = (mac, again)
        #expect(first.rest() == second.rest())
        #expect(guest.device.log == ["load", "hmac", "load", "hmac"])
        _ = try guest.succeed(.flushContext) { $0.value(handle) }
        #expect(guest.device.loadedCount == 0)
    }

    @Test("a blob loads under its own parent only, with its own public area, for its own guest")
    func foreignBlobs() throws {
        let guest = try Guest()
        let parent = try #require(try guest.createPrimary().handle)
        let other = try #require(try guest.createPrimary(in: .endorsement).handle)
        var created = try guest.create(Templates.sealed, under: parent, data: [1])
        #expect(try guest.load(created, under: other).code.rawValue == 0x1DF)
        let stranger = try Guest()
        let strangersParent = try #require(try stranger.createPrimary().handle)
        #expect(try stranger.load(created, under: strangersParent).code.rawValue == 0x1DF)
        var publicArea = created.publicArea
        publicArea.attributes.insert(.adminWithPolicy)
        let forged = Created(
            outPrivate: created.outPrivate, publicArea: publicArea, creationData: created.creationData,
            creationHash: [], ticket: created.ticket)
        #expect(try guest.load(forged, under: parent).code.rawValue == 0x1DF)
        created.outPrivate = []
        #expect(try guest.load(created, under: parent).code.rawValue == 0x1D5)
        created.outPrivate = [1, 2, 3, 4, 5]
        #expect(try guest.load(created, under: parent).code.rawValue == 0x1D5)
    }

    @Test("only a storage key is a parent")
    func parents() throws {
        let guest = try Guest()
        let key = try #require(try guest.createPrimary(Templates.eccSign).handle)
        #expect(try guest.code(.create, [key], guest.creation(Templates.sealed, data: [1])) == 0x18A)
        #expect(try guest.code(.load, [key]) { $0.sized16([1, 2]); $0.sized16(Templates.sealed) } == 0x18A)
    }

    @Test("an object under a stClear parent is stClear")
    func stClear() throws {
        let guest = try Guest()
        let template = Templates.ecc(Templates.fixed.union([.restricted, .decrypt, .stClear]), symmetric: Templates.aes128CFB)
        let parent = try #require(try guest.createPrimary(template).handle)
        let child = try #require(try guest.load(try guest.create(Templates.sealed, under: parent, data: [1]), under: parent).handle)
        #expect(try guest.tpm.object(child).isStClear)
        #expect(try guest.code(.evictControl, [.owner, child]) { $0.value(TPMHandle(0x8100_0001)) } == 0x282)
    }

    @Test("a key given in the clear has the length that its algorithm allows")
    func givenKeys() throws {
        let guest = try Guest()
        let parent = try #require(try guest.createPrimary().handle)
        func answer(_ template: PublicArea, _ count: Int) throws -> UInt32 {
            try guest.code(.create, [parent], guest.creation(template, data: [UInt8](repeating: 1, count: count)))
        }
        #expect(try answer(Templates.givenHMAC, 64) == 0)
        #expect(try answer(Templates.givenHMAC, 65) == 0x95)
        let cipher = Templates.cipher(Templates.fixed.union([.sign, .decrypt]).subtracting(.sensitiveDataOrigin))
        #expect(try answer(cipher, 16) == 0)
        #expect(try answer(cipher, 15) == 0x87)
    }

    @Test("an HMAC key longer than a twin can hold works all the same")
    func longHMACKey() throws {
        let guest = try Guest()
        let template = Templates.keyedHash(
            Templates.fixed.union(.sign).subtracting(.sensitiveDataOrigin), scheme: Scheme(.hmac, .sha512))
        let key = [UInt8](repeating: 5, count: 100)
        let handle = try guest.child(template, data: key)
        var reader = try guest.succeed(.hmac, [handle]) { $0.sized16([1, 2]); $0.value(HashAlgorithm.sha512) }
        #expect(try reader.sized16() == hmac(.sha512, key: key, [1, 2]))
    }

    @Test("a cipher key's unique field is bound to a seedValue and the key")
    func cipherKey() throws {
        let guest = try Guest()
        let handle = try guest.child(Templates.aes)
        let object = try guest.tpm.object(handle)
        #expect(try object.unseal().count == 16)
        guard case .digest(let unique) = object.publicArea.unique else { return #expect(Bool(false)) }
        #expect(unique.count == 32)
    }

    @Test("Unseal refuses what is not sealed data")
    func unsealRules() throws {
        let guest = try Guest()
        #expect(try guest.code(.unseal, [try guest.child(Templates.eccSign)]) == 0x18A)
        #expect(try guest.code(.unseal, [try guest.child(Templates.hmac)]) == 0x182)
    }
}

@Suite("LoadExternal")
struct LoadExternalTests {
    private func load(
        _ guest: Guest, _ publicArea: PublicArea, _ sensitive: SensitiveArea? = nil, _ hierarchy: TPMHandle
    ) throws -> ResponseMessage {
        try guest.run(.loadExternal) {
            if let sensitive { $0.sized16(sensitive) } else { $0.u16(0) }
            $0.sized16(publicArea)
            $0.value(hierarchy)
        }
    }

    private func sensitive(
        _ type: TPMAlgorithm, _ secret: [UInt8], seed: [UInt8] = [], auth: [UInt8] = []
    ) -> SensitiveArea {
        SensitiveArea(type: type, authValue: auth, seedValue: seed, sensitive: secret)
    }

    private let rsaPublic = Templates.rsa([.sign, .decrypt, .userWithAuth]).with(unique: .rsa(FakeDevice.modulus))
    private let pair = ECCKeyPair.generate(.p256)
    private var eccPublic: PublicArea { Templates.ecc([.sign, .userWithAuth]).with(unique: .ecc(pair.publicPoint)) }

    @Test("a public key loads into any hierarchy; a private one into the NULL hierarchy")
    func hierarchies() throws {
        let guest = try Guest()
        for hierarchy in [TPMHandle.owner, .endorsement, .platform, .null] {
            let response = try load(guest, eccPublic, nil, hierarchy)
            #expect(response.parameters == UInt16(34).wire + eccPublic.name)
            let object = try guest.tpm.object(try #require(response.handle))
            #expect(object.hierarchy == hierarchy)
            #expect(object.qualifiedName == object.name)
        }
        #expect(try load(guest, eccPublic, nil, .lockout).code.rawValue == 0x3C4)
        let secret = sensitive(.ecc, pair.privateKey.bytes)
        #expect(try load(guest, eccPublic, secret, .owner).code.rawValue == 0x3C5)
        #expect(try load(guest, eccPublic, secret, .null).code == .success)
        #expect(guest.device.log.isEmpty)
    }

    @Test("public keys are well formed")
    func publicKeys() throws {
        let guest = try Guest()
        func answer(_ template: PublicArea, _ unique: PublicArea.Unique) throws -> UInt32 {
            try load(guest, template.with(unique: unique), nil, .owner).code.rawValue
        }
        let ones = [UInt8](repeating: 1, count: 32)
        #expect(try answer(eccPublic, .ecc(ECCPoint(x: ones, y: ones))) == 0x2E7)
        #expect(try answer(eccPublic, .ecc(ECCPoint(x: Array(ones.dropLast()), y: ones))) == 0x2DC)
        #expect(try answer(rsaPublic, .rsa(Array(FakeDevice.modulus.dropLast()))) == 0x2DC)
        #expect(try answer(rsaPublic, .rsa([0x7F] + FakeDevice.modulus.dropFirst())) == 0x2DC)
        #expect(try answer(Templates.keyedHash([.sign], scheme: Scheme(.hmac, .sha256)), .digest([])) == 0x2DC)
    }

    @Test("private and public part belong together")
    func binding() throws {
        let guest = try Guest()
        func answer(_ publicArea: PublicArea, _ secret: SensitiveArea) throws -> UInt32 {
            try load(guest, publicArea, secret, .null).code.rawValue
        }
        #expect(try answer(rsaPublic, sensitive(.rsa, FakeDevice.prime)) == 0)
        var prime = FakeDevice.prime
        prime[127] ^= 2
        #expect(try answer(rsaPublic, sensitive(.rsa, prime)) == 0xA5)
        #expect(try answer(rsaPublic, sensitive(.rsa, Array(prime.dropLast()))) == 0x1C7)
        #expect(try answer(rsaPublic, sensitive(.keyedHash, prime)) == 0x1CA)
        #expect(try answer(eccPublic, sensitive(.ecc, [UInt8](repeating: 0, count: 32))) == 0x87)
        #expect(try answer(eccPublic, sensitive(.ecc, [UInt8](repeating: 1, count: 32))) == 0xA5)
        #expect(try answer(eccPublic, sensitive(.ecc, pair.privateKey.bytes, auth: [UInt8](repeating: 1, count: 33))) == 0x1D5)
        #expect(try answer(eccPublic, sensitive(.ecc, pair.privateKey.bytes, seed: [UInt8](repeating: 1, count: 33))) == 0x1C7)

        let (seed, key) = ([UInt8](repeating: 7, count: 32), [UInt8](repeating: 8, count: 20))
        let macKey = Templates.keyedHash([.sign, .userWithAuth], scheme: Scheme(.hmac, .sha256))
        let bound = macKey.with(unique: .digest(digest(.sha256, seed, key)))
        #expect(try answer(bound, sensitive(.keyedHash, key, seed: seed)) == 0)
        #expect(try answer(bound, sensitive(.keyedHash, key)) == 0x1C7)
        #expect(try answer(macKey.with(unique: .digest(seed)), sensitive(.keyedHash, key, seed: seed)) == 0xA5)
        #expect(try answer(bound, sensitive(.keyedHash, [UInt8](repeating: 1, count: 65), seed: seed)) == 0x1C7)
        let cipher = Templates.cipher([.sign, .decrypt]).with(unique: .digest(digest(.sha256, seed, Array(key.prefix(16)))))
        #expect(try answer(cipher, sensitive(.symcipher, Array(key.prefix(16)), seed: seed)) == 0)
        #expect(try answer(cipher, sensitive(.symcipher, Array(key.prefix(15)), seed: seed)) == 0x1C7)
    }

    @Test("a private key from outside may not look like this TPM's own")
    func attributes() throws {
        let guest = try Guest()
        for attribute in [ObjectAttributes.fixedTPM, .fixedParent, .restricted] {
            var publicArea = eccPublic
            publicArea.attributes.insert(attribute)
            #expect(try load(guest, publicArea, sensitive(.ecc, pair.privateKey.bytes), .null).code.rawValue == 0x2C2)
        }
    }

    @Test("a loaded HMAC key works in software, with its authValue")
    func softwareHMAC() throws {
        let guest = try Guest()
        let (seed, key) = ([UInt8](repeating: 7, count: 32), [UInt8](repeating: 8, count: 20))
        let publicArea = Templates.keyedHash([.sign, .decrypt, .userWithAuth, .noDA])
            .with(unique: .digest(digest(.sha256, seed, key)))
        let handle = try #require(
            try load(guest, publicArea, sensitive(.keyedHash, key, seed: seed, auth: [4]), .null).handle)
        var reader = try guest.succeed(.hmac, [handle], passwords: [[4]]) { $0.sized16([1]); $0.value(HashAlgorithm.sha384) }
        #expect(try reader.sized16() == hmac(.sha384, key: key, [1]))
        #expect(guest.device.log.isEmpty)
    }

    @Test("an object without nameAlg has no Name")
    func nameless() throws {
        let guest = try Guest()
        var publicArea = rsaPublic
        publicArea.nameAlgorithm = nil
        #expect(try load(guest, publicArea, nil, .owner).parameters == [0, 0])
    }
}

@Suite("EvictControl")
struct EvictControlTests {
    private func evict(
        _ guest: Guest, _ authorization: TPMHandle, _ object: TPMHandle, _ persistent: UInt32
    ) throws -> UInt32 {
        try guest.code(.evictControl, [authorization, object]) { $0.u32(persistent) }
    }

    @Test("makes objects persistent that outlast the power, and evicts them")
    func lifetime() throws {
        let guest = try Guest()
        let parent = try guest.createPrimary()
        #expect(try evict(guest, .owner, try #require(parent.handle), 0x8100_0001) == 0)
        try guest.revive()
        try guest.startup()
        let persistent = TPMHandle(0x8100_0001)
        let created = try guest.create(Templates.sealed, under: persistent, data: [3])
        let handle = try #require(try guest.load(created, under: persistent).handle)
        var reader = try guest.succeed(.unseal, [handle])
        #expect(try reader.sized16() == [3])
        #expect(try evict(guest, .owner, persistent, 0x8100_0002) == 0x28B)
        #expect(try evict(guest, .owner, persistent, 0x8100_0001) == 0)
        #expect(try evict(guest, .owner, persistent, 0x8100_0001) == 0x28B)
        try guest.revive()
        try guest.startup()
        #expect(guest.tpm.durable.persistent.isEmpty)
    }

    @Test("keeps the hierarchies and their handles apart")
    func rules() throws {
        let guest = try Guest()
        let owned = try #require(try guest.createPrimary().handle)
        let platform = try #require(try guest.createPrimary(in: .platform).handle)
        let null = try #require(try guest.createPrimary(in: .null).handle)
        #expect(try evict(guest, .owner, owned, 0x8000_0001) == 0x1C4)
        #expect(try evict(guest, .owner, owned, 0x8180_0001) == 0x1CD)
        #expect(try evict(guest, .platform, owned, 0x8180_0001) == 0x285)
        #expect(try evict(guest, .owner, platform, 0x8100_0001) == 0x285)
        #expect(try evict(guest, .platform, platform, 0x8100_0001) == 0x1CD)
        #expect(try evict(guest, .owner, null, 0x8100_0001) == 0x282)
        #expect(try evict(guest, .owner, owned, 0x8100_0001) == 0)
        #expect(try evict(guest, .owner, owned, 0x8100_0001) == 0x14C)
        #expect(try evict(guest, .platform, TPMHandle(0x8100_0001), 0x8100_0001) == 0)
    }

    @Test("has a quota, and a full store changes nothing")
    func quota() throws {
        var limits = Limits()
        limits.persistentObjects = 1
        let guest = try Guest(limits: limits)
        let owned = try #require(try guest.createPrimary().handle)
        guest.store.failure = .full
        #expect(try evict(guest, .owner, owned, 0x8100_0001) == 0x14B)
        #expect(guest.tpm.durable.persistent.isEmpty)
        #expect(try guest.code(.createPrimary, [.owner], guest.creation(Templates.eccStorage, data: [1])) == 0x14B)
        #expect(guest.tpm.volatile.transient.handles == [owned], "what was made is gone again")
        guest.store.failure = nil
        #expect(try evict(guest, .owner, owned, 0x8100_0001) == 0)
        #expect(try evict(guest, .owner, owned, 0x8100_0002) == 0x14B)
    }
}
