// The host's keys and certificates as the device owner's interface offers them.
import AttestationFormats
import GuestIdentity
import IPC
import SystemMap
import TPMCrypto
import TPMWire

extension Device {
    /// That the key is a storage key of the certificate's kind and made by the chip is what the certificate says of the hardware. With
    /// any other twin a proxy could activate credentials for whatever key it likes (D7).
    fileprivate func certify(_ twin: Twin, at index: EndorsementCertificate, of guest: KnownGuest) throws(CallStatus) -> [UInt8] {
        let area = twin.object.area
        let template = index.template
        guard twin.isStorageKey, area.attributes.contains([.fixedTPM, .fixedParent, .sensitiveDataOrigin, .decrypt]), !area.attributes.contains(.sign),
            area.nameAlgorithm == template.nameAlgorithm, area.isOfKind(template)
        else { throw .notPermitted }
        return try perform { () throws(ChipError) in
            // The chip loads only what it made itself under this guest's root.
            _ = try roots.child(twin.object, twin.guest)
            return try certificates.certify(area, at: index, of: guest)
        }
    }
}

extension PublicArea {
    /// The same type of key, of the same size.
    fileprivate func isOfKind(_ template: PublicArea) -> Bool {
        switch (parameters, template.parameters) {
        case (.rsa(_, _, let bits, _), .rsa(_, _, let wanted, _)): bits == wanted
        case (.ecc(_, _, let curve, _), .ecc(_, _, let wanted, _)): curve == wanted
        default: false
        }
    }
}

extension DeviceService {
    var hostRoutes: [Route<Connection>] {
        [
            .on(HostCalls.Initialize.self) { [device] (request, _: Connection) throws(CallStatus) in
                guard request.bytes.count <= HashAlgorithm.largestDigest else { throw .malformed }
                try device.perform { () throws(ChipError) in try device.identity.make(auth: Secret(request.bytes)) }
                return Nothing()
            },
            .on(HostCalls.Evidence.self) { [device] (_, _: Connection) throws(CallStatus) in
                guard let evidence = device.identity.evidence else { throw .unavailable }
                return Blob(evidence)
            },
            .on(HostCalls.Quote.self) { [device] (request, _: Connection) throws(CallStatus) in
                guard device.identity.evidence != nil else { throw CallStatus(rawValue: TPMRC.disabled.rawValue) }
                return try device.perform { () throws(ChipError) in try device.identity.quote(request) }
            },
            .on(HostCalls.Activate.self) { [device] (request, _: Connection) throws(CallStatus) in
                try device.perform { () throws(ChipError) in
                    Blob(try device.identity.answer(request.blob, request.encryptedSecret, auth: Secret(request.endorsementAuth)))
                }
            },
            .on(HostCalls.ReadPCRs.self) { [device] (selection, _: Connection) throws(CallStatus) in
                try device.perform { () throws(ChipError) in Blob(try device.chip.readPCRs([selection])) }
            },
        ]
    }

    var certificateRoutes: [Route<Connection>] {
        [
            .on(HostCalls.Certificates.self) { [device] (_, proxy: Connection) throws(CallStatus) in
                let guest = try proxy.knownGuest().id
                return try device.perform { () throws(ChipError) in try device.certificates.state(of: guest) }
            },
            .on(HostCalls.Certify.self) { [device] (request, proxy: Connection) throws(CallStatus) in
                guard let index = EndorsementCertificate(rawValue: request.index.rawValue) else { throw .malformed }
                return Blob(try device.certify(try proxy.state[request.handle], at: index, of: try proxy.knownGuest()))
            },
            .on(HostCalls.Recertify.self) { [device] (request, _: Connection) throws(CallStatus) in
                let chosen = request.chosen.compactMap { EndorsementCertificate(rawValue: $0.rawValue) }
                guard let guest = GuestID(request.guest), chosen.count == request.chosen.count else { throw .malformed }
                try device.perform { () throws(ChipError) in
                    try device.certificates.recertify(guest, chosen, renewing: request.renewing)
                }
                return Nothing()
            },
            .on(HostCalls.RevocationList.self) { [device] (_, _: Connection) throws(CallStatus) in
                guard device.identity.evidence != nil else { throw .unavailable }
                try device.perform { () throws(ChipError) in try device.certificates.writeRevocationList() }
                return Nothing()
            },
            .on(HostCalls.Certificate.self) { [device] (request, _: Connection) throws(CallStatus) in
                guard let guest = GuestID(request.guest) else { throw .malformed }
                let found = try device.perform { () throws(ChipError) in try device.certificates.certificate(request.index, of: guest) }
                guard let found else { throw .unavailable }
                return Blob(found)
            },
        ]
    }
}
