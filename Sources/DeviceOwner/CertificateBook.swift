// Which certificates guests have, and which are revoked: small files, read when they are needed.
import AttestationFormats
import ChipClient
import GuestIdentity
import SystemMap
import TPMCrypto
import TPMWire
import Wire

/// A certificate of a guest that is valid.
private struct IssuedCertificate: WireCodable {
    let index: EndorsementCertificate
    let serial: [UInt8]
    /// SHA-256 of the key's unique field
    let key: [UInt8]
    let certificate: [UInt8]

    init(index: EndorsementCertificate, serial: [UInt8], key: [UInt8], certificate: [UInt8]) {
        self.index = index
        self.serial = serial
        self.key = key
        self.certificate = certificate
    }
    init(from reader: inout WireReader) throws(WireError) {
        index = try reader.value()
        serial = try reader.sized16(max: 32)
        key = try reader.sized16(max: HashAlgorithm.largestDigest)
        certificate = try reader.sized16(max: NVPublic.dataMax)
    }
    func encode(to writer: inout WireWriter) {
        writer.value(index)
        writer.sized16(serial)
        writer.sized16(key)
        writer.sized16(certificate)
    }

    var entry: HostCalls.Certificates.Entry { .init(index: index.index, digest: digest(.sha256, certificate)) }
}

/// File: u8 version, the wanted certificates' NV indices, the valid certificates, the withdrawn ones' NV indices and digests.
private struct GuestCertificates: WireCodable {
    var wanted = EndorsementCertificate.standard
    var issued: [IssuedCertificate] = []
    /// Revoked, with none in their place yet: the guest's TPM may have them still.
    var withdrawn: [HostCalls.Certificates.Entry] = []
    private static let version: UInt8 = 2
    static let largest = 32 * 1024

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        wanted = try reader.list(max: EndorsementCertificate.allCases.count)
        issued = try reader.list(max: EndorsementCertificate.allCases.count)
        withdrawn = try reader.list(max: EndorsementCertificate.allCases.count)
    }
    func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.list(wanted)
        writer.list(issued)
        writer.list(withdrawn)
    }
}

/// File: u8 version, u64 number of the last list, the revoked serial numbers.
private struct Revocations: WireCodable {
    var number: UInt64 = 0
    var entries: [Entry] = []
    private static let version: UInt8 = 1
    static let largest = 16 * 1024 * 1024

    struct Entry: WireCodable {
        let serial: [UInt8]
        /// Seconds since 1970
        let time: UInt64
        init(serial: [UInt8], time: UInt64) {
            self.serial = serial
            self.time = time
        }
        init(from reader: inout WireReader) throws(WireError) {
            serial = try reader.sized16(max: 32)
            time = try reader.u64()
        }
        func encode(to writer: inout WireWriter) {
            writer.sized16(serial)
            writer.u64(time)
        }
    }

    init() {}
    init(from reader: inout WireReader) throws(WireError) {
        guard try reader.u8() == Self.version else { throw .invalid(0) }
        number = try reader.u64()
        entries = try reader.list(max: Self.largest)
    }
    func encode(to writer: inout WireWriter) {
        writer.u8(Self.version)
        writer.u64(number)
        writer.list(entries)
    }
}

final class CertificateBook {
    private let instance: Instance
    private let identity: HostIdentity

    init(_ instance: Instance, _ identity: HostIdentity) {
        self.instance = instance
        self.identity = identity
    }

    /// The certificates that the guest shall have, and those that it shall not have any more.
    func state(of guest: GuestID) throws(ChipError) -> HostCalls.Certificates.Reply {
        guard identity.evidence != nil else { return .init() }
        let book = try certificates(of: guest)
        let wanted = book.wanted.map { index in
            book.issued.first { $0.index == index }?.entry ?? .init(index: index.index, digest: [])
        }
        return .init(wanted: wanted, withdrawn: book.withdrawn)
    }

    func certificate(_ index: TPMHandle, of guest: GuestID) throws(ChipError) -> [UInt8]? {
        try certificates(of: guest).issued.first { $0.index.index == index }?.certificate
    }

    /// The certificate of a key: the valid one, or a new one; what it takes the place of is revoked.
    /// - Parameter area: the twin's public area, which the chip has loaded.
    func certify(_ area: PublicArea, at index: EndorsementCertificate, of guest: KnownGuest) throws(ChipError) -> [UInt8] {
        var book = try certificates(of: guest.id)
        guard book.wanted.contains(index) else { throw .refused("the guest \(guest.name) shall have no certificate at \(index.index.hex)") }
        let key = digest(.sha256, WireWriter.bytes { $0.value(area.unique) })
        if let valid = book.issued.first(where: { $0.index == index && $0.key == key }) { return valid.certificate }
        let serial = CertificateAuthority.newSerial()
        let certificate = try identity.sign { authority in
            authority.guestCertificate(
                index == .platform ? .platform : .endorsementKey, of: area, guest: guest.id.bytes, name: guest.name.text, serial: serial,
                from: now())
        }
        try revoke(book.issued.filter { $0.index == index })
        book.issued.removeAll { $0.index == index }
        book.withdrawn.removeAll { $0.index == index.index }
        book.issued.append(IssuedCertificate(index: index, serial: serial, key: key, certificate: certificate))
        try write(book, guest.id)
        return certificate
    }

    /// Revokes these of the guest's certificates, or all that it has.
    /// - Parameter renewing: it shall have new ones: these, or what it should have had and what every guest gets.
    func recertify(_ guest: GuestID, _ chosen: [EndorsementCertificate], renewing: Bool) throws(ChipError) {
        var book = try certificates(of: guest)
        let chosen = chosen.isEmpty ? Set(book.wanted + EndorsementCertificate.standard) : Set(chosen)
        let revoked = book.issued.filter { chosen.contains($0.index) }
        try revoke(revoked)
        book.issued.removeAll { chosen.contains($0.index) }
        book.withdrawn.removeAll { entry in revoked.contains { $0.index.index == entry.index } }
        book.withdrawn += revoked.map(\.entry)
        let wanted = renewing ? chosen.union(book.wanted) : Set(book.wanted).subtracting(chosen)
        book.wanted = EndorsementCertificate.allCases.filter(wanted.contains)
        try write(book, guest)
    }

    /// The guest is no more.
    func forget(_ guest: GuestID) throws(ChipError) {
        try revoke(try certificates(of: guest).issued)
        try attempt { () throws(Failure) in try Files.remove(instance.certificateRecord(guest)) }
    }

    /// A list of all that is revoked, signed now.
    func writeRevocationList() throws(ChipError) {
        var revoked = try revocations()
        revoked.number &+= 1
        let list = try identity.sign { authority in
            authority.revocationList(
                number: revoked.number, at: now(), revoked: revoked.entries.map { ($0.serial, Int64(clamping: $0.time)) })
        }
        try attempt { () throws(Failure) in
            try Files.write(instance.revocations, revoked.wire, mode: 0o600, replacing: true)
            try Files.write(instance.revocationList, list, mode: 0o644, replacing: true)
        }
    }

    // MARK: Files

    /// Revoked before the new one is valid: a crash in between may revoke twice, which changes nothing.
    private func revoke(_ certificates: [IssuedCertificate]) throws(ChipError) {
        guard !certificates.isEmpty else { return }
        var revoked = try revocations()
        let known = Set(revoked.entries.map(\.serial))
        for certificate in certificates where !known.contains(certificate.serial) {
            revoked.entries.append(.init(serial: certificate.serial, time: UInt64(clamping: now())))
        }
        try attempt { () throws(Failure) in try Files.write(instance.revocations, revoked.wire, mode: 0o600, replacing: true) }
    }

    private func certificates(of guest: GuestID) throws(ChipError) -> GuestCertificates {
        try read(instance.certificateRecord(guest), max: GuestCertificates.largest) ?? GuestCertificates()
    }

    private func revocations() throws(ChipError) -> Revocations {
        try read(instance.revocations, max: Revocations.largest) ?? Revocations()
    }

    private func write(_ book: GuestCertificates, _ guest: GuestID) throws(ChipError) {
        try attempt { () throws(Failure) in
            try Files.makeDirectory(instance.certificateDirectory, mode: 0o700)
            try Files.write(instance.certificateRecord(guest), book.wire, mode: 0o600, replacing: true)
        }
    }

    private func read<T: WireCodable>(_ path: String, max: Int) throws(ChipError) -> T? {
        let bytes = try attempt { () throws(Failure) in try Files.read(path, max: max) }
        guard let bytes else { return nil }
        guard let value = try? T(wire: bytes) else { throw .refused("\(path) is damaged; it was left alone") }
        return value
    }

    private func attempt<R>(_ body: () throws(Failure) -> R) throws(ChipError) -> R {
        do throws(Failure) { return try body() } catch { throw .refused(error.message) }
    }
}
