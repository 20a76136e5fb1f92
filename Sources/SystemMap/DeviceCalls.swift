// The narrow interface of paratpm-device (D4): typed operations on twins. Handles are indices into the connection's own
// table, so a handle is good on one connection only; calls with a handle are repeated by who loads the twin again. Nothing lasts
// of what nobody heard the answer to. A status below 0x1000 is the chip's response code without its
// parameter number, after the device owner has dealt with those that are its own (RETRY, OBJECT_MEMORY, TESTING …).
import IPC
import TPMWire
import Wire

package enum DeviceCalls {
    /// The guest's own secret: 32 bytes that exist in the chip's seal and in the proxy only; everything that the proxy
    /// encrypts (state, contexts, envelopes) hangs on it.
    package enum GuestSecret: Call {
        package static let number: UInt16 = 16
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package typealias Request = Nothing
        package typealias Reply = Blob
    }

    package enum Describe: Call {
        package static let number: UInt16 = 17
        package static let callers: Caller = [.proxy, .admin]
        package static let repeatable = true
        package typealias Request = Nothing
        package typealias Reply = ChipDescription
    }

    /// Makes a twin under the guest's root key. `data` is what a sealed object or a given HMAC key holds.
    package enum Create: Call {
        package static let number: UInt16 = 18
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            package var spec: TwinSpec
            package var data: [UInt8]
            package init(spec: TwinSpec, data: [UInt8]) {
                self.spec = spec
                self.data = data
            }
            package init(from reader: inout WireReader) throws(WireError) {
                spec = try reader.value()
                data = try reader.sized16(max: SensitiveCreate.dataMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(spec)
                writer.sized16(data)
            }
        }
        package typealias Reply = TwinBlob
    }

    /// Puts a twin in the connection's table. The chip is touched when the twin is used.
    package enum Load: Call {
        package static let number: UInt16 = 19
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package typealias Request = TwinBlob
        /// The handle.
        package typealias Reply = UInt32
        /// Twins that one connection may have loaded at once.
        package static let tableMax = 1024
    }

    package enum Release: Call {
        package static let number: UInt16 = 20
        package static let callers: Caller = [.proxy]
        package typealias Request = UInt32
        package typealias Reply = Nothing
    }

    /// Signs a digest with an asymmetric twin (TPM2_Sign with a NULL ticket).
    package enum Sign: Call {
        package static let number: UInt16 = 21
        package static let callers: Caller = [.proxy]
        package struct Request: WireCodable, Sendable {
            package var handle: UInt32
            package var digest: [UInt8]
            package var scheme: Scheme
            package init(handle: UInt32, digest: [UInt8], scheme: Scheme) {
                self.handle = handle
                self.digest = digest
                self.scheme = scheme
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.u32()
                digest = try reader.sized16(max: HashAlgorithm.largestDigest)
                scheme = try Scheme(from: &reader, field: .signature)
            }
            package func encode(to writer: inout WireWriter) {
                writer.u32(handle)
                writer.sized16(digest)
                scheme.encode(to: &writer)
            }
        }
        package typealias Reply = Signature
    }

    /// TPM2_RSA_Decrypt. The label's terminating NUL is part of it.
    package enum DecryptRSA: Call {
        package static let number: UInt16 = 22
        package static let callers: Caller = [.proxy]
        package struct Request: WireCodable, Sendable {
            package var handle: UInt32
            package var cipherText: [UInt8]
            package var scheme: Scheme
            package var label: [UInt8]
            package static let labelMax = 2 + HashAlgorithm.largestDigest
            package init(handle: UInt32, cipherText: [UInt8], scheme: Scheme, label: [UInt8]) {
                self.handle = handle
                self.cipherText = cipherText
                self.scheme = scheme
                self.label = label
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.u32()
                cipherText = try reader.sized16(max: PublicArea.rsaMax)
                scheme = try Scheme(from: &reader, field: .rsaDecrypt)
                label = try reader.sized16(max: Self.labelMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.u32(handle)
                writer.sized16(cipherText)
                scheme.encode(to: &writer)
                writer.sized16(label)
            }
        }
        package typealias Reply = Blob
    }

    /// TPM2_ECDH_ZGen: the shared point.
    package enum Agree: Call {
        package static let number: UInt16 = 23
        package static let callers: Caller = [.proxy]
        package struct Request: WireCodable, Sendable {
            package var handle: UInt32
            package var point: ECCPoint
            package init(handle: UInt32, point: ECCPoint) {
                self.handle = handle
                self.point = point
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.u32()
                point = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.u32(handle)
                writer.value(point)
            }
        }
        package typealias Reply = ECCPoint
    }

    package enum Unseal: Call {
        package static let number: UInt16 = 24
        package static let callers: Caller = [.proxy]
        package typealias Request = UInt32
        package typealias Reply = Blob
    }

    /// TPM2_HMAC: at most `dataMax` bytes in one call.
    package enum HMAC: Call {
        package static let number: UInt16 = 25
        package static let callers: Caller = [.proxy]
        package static let dataMax = 1024
        package struct Request: WireCodable, Sendable {
            package var handle: UInt32
            package var hash: HashAlgorithm
            package var data: [UInt8]
            package init(handle: UInt32, hash: HashAlgorithm, data: [UInt8]) {
                self.handle = handle
                self.hash = hash
                self.data = data
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.u32()
                hash = try reader.value()
                data = try reader.sized16(max: HMAC.dataMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.u32(handle)
                writer.value(hash)
                writer.sized16(data)
            }
        }
        package typealias Reply = Blob
    }

    /// Takes back the call that went before on this channel, as long as it waits for its guest's turn at the chip: that call is answered
    /// TPM_RC_CANCELED. This one has no answer.
    package enum Withdraw: Call {
        package static let number: UInt16 = 31
        package static let callers: Caller = [.proxy]
        package typealias Request = Nothing
        package typealias Reply = Nothing
    }

    /// One step of an HMAC over more data than fits in one call (TPM2_HMAC_Start, SequenceUpdate, SequenceComplete). Between steps
    /// the sequence is in no slot of the chip: the caller keeps its state.
    package enum HMACStep: Call {
        package static let number: UInt16 = 30
        package static let callers: Caller = [.proxy]
        /// The chip's saved context, and a MAC by which the device owner knows it again
        package static let stateMax = 3072
        package struct Request: WireCodable, Sendable {
            package var handle: UInt32
            package var hash: HashAlgorithm
            /// What the step before answered; empty at the beginning
            package var state: [UInt8]
            package var data: [UInt8]
            package var isLast: Bool
            package init(handle: UInt32, hash: HashAlgorithm, state: [UInt8], data: [UInt8], isLast: Bool) {
                self.handle = handle
                self.hash = hash
                self.state = state
                self.data = data
                self.isLast = isLast
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.u32()
                hash = try reader.value()
                state = try reader.sized16(max: HMACStep.stateMax)
                data = try reader.sized16(max: HMAC.dataMax)
                isLast = try reader.flag()
            }
            package func encode(to writer: inout WireWriter) {
                writer.u32(handle)
                writer.value(hash)
                writer.sized16(state)
                writer.sized16(data)
                writer.flag(isLast)
            }
        }
        /// The next step's state, or after the last step the HMAC.
        package typealias Reply = Blob
    }

    /// Random bytes of the chip, at most 256 in one call.
    package enum Random: Call {
        package static let number: UInt16 = 26
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package static let countMax: UInt16 = 256
        package typealias Request = UInt16
        package typealias Reply = Blob
    }

    /// The seed behind a secret that was encrypted to an asymmetric twin: OAEP, or ECDH and KDFe (Part 1, B.10 and C.6).
    package enum RecoverSeed: Call {
        package static let number: UInt16 = 27
        package static let callers: Caller = [.proxy]
        /// TPM2B_ENCRYPTED_SECRET: the cipher text of the largest RSA key
        package static let secretMax = PublicArea.rsaMax
        package struct Request: WireCodable, Sendable {
            package var handle: UInt32
            package var use: SeedUse
            /// Of OAEP, or of KDFe, whose result has this hash's size
            package var hash: HashAlgorithm
            package var secret: [UInt8]
            package init(handle: UInt32, use: SeedUse, hash: HashAlgorithm, secret: [UInt8]) {
                self.handle = handle
                self.use = use
                self.hash = hash
                self.secret = secret
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.u32()
                use = try reader.value()
                hash = try reader.value()
                secret = try reader.sized16(max: RecoverSeed.secretMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.u32(handle)
                writer.value(use)
                writer.value(hash)
                writer.sized16(secret)
            }
        }
        package typealias Reply = Blob

        /// Which seeds a proxy may ask for: those of credentials are for the policy checker (GateCalls.Activate).
        package static let uses: Set<SeedUse> = [.session, .duplicate]
    }

    /// Makes a twin of a key that came from outside. It reaches the chip under an inner wrapper (TPM2_Import).
    package enum Import: Call {
        package static let number: UInt16 = 28
        package static let callers: Caller = [.proxy]
        package static let repeatable = true
        package struct Request: WireCodable, Sendable {
            /// An imported one
            package var spec: TwinSpec
            package var unique: PublicArea.Unique
            package var sensitive: SensitiveArea
            package init(spec: TwinSpec, unique: PublicArea.Unique, sensitive: SensitiveArea) {
                self.spec = spec
                self.unique = unique
                self.sensitive = sensitive
            }
            package init(from reader: inout WireReader) throws(WireError) {
                spec = try reader.value()
                unique = try spec.unique(from: &reader)
                sensitive = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(spec)
                writer.value(unique)
                writer.value(sensitive)
            }
        }
        package typealias Reply = TwinBlob
    }

    /// The private part of a duplicable twin, which leaves the chip under an inner wrapper (TPM2_Duplicate). The proxy wraps it as
    /// its guest asked: a listed exception to P2.
    package enum Duplicate: Call {
        package static let number: UInt16 = 29
        package static let callers: Caller = [.proxy]
        package typealias Request = UInt32
        package typealias Reply = SensitiveArea
    }

    /// Destroys a guest's root key and secret: everything of that guest is lost for ever.
    package enum ForgetGuest: Call {
        package static let number: UInt16 = 64
        package static let callers: Caller = [.admin]
        /// The guest's id.
        package typealias Request = Blob
        package typealias Reply = Nothing
    }
}

/// What the chip can do, as far as guests are told (GetCapability) and twins need it.
package struct ChipDescription: WireCodable, Sendable, Equatable {
    /// TPM_PT_MANUFACTURER of the hardware
    package var manufacturer: UInt32
    /// TPM_PT_FIRMWARE_VERSION_1 and _2 of the hardware
    package var firmware: UInt64
    package var hashes: [HashAlgorithm]
    package var curves: [ECCCurve]
    /// RSA key sizes that the chip makes, in bits
    package var rsaBits: [UInt16]
    /// AES key sizes, in bits
    package var aesBits: [UInt16]

    package init(
        manufacturer: UInt32, firmware: UInt64, hashes: [HashAlgorithm], curves: [ECCCurve], rsaBits: [UInt16], aesBits: [UInt16]
    ) {
        self.manufacturer = manufacturer
        self.firmware = firmware
        self.hashes = hashes
        self.curves = curves
        self.rsaBits = rsaBits
        self.aesBits = aesBits
    }
    package init(from reader: inout WireReader) throws(WireError) {
        manufacturer = try reader.u32()
        firmware = try reader.u64()
        hashes = try reader.list(max: 16)
        curves = try reader.list(max: 16)
        rsaBits = try reader.list(max: 16)
        aesBits = try reader.list(max: 16)
    }
    package func encode(to writer: inout WireWriter) {
        writer.u32(manufacturer)
        writer.u64(firmware)
        writer.list(hashes)
        writer.list(curves)
        writer.list(rsaBits)
        writer.list(aesBits)
    }
}
