// The gate (docs/architecture.md, D7): what proxies ask of paratpm-policy about keys whose use they alone must not decide. Errors are TPM
// response codes, the chip's own where the chip refused; `notPermitted` for a token or a claim that the checker did not make.
import IPC
import TPMWire
import Wire

package enum GateCalls {
    /// Makes a gated twin. `data` is as in DeviceCalls.Create.
    package enum Create: Call {
        package static let number: UInt16 = 32
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            /// The guest's template; its unique field is the object's own where that is not the twin's (PublicArea.isSealedKey).
            package var area: PublicArea
            package var data: [UInt8]
            package init(area: PublicArea, data: [UInt8]) {
                self.area = area
                self.data = data
            }
            package init(from reader: inout WireReader) throws(WireError) {
                area = try reader.value()
                data = try reader.sized16(max: SensitiveCreate.dataMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(area)
                writer.sized16(data)
            }
        }
        package typealias Reply = TwinBlob
    }

    /// Makes a gated twin of a key that came from outside (TPM2_Import).
    package enum Import: Call {
        package static let number: UInt16 = 33
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var area: PublicArea
            /// Without authValue
            package var sensitive: SensitiveArea
            package init(area: PublicArea, sensitive: SensitiveArea) {
                self.area = area
                self.sensitive = sensitive
            }
            package init(from reader: inout WireReader) throws(WireError) {
                area = try reader.value()
                sensitive = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(area)
                writer.value(sensitive)
            }
        }
        package typealias Reply = TwinBlob
    }

    /// Makes a restricted ECDAA key from a guest's template.
    package enum CreateAnonymous: Call {
        package static let number: UInt16 = 38
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package typealias Request = PublicArea
        package struct Reply: WireCodable, Sendable {
            /// The key's
            package var point: ECCPoint
            package var twin: TwinBlob
            package init(point: ECCPoint, twin: TwinBlob) {
                self.point = point
                self.twin = twin
            }
            package init(from reader: inout WireReader) throws(WireError) {
                point = try reader.value()
                twin = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(point)
                writer.value(twin)
            }
        }
    }

    /// What the command under way does with a gated twin.
    package enum Use: Call {
        package static let number: UInt16 = 34
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var object: GatedObject
            package var command: GuestCommand
            /// Of the policy session that authorizes the object; empty: there is none.
            package var token: [UInt8]
            /// When the guest's power came on (GuestTime)
            package var epoch: UInt64
            /// Of attestation commands
            package var statement: Statement?
            package init(object: GatedObject, command: GuestCommand, token: [UInt8], epoch: UInt64, statement: Statement? = nil) {
                self.object = object
                self.command = command
                self.token = token
                self.epoch = epoch
                self.statement = statement
            }
            package init(from reader: inout WireReader) throws(WireError) {
                object = try reader.value()
                command = try reader.value()
                token = try reader.sized16(max: PolicyCalls.tokenMax)
                epoch = try reader.u64()
                statement = try reader.flag() ? try reader.value() : nil
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(object)
                writer.value(command)
                writer.sized16(token)
                writer.u64(epoch)
                writer.flag(statement != nil)
                if let statement { writer.value(statement) }
            }
        }
        /// Unseal and what is unsealed to be used: the data. Sign, CertifyX509: the signature. Attestations: TPM2B_ATTEST and the signature. HMAC,
        /// RSA_Decrypt: the result. ECDH_ZGen, ZGen_2Phase: the point. Commit: CommitmentPoints. HMAC_Start: the state of a sequence (DeviceCalls.HMACStep).
        /// Duplicate: SensitiveArea.
        package typealias Reply = Blob
    }

    /// The salt of a session that was encrypted to a gated decryption key, which needs no authorization (Part 3, 11.1).
    package enum RecoverSalt: Call {
        package static let number: UInt16 = 35
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var object: GatedObject
            /// Of OAEP, or of KDFe
            package var hash: HashAlgorithm
            package var secret: [UInt8]
            package init(object: GatedObject, hash: HashAlgorithm, secret: [UInt8]) {
                self.object = object
                self.hash = hash
                self.secret = secret
            }
            package init(from reader: inout WireReader) throws(WireError) {
                object = try reader.value()
                hash = try reader.value()
                secret = try reader.sized16(max: DeviceCalls.RecoverSeed.secretMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(object)
                writer.value(hash)
                writer.sized16(secret)
            }
        }
        package typealias Reply = Blob
    }

    /// Whether an HMAC is one of a gated key's over a digest, which anyone may ask (TPM2_VerifySignature). TPM_RC_SIGNATURE: it is not.
    package enum VerifyMAC: Call {
        package static let number: UInt16 = 36
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var object: GatedObject
            package var digest: [UInt8]
            package var mac: TaggedDigest
            package init(object: GatedObject, digest: [UInt8], mac: TaggedDigest) {
                self.object = object
                self.digest = digest
                self.mac = mac
            }
            package init(from reader: inout WireReader) throws(WireError) {
                object = try reader.value()
                digest = try reader.sized16(max: HashAlgorithm.largestDigest)
                mac = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(object)
                writer.sized16(digest)
                writer.value(mac)
            }
        }
        package typealias Reply = Nothing
    }

    /// TPM2_ActivateCredential (Part 3, 12.5), of which the proxy checked the authorizations: the credential. Its seed is for the checker
    /// alone. Errors have their parameter number.
    package enum Activate: Call {
        package static let number: UInt16 = 37
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            /// The storage key, which is not gated
            package var key: GatedObject
            /// TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, without their sizes
            package var credential: [UInt8]
            package var secret: [UInt8]
            /// Whom the credential is for
            package var object: NamedObject
            package static let credentialMax = 2 * (2 + HashAlgorithm.largestDigest)
            package init(key: GatedObject, credential: [UInt8], secret: [UInt8], object: NamedObject) {
                self.key = key
                self.credential = credential
                self.secret = secret
                self.object = object
            }
            package init(from reader: inout WireReader) throws(WireError) {
                key = try reader.value()
                credential = try reader.sized16(max: Self.credentialMax)
                secret = try reader.sized16(max: DeviceCalls.RecoverSeed.secretMax)
                object = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(key)
                writer.sized16(credential)
                writer.sized16(secret)
                writer.value(object)
            }
        }
        package typealias Reply = Blob
    }
}

/// A gated object: the guest's public area, and its twin. The checker takes neither on trust: a wrong one gives a wrong authValue.
package struct GatedObject: WireCodable, Sendable {
    package var area: PublicArea
    package var twin: TwinBlob

    package init(area: PublicArea, twin: TwinBlob) {
        self.area = area
        self.twin = twin
    }
    package init(from reader: inout WireReader) throws(WireError) {
        area = try reader.value()
        twin = try reader.value()
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(area)
        writer.value(twin)
    }
}

/// A command of the guest's, as far as policies and its gated operation need it.
package struct GuestCommand: WireCodable, Sendable {
    package static let parametersMax = 4096
    package var code: TPMCommandCode
    /// The Names of its handles
    package var names: [[UInt8]]
    /// Decrypted
    package var parameters: [UInt8]

    package init(code: TPMCommandCode, names: [[UInt8]], parameters: [UInt8]) {
        self.code = code
        self.names = names
        self.parameters = parameters
    }
    package init(from reader: inout WireReader) throws(WireError) {
        code = try reader.value()
        names = []
        for _ in 0..<min(try reader.u8(), 3) { names.append(try reader.sized16(max: 2 + HashAlgorithm.largestDigest)) }
        parameters = try reader.sized16(max: Self.parametersMax)
    }
    package func encode(to writer: inout WireWriter) {
        writer.value(code)
        writer.u8(UInt8(min(names.count, 3)))
        for name in names.prefix(3) { writer.sized16(name) }
        writer.sized16(parameters)
    }
}

/// What TPM2_Commit answers before the counter (Part 3, 19.2).
package struct CommitmentPoints: WireCodable, Sendable {
    package let k: ECCPoint
    package let l: ECCPoint
    package let e: ECCPoint
    package init(k: ECCPoint, l: ECCPoint, e: ECCPoint) { (self.k, self.l, self.e) = (k, l, e) }
    package init(from reader: inout WireReader) throws(WireError) {
        k = try reader.value(Sized<ECCPoint>.self).value
        l = try reader.value(Sized<ECCPoint>.self).value
        e = try reader.value(Sized<ECCPoint>.self).value
    }
    package func encode(to writer: inout WireWriter) {
        for point in [k, l, e] { writer.sized16(point) }
    }
}

/// What a signing key shall say, as far as the proxy contributes to it.
package enum Statement: WireCodable, Sendable {
    /// A TPMS_ATTEST, which the checker composes
    case attestation(Circumstances, Content)
    /// The TBSCertificate that CertifyX509 made
    case certificate([UInt8])
    /// Sign's digest; of the proof of its ticket's hierarchy the SHA-256 digest (TicketHierarchy)
    case digest(proofDigest: [UInt8])
    /// Which of the guest's commitments Commit shall make
    case commitment(series: UInt64, count: UInt64)

    /// What every TPMS_ATTEST has (Part 2, 10.12.8), the guest's own: the proxy's word.
    package struct Circumstances: Sendable {
        package var qualifiedSigner: [UInt8]
        package var clockInfo: ClockInfo
        package var firmwareVersion: UInt64
        package init(qualifiedSigner: [UInt8], clockInfo: ClockInfo, firmwareVersion: UInt64) {
            self.qualifiedSigner = qualifiedSigner
            self.clockInfo = clockInfo
            self.firmwareVersion = firmwareVersion
        }
    }

    /// TPMU_ATTEST (Part 2, 10.12.7), from the proxy only what is its guest's own.
    package enum Content: Sendable {
        /// What of the selection is there; the digest is the checker's to make.
        case quote([PCRSelection])
        case certify(NamedObject, qualifiedName: [UInt8])
        case creation(NamedObject, creationHash: [UInt8])
        /// Audit digests, time and NV contents
        case own(tag: UInt16, body: [UInt8])
    }

    private static let nameMax = 2 + HashAlgorithm.largestDigest

    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 0: self = .certificate(try reader.sized16(max: GuestCommand.parametersMax))
        case 1: self = .digest(proofDigest: try reader.bytes(TicketHierarchy.proofDigestSize))
        case 2:
            let circumstances = Circumstances(
                qualifiedSigner: try reader.sized16(max: Self.nameMax), clockInfo: try reader.value(), firmwareVersion: try reader.u64())
            self = .attestation(circumstances, try Self.content(&reader))
        case 3: self = .commitment(series: try reader.u64(), count: try reader.u64())
        default: throw .invalid(0)
        }
    }

    private static func content(_ reader: inout WireReader) throws(WireError) -> Content {
        switch try reader.u8() {
        case 0: .quote(try reader.list(max: PCRSelection.listMax))
        case 1: .certify(try reader.value(), qualifiedName: try reader.sized16(max: nameMax))
        case 2: .creation(try reader.value(), creationHash: try reader.sized16(max: HashAlgorithm.largestDigest))
        case 3: .own(tag: try reader.u16(), body: try reader.sized16(max: GuestCommand.parametersMax))
        default: throw .invalid(0)
        }
    }

    package func encode(to writer: inout WireWriter) {
        switch self {
        case .certificate(let bytes):
            writer.u8(0)
            writer.sized16(bytes)
        case .digest(let proofDigest):
            writer.u8(1)
            writer.raw(proofDigest)
        case .attestation(let circumstances, let content):
            writer.u8(2)
            writer.sized16(circumstances.qualifiedSigner)
            writer.value(circumstances.clockInfo)
            writer.u64(circumstances.firmwareVersion)
            encode(content, to: &writer)
        case .commitment(let series, let count):
            writer.u8(3)
            writer.u64(series)
            writer.u64(count)
        }
    }

    private func encode(_ content: Content, to writer: inout WireWriter) {
        switch content {
        case .quote(let selection):
            writer.u8(0)
            writer.list(selection)
        case .certify(let object, let qualifiedName):
            writer.u8(1)
            writer.value(object)
            writer.sized16(qualifiedName)
        case .creation(let object, let creationHash):
            writer.u8(2)
            writer.value(object)
            writer.sized16(creationHash)
        case .own(let tag, let body):
            writer.u8(3)
            writer.u16(tag)
            writer.sized16(body)
        }
    }
}

/// An object that somebody else is told about by its Name. Of a restricted signing key that claims to be fixed to its TPM the checker
/// speaks only if it made the mark.
package struct NamedObject: WireCodable, Sendable {
    /// nil: a sequence, which has no Name
    package var area: PublicArea?
    package var mark: [UInt8]

    package init(area: PublicArea?, mark: [UInt8]) {
        self.area = area
        self.mark = mark
    }
    package init(from reader: inout WireReader) throws(WireError) {
        area = try reader.flag() ? try reader.value() : nil
        mark = try reader.sized16(max: GateSeal.markSize)
    }
    package func encode(to writer: inout WireWriter) {
        writer.flag(area != nil)
        if let area { writer.value(area) }
        writer.sized16(mark)
    }
}

extension TPMCommandCode {
    /// Which handle of the command is the key whose private part it uses.
    package var gatedHandle: Int? {
        switch self {
        case .unseal, .duplicate, .sign, .hmac, .hmacStart, .rsaDecrypt, .ecdhZGen, .zGen2Phase, .encryptDecrypt, .encryptDecrypt2,
            .createLoaded, .quote, .certifyCreation, .nvCertify, .commit: 0
        case .certify, .certifyX509, .getSessionAuditDigest, .getCommandAuditDigest, .getTime: 1
        default: nil
        }
    }
}
