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
