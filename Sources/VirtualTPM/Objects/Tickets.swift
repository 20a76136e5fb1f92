// Tickets (Part 1, 11.4.8.3; Part 2, 10.7): HMACs that let the TPM recognize what it has checked before.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// The hash of tickets and of attestation obfuscation (TPM_PT_CONTEXT_HASH).
    static let contextHash = HashAlgorithm.sha512

    private func ticket(_ tag: UInt16, _ hierarchy: TPMHandle, _ first: [UInt8], _ second: [UInt8]) -> Ticket {
        let mac = TPMCrypto.hmac(Self.contextHash, key: proof(of: hierarchy).bytes, tag.wire, first, second)
        return Ticket(tag: tag, hierarchy: hierarchy, digest: mac)
    }

    /// TPMT_TK_CREATION (Part 2, 10.7.3)
    func creationTicket(_ hierarchy: TPMHandle, name: [UInt8], creationHash: [UInt8]) -> Ticket {
        ticket(StructureTag.creation, hierarchy, name, creationHash)
    }

    /// Whether a hash-check ticket (TPMT_TK_HASHCHECK, Part 2, 10.7.6) that came back is one of the policy checker's.
    func checkHash(_ given: Ticket, _ hash: HashAlgorithm, _ digest: [UInt8]) throws(TPMRC) {
        let proofDigest = ticketHierarchy(given.hierarchy).proofDigest
        do throws(TPMRC) {
            try policy.checkHash(.init(ticket: given, proofDigest: proofDigest, hash: hash, digest: digest))
        } catch { throw error.parameter(3) }
    }
}

extension ParameterReader {
    /// A ticket of one kind, or of some: TPM_RC_TAG for another structure's tag, TPM_RC_VALUE for what is no tag.
    mutating func ticket(_ tags: UInt16...) throws(TPMRC) -> Ticket {
        try read { (reader) throws(WireError) in
            var ahead = reader
            let given = try ahead.u16()
            guard tags.contains(given) else { throw .rc(StructureTag.isDefined(given) ? .tag : .value) }
            return try reader.value()
        }
    }

    /// TPMI_RH_HIERARCHY+
    mutating func hierarchy() throws(TPMRC) -> TPMHandle {
        let handle = try next(TPMHandle.self)
        guard handle.isHierarchy else { throw TPMRC.value.parameter(number) }
        return handle
    }
}
