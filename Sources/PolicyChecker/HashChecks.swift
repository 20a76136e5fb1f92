// Digests of data that this process saw, and their tickets. A restricted key signs nothing else (Part 3, 20.2).
import CryptoBase
import EnhancedAuthorization
import IPC
import SystemMap
import TPMWire
import Wire

/// A digest under way.
/// Outside this process: u8 how many bytes the data begin with, these, the saved hash context, then an HMAC-SHA256 over domain, guest and all that.
private struct CheckedHash {
    private static let domain = Array("paratpm checked hash v1".utf8)
    private static let macSize = 32
    private var context: HashContext
    /// As much as tells whether the data begin as a structure of the TPM's own
    private var start: [UInt8] = []

    init(_ hash: HashAlgorithm) { context = HashContext(hash) }

    /// nil if this service did not seal it for this guest.
    init?(_ state: [UInt8], _ hash: HashAlgorithm, key: Secret, guest: GuestID) {
        guard state.count > Self.macSize else { return nil }
        let body = Array(state.dropLast(Self.macSize))
        guard constantTimeEqual(Self.mac(body, key, guest), Array(state.suffix(Self.macSize))) else { return nil }
        var reader = WireReader(body)
        guard let count = try? reader.u8(), let start = try? reader.bytes(Int(count)),
            let context = HashContext(saved: reader.rest()), context.hash == hash
        else { return nil }
        self.context = context
        self.start = start
    }

    func sealed(key: Secret, guest: GuestID) -> [UInt8] {
        let body = [UInt8(start.count)] + start + context.saved
        return body + Self.mac(body, key, guest)
    }

    private static func mac(_ body: [UInt8], _ key: Secret, _ guest: GuestID) -> [UInt8] {
        var bytes = key.bytes
        defer { wipe(&bytes) }
        return hmac(.sha256, key: bytes, domain, guest.bytes, body)
    }

    mutating func update(_ data: [UInt8]) {
        start += data.prefix(Attestation.magic.wire.count - start.count)
        context.update(data)
    }

    var digest: [UInt8] { context.finished() }
    var isSafe: Bool { !Attestation.isImitated(by: start) }
}

extension Gatekeeper {
    package func hash(_ request: HashCalls.Step.Request, of guest: GuestID) throws(CallStatus) -> HashCalls.Step.Reply {
        var checked: CheckedHash
        if request.state.isEmpty {
            checked = CheckedHash(request.hash)
        } else {
            guard let former = CheckedHash(request.state, request.hash, key: keys.hash, guest: guest) else { throw .notPermitted }
            checked = former
        }
        checked.update(request.data)
        guard let end = request.end else { return .init(result: checked.sealed(key: keys.hash, guest: guest)) }
        let digest = checked.digest
        guard let hierarchy = end.ticket, hierarchy.handle != .null, checked.isSafe else { return .init(result: digest) }
        return .init(result: digest, ticket: keys.mint(guest).hashChecked(hierarchy, request.hash, digest: digest))
    }

    package func checkHash(_ request: HashCalls.Check.Request, of guest: GuestID) throws(CallStatus) {
        let hierarchy = TicketHierarchy(request.ticket.hierarchy, proofDigest: request.proofDigest)
        guard isGenuine(request.ticket, hierarchy, request.hash, request.digest, guest) else { throw CallStatus(.ticket) }
    }

    func isGenuine(
        _ given: Ticket, _ hierarchy: TicketHierarchy, _ hash: HashAlgorithm, _ digest: [UInt8], _ guest: GuestID
    ) -> Bool {
        given.tag == StructureTag.hashCheck && hierarchy.handle != .null
            && constantTimeEqual(keys.mint(guest).hashChecked(hierarchy, hash, digest: digest).digest, given.digest)
    }
}
