// Part 3, 18: attestation commands.
import TPMCrypto
import TPMWire
import Wire

extension VirtualTPM {
    /// TPM2_Quote (18.4)
    func quote(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let qualifyingData = try call.parameters.bytes(max: CreationRequest.outsideInfoMax)
        let inScheme = try call.parameters.read { (reader) throws(WireError) in try Scheme.signing(&reader) }
        let selection = volatile.banks.present(try call.parameters.list(PCRSelection.self, max: PCRSelection.listMax))
        try call.parameters.finish()

        let (signer, scheme) = try attestationSigner(call.handles[0], inScheme)
        // The scheme's hash digests the PCRs too: nobody can sign a quote without one.
        guard let signer, let hash = scheme.hash else { throw TPMRC.scheme.parameter(2) }
        let digest = try pcrDigest(selection, hash: hash)
        return try attest(.quote(selection: selection, digest: digest), qualifyingData, signer, scheme)
    }

    /// The signing key of an attestation command, and the scheme it will use.
    private func attestationSigner(_ handle: TPMHandle, _ given: Scheme) throws(TPMRC) -> (LoadedObject?, Scheme) {
        guard handle != .null else { return (nil, .null) }
        let signer = try object(handle, orSequence: .key)
        guard signer.isSigningKey else { throw TPMRC.key.handle(1) }
        do throws(TPMRC) { return (signer, try signingScheme(for: signer, given)) } catch { throw error.parameter(2) }
    }

    /// Composes a TPMS_ATTEST (Part 2, 10.12.8) and signs it: TPM2B_ATTEST and TPMT_SIGNATURE.
    /// - Parameter signer: nil for TPM_RH_NULL: the signature is null.
    private func attest(
        _ attested: Attestation.Attested, _ qualifyingData: [UInt8], _ signer: LoadedObject?, _ scheme: Scheme
    ) throws(TPMRC) -> Reply {
        var attestation = Attestation(
            qualifiedSigner: signer?.qualifiedName ?? TPMHandle.null.wire, extraData: qualifyingData, clockInfo: clockInfo,
            firmwareVersion: device.chip.firmware, attested: attested)
        if signer?.hierarchy != .endorsement && signer?.hierarchy != .platform { obfuscate(&attestation) }
        let wire = attestation.wire
        let signature: Signature =
            if let signer, let hash = scheme.hash { try signer.sign(digest: digest(hash, wire), scheme: scheme) } else { .null }
        return Reply {
            $0.sized16(wire)
            $0.value(signature)
        }
    }

    /// Keeps what would identify the TPM from signers outside the endorsement and platform hierarchies (Part 1, 36.7).
    private func obfuscate(_ attestation: inout Attestation) {
        let mask = kdfa(
            Self.contextHash, key: proof(of: .owner).bytes, label: "OBFUSCATE", contextU: attestation.qualifiedSigner, bits: 128)
        var reader = WireReader(mask)
        guard let firmware = try? reader.u64(), let resets = try? reader.u32(), let restarts = try? reader.u32() else { return }
        attestation.firmwareVersion &+= firmware
        attestation.clockInfo.resetCount &+= resets
        attestation.clockInfo.restartCount &+= restarts
    }
}

extension LoadedObject {
    /// A key that may sign: asymmetric or keyed hash. The sign attribute of a symmetric cipher key means encryption.
    var isSigningKey: Bool { attributes.contains(.sign) && publicArea.type != .symcipher }
}
