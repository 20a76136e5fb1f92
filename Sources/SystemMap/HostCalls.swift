// What paratpm-device does with the keys that speak for the host: its identity, quotes for paratpm-policy, and the guests'
// certificates (docs/attestation.md).
import IPC
import TPMWire
import Wire

package enum HostCalls {
    /// Makes the host's identity in the chip. One that is there already stays.
    package enum Initialize: Call {
        package static let number: UInt16 = 96
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        /// The auth of the chip's endorsement hierarchy.
        package typealias Request = Blob
        package typealias Reply = Nothing
    }

    /// HostEvidence. CallStatus.unavailable: there is no identity yet.
    package enum Evidence: Call {
        package static let number: UInt16 = 97
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package typealias Request = Nothing
        package typealias Reply = Blob
    }

    /// TPM2_Quote with the host's attestation key. TPM_RC_DISABLED: there is no identity yet.
    package enum Quote: Call {
        package static let number: UInt16 = 98
        package static let callers: Caller = [.policy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var qualifyingData: [UInt8]
            package var selection: [PCRSelection]
            package init(qualifyingData: [UInt8], selection: [PCRSelection]) {
                self.qualifyingData = qualifyingData
                self.selection = selection
            }
            package init(from reader: inout WireReader) throws(WireError) {
                qualifyingData = try reader.sized16(max: HashAlgorithm.largestDigest)
                selection = try reader.list(max: PCRSelection.listMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(qualifyingData)
                writer.list(selection)
            }
        }
        package struct Reply: WireCodable, Sendable {
            /// TPMS_ATTEST
            package var statement: [UInt8]
            package var signature: Signature
            /// The quoted PCRs' values, behind each other.
            package var values: [UInt8]
            package var attestationKey: PublicArea
            /// SHA-256 of the host's evidence
            package var evidenceID: [UInt8]
            package init(
                statement: [UInt8], signature: Signature, values: [UInt8], attestationKey: PublicArea, evidenceID: [UInt8]
            ) {
                self.statement = statement
                self.signature = signature
                self.values = values
                self.attestationKey = attestationKey
                self.evidenceID = evidenceID
            }
            package init(from reader: inout WireReader) throws(WireError) {
                statement = try reader.sized16(max: 1024)
                signature = try reader.value()
                values = try reader.sized16(max: 4096)
                attestationKey = try reader.value()
                evidenceID = try reader.sized16(max: HashAlgorithm.largestDigest)
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(statement)
                writer.value(signature)
                writer.sized16(values)
                writer.value(attestationKey)
                writer.sized16(evidenceID)
            }
        }
    }

    /// TPM2_ActivateCredential with the host's attestation key and the chip's endorsement key: the answer to a verifier's challenge.
    package enum Activate: Call {
        package static let number: UInt16 = 99
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var blob: [UInt8]
            package var encryptedSecret: [UInt8]
            package var endorsementAuth: [UInt8]
            package init(blob: [UInt8], encryptedSecret: [UInt8], endorsementAuth: [UInt8]) {
                self.blob = blob
                self.encryptedSecret = encryptedSecret
                self.endorsementAuth = endorsementAuth
            }
            package init(from reader: inout WireReader) throws(WireError) {
                blob = try reader.sized16(max: 1024)
                encryptedSecret = try reader.sized16(max: 1024)
                endorsementAuth = try reader.sized16(max: HashAlgorithm.largestDigest)
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(blob)
                writer.sized16(encryptedSecret)
                writer.sized16(endorsementAuth)
            }
        }
        package typealias Reply = Blob
    }

    /// The chip's PCRs: of one bank at most 24, so that the values fit.
    package enum ReadPCRs: Call {
        package static let number: UInt16 = 100
        package static let callers: Caller = [.admin, .policy]
        package static let repeatable = true
        package typealias Request = PCRSelection
        /// The values, behind each other.
        package typealias Reply = Blob
    }

    // The guests' certificates.

    /// Which certificates the guest's TPM shall have, and which it had and shall have no more, by NV index.
    package enum Certificates: Call {
        package static let number: UInt16 = 104
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package typealias Request = Nothing
        package struct Reply: WireCodable, Sendable {
            /// With the digest of the certificate that is valid; empty where there is none yet.
            package var wanted: [Entry]
            /// With the digest of the certificate that was revoked, and has none in its place yet.
            package var withdrawn: [Entry]
            package init(wanted: [Entry] = [], withdrawn: [Entry] = []) {
                self.wanted = wanted
                self.withdrawn = withdrawn
            }
            package init(from reader: inout WireReader) throws(WireError) {
                wanted = try reader.list(max: 64)
                withdrawn = try reader.list(max: 64)
            }
            package func encode(to writer: inout WireWriter) {
                writer.list(wanted)
                writer.list(withdrawn)
            }
        }
        package struct Entry: WireCodable, Sendable {
            package var index: TPMHandle
            /// SHA-256 of a certificate
            package var digest: [UInt8]
            package init(index: TPMHandle, digest: [UInt8]) {
                self.index = index
                self.digest = digest
            }
            package init(from reader: inout WireReader) throws(WireError) {
                index = try reader.value()
                digest = try reader.sized16(max: 32)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(index)
                writer.sized16(digest)
            }
        }
    }

    /// The certificate of an endorsement key of the guest: the twin, which must be of the index's kind. The same key gets the same
    /// certificate, unless it is to be renewed.
    package enum Certify: Call {
        package static let number: UInt16 = 105
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var index: TPMHandle
            /// Of a twin in the connection's table
            package var handle: UInt32
            package init(index: TPMHandle, handle: UInt32) {
                self.index = index
                self.handle = handle
            }
            package init(from reader: inout WireReader) throws(WireError) {
                index = try reader.value()
                handle = try reader.u32()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(index)
                writer.u32(handle)
            }
        }
        /// DER
        package typealias Reply = Blob
    }

    /// Revokes certificates of a guest. New ones are made when its TPM starts the next time.
    package enum Recertify: Call {
        package static let number: UInt16 = 106
        package static let callers: Caller = [.admin]
        package struct Request: WireCodable, Sendable {
            package var guest: [UInt8]
            /// By NV index; none: all that it has, and renewed are those that every guest gets too.
            package var chosen: [TPMHandle]
            /// False: the guest shall not have them any more.
            package var renewing: Bool
            package init(guest: [UInt8], chosen: [TPMHandle] = [], renewing: Bool = true) {
                self.guest = guest
                self.chosen = chosen
                self.renewing = renewing
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guest = try reader.bytes(GuestID.size)
                chosen = try reader.list(max: 64)
                renewing = try reader.flag()
            }
            package func encode(to writer: inout WireWriter) {
                writer.raw(guest)
                writer.list(chosen)
                writer.flag(renewing)
            }
        }
        package typealias Reply = Nothing
    }

    /// Writes a revocation list, signed now, to `Instance.revocationList`.
    package enum RevocationList: Call {
        package static let number: UInt16 = 107
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    /// A certificate of a guest that is valid now, by NV index. CallStatus.unavailable: there is none.
    package enum Certificate: Call {
        package static let number: UInt16 = 108
        package static let callers: Caller = [.admin]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var guest: [UInt8]
            package var index: TPMHandle
            package init(guest: [UInt8], index: TPMHandle) {
                self.guest = guest
                self.index = index
            }
            package init(from reader: inout WireReader) throws(WireError) {
                guest = try reader.bytes(GuestID.size)
                index = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.raw(guest)
                writer.value(index)
            }
        }
        /// DER
        package typealias Reply = Blob
    }
}

extension Instance {
    /// The host's identity: its keys as the chip wrapped them, and its evidence.
    package var identityRecord: String { deviceDirectory + "/identity" }
    /// A guest's certificates.
    package func certificateRecord(_ guest: GuestID) -> String { "\(certificateDirectory)/\(guest.hex)" }
    package var certificateDirectory: String { deviceDirectory + "/certificates" }
    /// Serial numbers of revoked certificates.
    package var revocations: String { deviceDirectory + "/revoked" }
    /// The revocation list (DER), as it was signed last.
    package var revocationList: String { deviceDirectory + "/revoked.crl" }
}
