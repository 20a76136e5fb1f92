// The vocabulary of swtpm's control protocol (swtpm's tpm_ioctl.h, swtpm_ioctls(3)): commands, results, capabilities.
import Wire

/// CMD_…: the first 32 bits of a request, big-endian.
package enum ControlCommand: UInt32, CaseIterable, Sendable {
    case getCapability = 0x01
    case initialize = 0x02
    case shutdown = 0x03
    case getEstablished = 0x04
    case setLocality = 0x05
    case hashStart = 0x06
    case hashData = 0x07
    case hashEnd = 0x08
    case cancel = 0x09
    case storeVolatile = 0x0A
    case resetEstablished = 0x0B
    case getStateBlob = 0x0C
    case setStateBlob = 0x0D
    case stop = 0x0E
    case getConfig = 0x0F
    case setDataFD = 0x10
    case setBufferSize = 0x11
    case getInfo = 0x12
    case lockStorage = 0x13

    /// Bytes behind the command that a request waits for. Requests that stock swtpm does not wait for have none, although
    /// they may need some: those must come with the same message.
    var awaitedBody: Int {
        switch self {
        case .initialize, .hashData: 4
        case .setLocality, .resetEstablished: 1
        case .getStateBlob, .setStateBlob: 12
        default: 0
        }
    }

    /// Whether stock swtpm refuses the command while the TPM is off.
    var needsPower: Bool {
        switch self {
        case .getEstablished, .hashStart, .hashData, .hashEnd, .cancel, .storeVolatile, .resetEstablished, .getStateBlob: true
        default: false
        }
    }

    /// What a request's body must be; SET_LOCALITY and others may be padded (QEMU sends whole C structures).
    func admits(bodyOf size: Int) -> Bool {
        switch self {
        case .getCapability, .setDataFD: true
        case .initialize: size == 4
        case .setLocality, .resetEstablished: size >= 1
        case .hashData, .setBufferSize, .lockStorage: size >= 4
        case .getStateBlob, .setStateBlob: size >= 12
        case .getInfo: size >= 16
        default: size == 0
        }
    }
}

/// ptm_res: the first 32 bits of every reply; TPM 1.2 result codes.
package struct ControlResult: RawRepresentable, Hashable, Sendable, Error {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    private init(_ rawValue: UInt32) { self.rawValue = rawValue }
    package static let success = Self(0)
    /// TPM_BAD_PARAMETER
    package static let badParameter = Self(0x03)
    /// TPM_FAIL
    package static let fail = Self(0x09)
    /// TPM_BAD_ORDINAL: no such command, or not now
    package static let badOrdinal = Self(0x0A)
    /// TPM_IOERROR
    package static let ioError = Self(0x1F)
    /// TPM_BAD_LOCALITY
    package static let badLocality = Self(0x3D)
}

/// PTM_CAP_…: what GET_CAPABILITY says.
package struct ControlCapabilities: OptionSet, Sendable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package static let initialize = Self(rawValue: 1 << 0)
    package static let shutdown = Self(rawValue: 1 << 1)
    package static let getEstablished = Self(rawValue: 1 << 2)
    package static let setLocality = Self(rawValue: 1 << 3)
    package static let hashing = Self(rawValue: 1 << 4)
    package static let cancel = Self(rawValue: 1 << 5)
    package static let storeVolatile = Self(rawValue: 1 << 6)
    package static let resetEstablished = Self(rawValue: 1 << 7)
    package static let getStateBlob = Self(rawValue: 1 << 8)
    package static let setStateBlob = Self(rawValue: 1 << 9)
    package static let stop = Self(rawValue: 1 << 10)
    package static let getConfig = Self(rawValue: 1 << 11)
    package static let setDataFD = Self(rawValue: 1 << 12)
    package static let setBufferSize = Self(rawValue: 1 << 13)
    package static let getInfo = Self(rawValue: 1 << 14)
    package static let sendCommandHeader = Self(rawValue: 1 << 15)
    package static let lockStorage = Self(rawValue: 1 << 16)

    /// Without state blobs QEMU forbids migration and savevm by itself.
    package static let offered: Self = [
        .initialize, .shutdown, .getEstablished, .setLocality, .hashing, .cancel, .resetEstablished, .stop, .getConfig,
        .setDataFD, .setBufferSize, .getInfo, .sendCommandHeader, .lockStorage,
    ]
}
