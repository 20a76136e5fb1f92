// What the gate does with gated twins in the chip: each operation is one chip command, authorized by the twin's own authValue in the
// policy checker's session.
import ChipClient
import IPC
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// A gated twin with its key.
package struct OpenedTwin {
    package let guest: GuestID
    package let blob: TwinBlob
    package let auth: Secret

    package init(guest: GuestID, blob: TwinBlob, auth: Secret) {
        self.guest = guest
        self.blob = blob
        self.auth = auth
    }
}

/// Errors are the chip's response codes.
package protocol GatedTwins: AnyObject {
    func create(_ spec: TwinSpec, data: [UInt8], auth: Secret, for guest: GuestID) throws(CallStatus) -> TwinBlob
    /// - Parameter sensitive: with the authValue.
    func importTwin(
        _ spec: TwinSpec, _ unique: PublicArea.Unique, _ sensitive: SensitiveArea, for guest: GuestID
    ) throws(CallStatus) -> TwinBlob
    func unseal(_ twin: OpenedTwin) throws(CallStatus) -> [UInt8]
    func sign(_ digest: [UInt8], _ scheme: Scheme, with twin: OpenedTwin) throws(CallStatus) -> Signature
    func hmac(_ hash: HashAlgorithm, _ data: [UInt8], with twin: OpenedTwin) throws(CallStatus) -> [UInt8]
    /// - Returns: the state of a sequence, for DeviceCalls.HMACStep.
    func startHMAC(_ hash: HashAlgorithm, with twin: OpenedTwin) throws(CallStatus) -> [UInt8]
    func decryptRSA(
        _ cipherText: [UInt8], _ scheme: Scheme, label: [UInt8], with twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8]
    func agree(_ point: ECCPoint, with twin: OpenedTwin) throws(CallStatus) -> ECCPoint
    func duplicate(_ twin: OpenedTwin) throws(CallStatus) -> SensitiveArea
}

extension GateChip: GatedTwins {
    package func create(
        _ spec: TwinSpec, data: [UInt8], auth: Secret, for guest: GuestID
    ) throws(CallStatus) -> TwinBlob {
        var own = auth.bytes
        var parameters = creationParameters(SensitiveCreate(userAuth: own, data: data), spec.template)
        defer {
            wipe(&own)
            wipe(&parameters)
        }
        let response = try run(GateCommand(
            code: .create, target: .guestRoot(guest), name: try guestRoot(guest).name, parameters: parameters,
            attributes: .decrypt))
        let made = try creationResult(response.parameters)
        guard spec.template.isTemplate(of: made.area) else { throw .failed }
        return TwinBlob(spec: spec, unique: made.area.unique, hardwarePrivate: made.wrapped)
    }

    package func importTwin(
        _ spec: TwinSpec, _ unique: PublicArea.Unique, _ sensitive: SensitiveArea, for guest: GuestID
    ) throws(CallStatus) -> TwinBlob {
        guard var parameters = KeyTransport().importParameters(spec.publicArea(unique: unique), sensitive) else { throw .malformed }
        defer { wipe(&parameters) }
        let response = try run(GateCommand(
            code: .import, target: .guestRoot(guest), name: try guestRoot(guest).name, parameters: parameters,
            attributes: .decrypt))
        let wrapped = try decode(response) { (reader) throws(WireError) in try reader.sized16(max: TwinBlob.privateMax) }
        return TwinBlob(spec: spec, unique: unique, hardwarePrivate: wrapped)
    }

    package func unseal(_ twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        try secretBytes(.unseal, twin, [], .encrypt)
    }

    package func sign(_ digest: [UInt8], _ scheme: Scheme, with twin: OpenedTwin) throws(CallStatus) -> Signature {
        var writer = WireWriter()
        writer.sized16(digest)
        scheme.encode(to: &writer)
        writer.value(Ticket.null(StructureTag.hashCheck))
        return try decode(try use(.sign, twin, writer.bytes, [])) { (reader) throws(WireError) in try reader.value() }
    }

    package func hmac(_ hash: HashAlgorithm, _ data: [UInt8], with twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16(data)
        writer.value(hash)
        return try secretBytes(.hmac, twin, writer.bytes, [.decrypt, .encrypt])
    }

    package func startHMAC(_ hash: HashAlgorithm, with twin: OpenedTwin) throws(CallStatus) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16([UInt8]())
        writer.value(hash)
        return try use(.hmacStart, twin, writer.bytes, []).state
    }

    package func decryptRSA(
        _ cipherText: [UInt8], _ scheme: Scheme, label: [UInt8], with twin: OpenedTwin
    ) throws(CallStatus) -> [UInt8] {
        var writer = WireWriter()
        writer.sized16(cipherText)
        scheme.encode(to: &writer)
        writer.sized16(label)
        return try secretBytes(.rsaDecrypt, twin, writer.bytes, .encrypt)
    }

    package func agree(_ point: ECCPoint, with twin: OpenedTwin) throws(CallStatus) -> ECCPoint {
        var writer = WireWriter()
        writer.sized16(point)
        let response = try use(.ecdhZGen, twin, writer.bytes, .encrypt)
        return try decode(response) { (reader) throws(WireError) in try reader.value(Sized<ECCPoint>.self).value }
    }

    package func duplicate(_ twin: OpenedTwin) throws(CallStatus) -> SensitiveArea {
        let transport = KeyTransport()
        // A session of its own kind, for this once.
        let response = try inSessions(.duplication).use(.duplicate, twin, transport.duplicationParameters, .decrypt)
        guard let sensitive = transport.duplicated(response.parameters, of: twin.blob.publicArea) else { throw .failed }
        return sensitive
    }

    private func use(
        _ code: TPMCommandCode, _ twin: OpenedTwin, _ parameters: [UInt8], _ attributes: SessionAttributes
    ) throws(CallStatus) -> CarryCalls.Run.Reply {
        try run(GateCommand(
            code: code, target: .twin(twin.guest, twin.blob), name: twin.blob.publicArea.name, parameters: parameters,
            attributes: attributes, auth: twin.auth))
    }

    /// A response that is one TPM2B.
    private func secretBytes(
        _ code: TPMCommandCode, _ twin: OpenedTwin, _ parameters: [UInt8], _ attributes: SessionAttributes
    ) throws(CallStatus) -> [UInt8] {
        var response = try use(code, twin, parameters, attributes)
        defer { wipe(&response.parameters) }
        return try decode(response) { (reader) throws(WireError) in try reader.sized16() }
    }

    private func decode<T>(
        _ response: CarryCalls.Run.Reply, _ body: (inout WireReader) throws(WireError) -> T
    ) throws(CallStatus) -> T {
        var reader = WireReader(response.parameters)
        do throws(WireError) {
            let value = try body(&reader)
            try reader.finish()
            return value
        } catch { throw .failed }
    }
}

extension TwinBlob {
    fileprivate var publicArea: PublicArea { spec.publicArea(unique: unique) }
}
