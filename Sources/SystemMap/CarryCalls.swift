// What paratpm-device does for paratpm-policy (docs/architecture.md, D7): it carries the policy checker's own session with the
// chip. It maps what the commands name to the chip's handles; parameters and authorizations are bytes to it, which only the
// chip and the policy checker can read or make.
import IPC
import TPMWire
import Wire

package enum CarryCalls {
    /// The host root, to which the policy checker salts its session.
    package enum HostRoot: Call {
        package static let number: UInt16 = 80
        package static let callers: Caller = [.policy]
        package static let repeatable = true
        package typealias Request = Nothing
        package struct Reply: WireCodable, Sendable {
            package var handle: TPMHandle
            package var area: PublicArea
            package init(handle: TPMHandle, area: PublicArea) {
                self.handle = handle
                self.area = area
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.value()
                area = try reader.value(Sized<PublicArea>.self).value
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(handle)
                writer.sized16(area)
            }
        }
    }

    /// A guest's root, under which its twins are made.
    package enum GuestRoot: Call {
        package static let number: UInt16 = 81
        package static let callers: Caller = [.policy]
        package static let repeatable = true
        /// The guest's id.
        package typealias Request = Blob
        package typealias Reply = Sized<PublicArea>
    }

    /// TPM2_StartAuthSession, salted to the host root. It takes the place of the connection's former session.
    package enum StartSession: Call {
        package static let number: UInt16 = 82
        package static let callers: Caller = [.policy]
        package struct Request: WireCodable, Sendable {
            package var nonceCaller: [UInt8]
            /// TPMS_ECC_POINT
            package var encryptedSalt: [UInt8]
            package var kind: CarriedSessionKind
            package init(nonceCaller: [UInt8], encryptedSalt: [UInt8], kind: CarriedSessionKind = .hmac) {
                self.nonceCaller = nonceCaller
                self.encryptedSalt = encryptedSalt
                self.kind = kind
            }
            package init(from reader: inout WireReader) throws(WireError) {
                nonceCaller = try reader.sized16(max: HashAlgorithm.largestDigest)
                encryptedSalt = try reader.sized16(max: 256)
                kind = try reader.value()
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(nonceCaller)
                writer.sized16(encryptedSalt)
                writer.value(kind)
            }
        }
        package struct Reply: WireCodable, Sendable {
            package var handle: TPMHandle
            package var nonceTPM: [UInt8]
            package init(handle: TPMHandle, nonceTPM: [UInt8]) {
                self.handle = handle
                self.nonceTPM = nonceTPM
            }
            package init(from reader: inout WireReader) throws(WireError) {
                handle = try reader.value()
                nonceTPM = try reader.sized16(max: HashAlgorithm.largestDigest)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(handle)
                writer.sized16(nonceTPM)
            }
        }
    }

    /// One command in the connection's session. CallStatus.sessionLost: the chip does not know the session any more; start
    /// another and ask again.
    package enum Run: Call {
        package static let number: UInt16 = 83
        package static let callers: Caller = [.policy]
        package static let parametersMax = 4096
        package struct Request: WireCodable, Sendable {
            package var code: TPMCommandCode
            package var target: CarryTarget
            package var authorization: AuthCommand
            package var parameters: [UInt8]
            package init(
                code: TPMCommandCode, target: CarryTarget, authorization: AuthCommand, parameters: [UInt8]
            ) {
                self.code = code
                self.target = target
                self.authorization = authorization
                self.parameters = parameters
            }
            package init(from reader: inout WireReader) throws(WireError) {
                code = try reader.value()
                target = try reader.value()
                authorization = try reader.value()
                parameters = try reader.sized16(max: Run.parametersMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.value(code)
                writer.value(target)
                writer.value(authorization)
                writer.sized16(parameters)
            }
        }
        package struct Reply: WireCodable, Sendable {
            package var parameters: [UInt8]
            package var authorization: AuthResponse
            /// Of TPM2_HMAC_Start: what DeviceCalls.HMACStep takes.
            package var state: [UInt8]
            package init(parameters: [UInt8], authorization: AuthResponse, state: [UInt8] = []) {
                self.parameters = parameters
                self.authorization = authorization
                self.state = state
            }
            package init(from reader: inout WireReader) throws(WireError) {
                parameters = try reader.sized16(max: Run.parametersMax)
                authorization = try reader.value()
                state = try reader.sized16(max: DeviceCalls.HMACStep.stateMax)
            }
            package func encode(to writer: inout WireWriter) {
                writer.sized16(parameters)
                writer.value(authorization)
                writer.sized16(state)
            }
        }
    }
}

/// What a carried session is for. The policy sessions authorize one command each.
package enum CarriedSessionKind: WireCodable, Sendable, Equatable {
    case hmac
    /// TPM2_Duplicate of a gated twin: PolicyCommandCode and PolicyAuthValue
    case duplication
    /// TPM2_Unseal of a gate secret under the host's PCRs: PolicyPCR
    case hostPCRs([PCRSelection])

    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 0: self = .hmac
        case 1: self = .duplication
        case 2: self = .hostPCRs(try reader.list(max: PCRSelection.listMax))
        default: throw .invalid(0)
        }
    }
    package func encode(to writer: inout WireWriter) {
        switch self {
        case .hmac: writer.u8(0)
        case .duplication: writer.u8(1)
        case .hostPCRs(let selection):
            writer.u8(2)
            writer.list(selection)
        }
    }
}

/// What a carried command is about.
package enum CarryTarget: WireCodable, Sendable {
    /// TPM2_Create of the gate secret
    case hostRoot
    /// TPM2_Unseal of the gate secret, a child of the host root
    case gateSecret(PublicArea, [UInt8])
    /// TPM2_Create or TPM2_Import of a twin
    case guestRoot(GuestID)
    /// The use of a twin
    case twin(GuestID, TwinBlob)

    /// Whose it is; nil: the policy checker's own.
    package var guest: GuestID? {
        switch self {
        case .hostRoot, .gateSecret: nil
        case .guestRoot(let guest), .twin(let guest, _): guest
        }
    }

    /// The commands that each takes.
    package var allowed: Set<TPMCommandCode> {
        switch self {
        case .hostRoot: [.create]
        case .guestRoot: [.create, .import]
        case .gateSecret: [.unseal]
        case .twin: [.unseal, .sign, .hmac, .hmacStart, .rsaDecrypt, .ecdhZGen, .duplicate]
        }
    }

    package init(from reader: inout WireReader) throws(WireError) {
        switch try reader.u8() {
        case 0: self = .hostRoot
        case 1:
            self = .gateSecret(try reader.value(Sized<PublicArea>.self).value, try reader.sized16(max: TwinBlob.privateMax))
        case 2: self = .guestRoot(try reader.guest())
        case 3: self = .twin(try reader.guest(), try reader.value())
        default: throw .invalid(0)
        }
    }
    package func encode(to writer: inout WireWriter) {
        switch self {
        case .hostRoot: writer.u8(0)
        case .gateSecret(let area, let wrapped):
            writer.u8(1)
            writer.sized16(area)
            writer.sized16(wrapped)
        case .guestRoot(let guest):
            writer.u8(2)
            writer.raw(guest.bytes)
        case .twin(let guest, let blob):
            writer.u8(3)
            writer.raw(guest.bytes)
            writer.value(blob)
        }
    }
}

extension WireReader {
    fileprivate mutating func guest() throws(WireError) -> GuestID {
        guard let guest = GuestID(try bytes(GuestID.size)) else { throw .invalid(0) }
        return guest
    }
}
