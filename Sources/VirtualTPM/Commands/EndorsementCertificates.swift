// The certificates of the guest's endorsement keys, in the NV indices where Windows, Keylime and tpm2-tools look for them (TCG EK
// Credential Profile 2.5, 2.2.1.4): what a manufacturer does to a TPM, done when the power comes on.
import SystemMap
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// As in the profile: whoever may use the TPM may read them, and only the platform could write them.
    private static let certificateAttributes: NVAttributes = [
        .ppWrite, .writeDefine, .ppRead, .ownerRead, .authRead, .noDA, .platformCreate, .written,
    ]

    /// Makes the keys and fetches the certificates that the guest shall have and does not: of those keys that its TPM can have. Takes
    /// away those that were revoked.
    /// - Returns: the first error; what could be done is done.
    package func refreshCertificates() -> TPMRC? {
        guard power != .failed, let host else { return nil }
        var problem: TPMRC?
        do throws(TPMRC) {
            let certificates = try host.certificates()
            for withdrawn in certificates.withdrawn { remove(withdrawn) }
            for wanted in certificates.wanted {
                guard let certificate = EndorsementCertificate(rawValue: wanted.index.rawValue), isOffered(certificate.template),
                    !isCurrent(certificate, wanted.digest)
                else { continue }
                do throws(TPMRC) { try fetch(certificate, host) } catch { problem = problem ?? error }
            }
            try commit()
        } catch { problem = problem ?? error }
        return problem
    }

    /// Whether the chip can make the key, and this guest may have it.
    private func isOffered(_ template: PublicArea) -> Bool {
        var reader = WireReader(template.wire, rules.vocabulary)
        guard (try? reader.value(PublicArea.self)) != nil else { return false }
        do throws(TPMRC) { try template.checkOffered(by: device.chip) } catch { return false }
        return true
    }

    /// Whether the index has this certificate, and the key is still the seed's.
    private func isCurrent(_ certificate: EndorsementCertificate, _ valid: [UInt8]) -> Bool {
        guard let index = durable.nv[certificate.index], digest(.sha256, index.data) == valid else { return false }
        return durable.primaries[primaryID(.endorsement, certificate.template, data: [])] != nil
    }

    /// What else the guest put there stays.
    private func remove(_ withdrawn: HostCalls.Certificates.Entry) {
        guard let index = durable.nv[withdrawn.index], digest(.sha256, index.data) == withdrawn.digest else { return }
        deleteIndex(withdrawn.index)
    }

    private func fetch(_ certificate: EndorsementCertificate, _ host: any HostService) throws(TPMRC) {
        let key = try primary(.endorsement, certificate.template, data: [])
        let bytes = try TwinReference(key.twin, keeper).use { (_, handle) throws(TPMRC) in
            try host.certify(certificate.index, handle)
        }
        guard bytes.count <= NVPublic.dataMax else { throw .nvSpace }
        let area = NVPublic(
            index: certificate.index, nameAlgorithm: .sha256, attributes: Self.certificateAttributes, authPolicy: [],
            dataSize: UInt16(bytes.count))
        var index = NVIndex(publicArea: area, authValue: .empty)
        index.data = bytes
        durable.nv[certificate.index] = index
        durable.save(.nv(certificate.index))
    }
}
