// The TPM commands of the policy under which bound guests' roots are (Part 3, 12.3, 20.1, 23.7 and 23.16).
import ChipClient
import TPMCrypto
import TPMWire
import Wire

extension Chip {
    /// TPM2_LoadExternal (Part 3, 12.3) of a public key, in the owner hierarchy: the NULL hierarchy's tickets are worth nothing.
    func loadExternal(_ area: PublicArea) throws(ChipError) -> TPMHandle {
        let parameters = WireWriter.bytes {
            $0.sized16([UInt8]())
            $0.sized16(area)
            $0.value(TPMHandle.owner)
        }
        let response = try run(ChipCommand(code: .loadExternal, parameters: parameters))
        let name = try response.decode { (reader) throws(WireError) in try reader.sized16() }
        guard let handle = response.handle, handle.kind == .transient, name == area.name else { throw .garbage }
        return handle
    }

    /// TPM2_VerifySignature (Part 3, 20.1)
    func verify(_ signature: Signature, of digest: [UInt8], with key: Entity) throws(ChipError) -> Ticket {
        let parameters = WireWriter.bytes {
            $0.sized16(digest)
            $0.value(signature)
        }
        return try run(ChipCommand(code: .verifySignature, entities: [key], parameters: parameters))
            .decode { (reader) throws(WireError) in try reader.value() }
    }

    /// TPM2_PolicyPCR (Part 3, 23.7) of the values that the PCRs have now.
    func policyPCR(_ selection: [PCRSelection], in session: TPMHandle) throws(ChipError) {
        let parameters = WireWriter.bytes {
            $0.sized16([UInt8]())
            $0.list(selection)
        }
        try run(ChipCommand(code: .policyPCR, entities: [Entity(permanent: session)], parameters: parameters))
            .decode { (_) throws(WireError) in }
    }

    /// TPM2_PolicyAuthorize (Part 3, 23.16)
    func policyAuthorize(
        _ approved: [UInt8], reference: [UInt8], keyName: [UInt8], _ ticket: Ticket, in session: TPMHandle
    ) throws(ChipError) {
        let parameters = WireWriter.bytes {
            $0.sized16(approved)
            $0.sized16(reference)
            $0.sized16(keyName)
            $0.value(ticket)
        }
        try run(ChipCommand(code: .policyAuthorize, entities: [Entity(permanent: session)], parameters: parameters))
            .decode { (_) throws(WireError) in }
    }
}
