// The TPM commands by which the chip speaks for itself (Part 3, 12.5, 18, 22.4, 23.4 and 31).
import ChipClient
import TPMCrypto
import TPMWire
import Wire

/// A key fresh from TPM2_Create, with what certifies that the chip made it.
struct CreatedKey {
    let object: WrappedObject
    /// TPMS_CREATION_DATA
    let creationData: [UInt8]
    let creationHash: [UInt8]
    let ticket: Ticket
}

extension Chip {
    /// TPM2_Create (Part 3, 12.1) of a key, keeping the evidence of its creation.
    func createKey(
        _ template: PublicArea, under parent: Entity, authorization: ChipCommand.Authorization = .password
    ) throws(ChipError) -> CreatedKey {
        let command = ChipCommand(
            code: .create, entities: [parent], authorization: authorization,
            parameters: creationParameters(SensitiveCreate(), template))
        let made = try run(command).decode { (reader) throws(WireError) in
            let wrapped = try reader.sized16()
            let area = try reader.value(Sized<PublicArea>.self).value
            return CreatedKey(
                object: WrappedObject(area: area, wrapped: wrapped), creationData: try reader.sized16(),
                creationHash: try reader.sized16(max: HashAlgorithm.largestDigest), ticket: try reader.value())
        }
        guard template.isTemplate(of: made.object.area) else { throw .garbage }
        return made
    }

    /// TPM2_CertifyCreation (Part 3, 18.3): TPMS_ATTEST and the signer's signature.
    func certifyCreation(
        of key: Entity, _ created: CreatedKey, with signer: Entity, qualifyingData: [UInt8]
    ) throws(ChipError) -> (statement: [UInt8], signature: Signature) {
        var writer = WireWriter()
        writer.sized16(qualifyingData)
        writer.sized16(created.creationHash)
        Scheme.null.encode(to: &writer)
        writer.value(created.ticket)
        return try attestation(ChipCommand(
            code: .certifyCreation, entities: [signer, key], authorization: .password, parameters: writer.bytes))
    }

    /// TPM2_Quote (Part 3, 18.4)
    func quote(
        _ selection: [PCRSelection], with signer: Entity, qualifyingData: [UInt8]
    ) throws(ChipError) -> (statement: [UInt8], signature: Signature) {
        var writer = WireWriter()
        writer.sized16(qualifyingData)
        Scheme.null.encode(to: &writer)
        writer.list(selection)
        return try attestation(ChipCommand(code: .quote, entities: [signer], authorization: .password, parameters: writer.bytes))
    }

    private func attestation(_ command: ChipCommand) throws(ChipError) -> (statement: [UInt8], signature: Signature) {
        try run(command).decode { (reader) throws(WireError) in (try reader.sized16(), try reader.value()) }
    }

    /// TPM2_PCR_Read (Part 3, 22.4), repeated until all are read: the values behind each other.
    func readPCRs(_ selections: [PCRSelection]) throws(ChipError) -> [UInt8] {
        var values: [UInt8] = []
        for selection in selections {
            var left = selection.pcrs
            while !left.isEmpty {
                let asked = PCRSelection(selection.hash, left)
                let (read, digests) = try readSomePCRs(asked)
                guard !read.isEmpty, read.count == digests.count, left.starts(with: read),
                    digests.allSatisfy({ $0.count == selection.hash.digestSize })
                else { throw .refused("the chip has not all of the PCRs \(Array(left)) in its bank \(selection.hash)") }
                values += digests.joined()
                left = left.subtracting(read)
            }
        }
        return values
    }

    private func readSomePCRs(_ selection: PCRSelection) throws(ChipError) -> (pcrs: PCRSet, digests: [[UInt8]]) {
        let listed = WireWriter.bytes { $0.list([selection]) }
        return try run(ChipCommand(code: .pcrRead, parameters: listed)).decode { (reader) throws(WireError) in
            _ = try reader.u32()  // pcrUpdateCounter
            let read: [PCRSelection] = try reader.list(max: PCRSelection.listMax)
            let count = try reader.u32()
            guard count <= 8 else { throw .oversized }
            var digests: [[UInt8]] = []
            for _ in 0..<count { digests.append(try reader.sized16(max: HashAlgorithm.largestDigest)) }
            return (read.first { $0.hash == selection.hash }?.pcrs ?? PCRSet([]), digests)
        }
    }

    // MARK: The endorsement key

    /// The chip's own endorsement key by the TCG's template, transient: flush it after use.
    func createEndorsementKey(
        _ certificate: EndorsementCertificate, auth: Secret
    ) throws(ChipError) -> (handle: TPMHandle, area: PublicArea) {
        let (handle, area) = try createPrimary(certificate.template, in: .endorsement, auth: auth)
        return (handle, area)
    }

    /// TPM2_ActivateCredential (Part 3, 12.5), with an endorsement key that PolicySecret of its hierarchy authorizes.
    func activateCredential(
        _ blob: [UInt8], _ encryptedSecret: [UInt8], for key: Entity, with endorsementKey: Entity, auth: Secret
    ) throws(ChipError) -> [UInt8] {
        let (session, nonceTPM) = try startSession(.policy, nonceCaller: randomBytes(ChipSession.nonceSize), encryptedSalt: [])
        do throws(ChipError) {
            try policySecret(session, nonceTPM: nonceTPM, auth: auth)
            var writer = WireWriter()
            writer.sized16(blob)
            writer.sized16(encryptedSecret)
            return try run(ChipCommand(
                code: .activateCredential, entities: [key, endorsementKey], authorization: .passwordThenPolicy(session),
                parameters: writer.bytes
            )).decode { (reader) throws(WireError) in try reader.sized16(max: HashAlgorithm.largestDigest) }
        } catch {
            try flushQuietly(session)
            throw error
        }
    }

    /// TPM2_PolicySecret (Part 3, 23.4) of the endorsement hierarchy.
    private func policySecret(_ session: TPMHandle, nonceTPM: [UInt8], auth: Secret) throws(ChipError) {
        var writer = WireWriter()
        writer.sized16(nonceTPM)
        writer.sized16([UInt8]())  // cpHashA
        writer.sized16([UInt8]())  // policyRef
        writer.u32(0)  // expiration
        try run(ChipCommand(
            code: .policySecret, entities: [Entity(permanent: .endorsement), Entity(permanent: session)],
            authorization: .hierarchy(auth), parameters: writer.bytes
        )).decode { (reader) throws(WireError) in
            _ = try reader.sized16()  // timeout
            _ = try reader.value(Ticket.self)
        }
    }

    // MARK: NV

    /// What an index holds, read with its own empty authorization; nil where there is none, or it cannot be read so.
    func readNV(_ index: TPMHandle) throws(ChipError) -> [UInt8]? {
        guard try handles(from: index).first == index else { return nil }
        do throws(ChipError) {
            let size = try run(ChipCommand(code: .nvReadPublic, entities: [Entity(index, name: [])]))
                .decode { (reader) throws(WireError) in
                    let size = Int(try reader.value(Sized<NVPublic>.self).value.dataSize)
                    _ = try reader.sized16()
                    return size
                }
            var contents: [UInt8] = []
            while contents.count < size {
                let count = min(size - contents.count, Self.nvChunk)
                contents += try readNV(index, offset: contents.count, count: count)
            }
            return contents
        } catch {
            guard case .rc = error else { throw error }
            return nil
        }
    }

    /// No chip's MAX_NV_BUFFER_SIZE is smaller.
    private static let nvChunk = 512

    /// TPM2_NV_Read (Part 3, 31.13)
    private func readNV(_ index: TPMHandle, offset: Int, count: Int) throws(ChipError) -> [UInt8] {
        let part = try run(ChipCommand(
            code: .nvRead, entities: [Entity(index, name: []), Entity(index, name: [])], authorization: .password,
            parameters: UInt16(count).wire + UInt16(offset).wire
        )).decode { (reader) throws(WireError) in try reader.sized16(max: count) }
        guard part.count == count else { throw .garbage }
        return part
    }
}
