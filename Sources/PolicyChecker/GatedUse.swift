// One command of the guest's on a gated twin: whether its policy holds, then the one operation of the chip.
import CryptoBase
import EnhancedAuthorization
import IPC
import SystemMap
import TPMWire
import Wire

extension Gatekeeper {
    package func use(_ request: GateCalls.Use.Request, of guest: GuestID) throws(CallStatus) -> [UInt8] {
        let twin = try open(request.object, of: guest)
        try authorize(request, guest)
        let (command, area) = (request.command, request.object.area)
        var parameters = WireReader(command.parameters)
        // What only sealed data backs is used by the proxy (the listed exceptions to P2), but for restricted ECDAA keys.
        if area.isSealedKey && !area.isRestrictedAnonymous { return try twins.unseal(twin) }
        switch command.code {
        case .sign: return try sign(request.statement, &parameters, area, twin)
        case .certifyX509: return try signCertificate(request.statement, &parameters, area, twin)
        case _ where command.code.attestation != nil: return try attest(request, guest, twin)
        case _ where area.isRestrictedAnonymous: return try useAnonymous(request, &parameters, twin)
        case .duplicate: return try twins.duplicate(twin).wire
        case _ where twin.blob.spec.kind == .sealed: return try twins.unseal(twin)
        case .hmac:
            let data = try decoded { () throws(WireError) in try parameters.sized16(max: DeviceCalls.HMAC.dataMax) }
            return try twins.hmac(try macHash(&parameters, area), data, with: twin)
        case .hmacStart:
            _ = try decoded { () throws(WireError) in try parameters.sized16(max: HashAlgorithm.largestDigest) }
            return try twins.startHMAC(try macHash(&parameters, area), with: twin)
        case .rsaDecrypt: return try decryptRSA(&parameters, area, twin)
        case .ecdhZGen, .zGen2Phase:
            let point = try decoded { () throws(WireError) in try parameters.value(Sized<ECCPoint>.self).value }
            return try twins.agree(point, with: twin).wire
        default: throw .notPermitted
        }
    }

    // MARK: Authorization

    /// Part 1, 19.7. A key that its authValue opens too is its guest's to open: the proxy checks that.
    private func authorize(_ request: GateCalls.Use.Request, _ guest: GuestID) throws(CallStatus) {
        let (area, command) = (request.object.area, request.command)
        guard let row = CommandTable.row(command.code), let index = command.code.gatedHandle, index < row.handles.count,
            let role = row.handles[index].role, command.names.count == row.handles.count, command.names[index] == area.name
        else { throw .malformed }
        guard role != .user || !area.attributes.contains(.userWithAuth) else { return }
        guard !request.token.isEmpty else { throw CallStatus(.authType) }
        guard let state = PolicyToken.open(request.token, key: keys.token, guest: guest) else { throw .notPermitted }
        guard let time = GuestTime(epoch: request.epoch, now: clock()) else { throw .malformed }
        // A trial session has proved nothing.
        guard !state.isTrial else { throw CallStatus(.attributes) }
        let digests = CommandDigests(command.code, names: command.names, parameters: command.parameters)
        // Without conditions on PCRs and locality there is nothing to ask paratpm-pcr.
        let now = state.pcrGeneration == nil && state.locality == nil ? nil : try vpcrs.read(guest, state.uncountedPCRs?.selection ?? [])
        if let uncounted = state.uncountedPCRs, let now {
            guard uncounted.holds(now.digests) else { throw CallStatus(.pcrChanged) }
        }
        let use = PolicyUse(
            authPolicy: area.authPolicy, policyHash: area.nameAlgorithm, command: command.code, role: role, time: time,
            pcrGeneration: now?.generation ?? 0, locality: now?.locality ?? 0, nvWritten: nil,
            digest: { digests.digest($0, state.hash) })
        do throws(TPMRC) { try state.check(use) } catch { throw CallStatus(error) }
    }

    // MARK: Operations

    private func decryptRSA(
        _ parameters: inout WireReader, _ area: PublicArea, _ twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8] {
        let (cipherText, given, label) = try decoded { () throws(WireError) in
            (try parameters.sized16(max: PublicArea.rsaMax), try Scheme(from: &parameters, field: .rsaDecrypt),
             try parameters.sized16(max: DeviceCalls.DecryptRSA.Request.labelMax))
        }
        guard label != SeedUse.identity.labelBytes else { throw .notPermitted }
        let scheme = try checked { () throws(TPMRC) in try area.encryptionScheme(given) }
        return try twins.decryptRSA(cipherText, scheme, label: label, with: twin)
    }

    /// The hash of HMAC and HMAC_Start: the key's own, or the caller's.
    private func macHash(_ parameters: inout WireReader, _ area: PublicArea) throws(CallStatus) -> HashAlgorithm {
        let given = try decoded { () throws(WireError) in try parameters.hashOrNull() }
        guard let hash = area.parameters.scheme.hash ?? given else { throw CallStatus(.value) }
        return hash
    }

    func decoded<T>(_ body: () throws(WireError) -> T) throws(CallStatus) -> T {
        do throws(WireError) { return try body() } catch { throw .malformed }
    }

    func checked<T>(_ body: () throws(TPMRC) -> T) throws(CallStatus) -> T {
        do throws(TPMRC) { return try body() } catch { throw CallStatus(error) }
    }
}
