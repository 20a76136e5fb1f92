// The sizes of a guest's TPM: named here, told by GetCapability, overridden by quotas.
import TPMWire

/// What one guest may hold at once.
package struct Limits: Hashable, Sendable {
    /// Loaded transient objects and sequences
    package var transientObjects = 1000
    /// Active sessions, loaded or saved
    package var sessions = 64
    /// Bytes of NV index data and their public areas
    package var nvBytes = 64 * 1024
    package var nvIndices = 256
    package var persistentObjects = 64
    /// Remembered primaries; past it CreatePrimary of a new template fails (TPM_RC_OBJECT_MEMORY)
    package var primaries = 256
    package init() {}

    package enum Kind: CaseIterable, Sendable { case transientObjects, sessions, nvBytes, nvIndices, persistentObjects, primaries }

    package subscript(_ kind: Kind) -> Int {
        switch kind {
        case .transientObjects: transientObjects
        case .sessions: sessions
        case .nvBytes: nvBytes
        case .nvIndices: nvIndices
        case .persistentObjects: persistentObjects
        case .primaries: primaries
        }
    }

    /// TPM_PT_MAX_COMMAND_SIZE and TPM_PT_MAX_RESPONSE_SIZE, in bytes
    package static let commandSize = 4096
    /// TPM_PT_INPUT_BUFFER: TPM2B_MAX_BUFFER, in bytes
    package static let inputBuffer = 1024
    /// TPM2B_EVENT, in bytes
    package static let eventSize = 1024
    /// TPM_PT_NV_BUFFER_MAX: TPM2B_MAX_NV_BUFFER, in bytes
    package static let nvBuffer = 1024
    /// TPM_PT_MAX_CAP_BUFFER: TPMS_CAPABILITY_DATA and moreData, in bytes
    package static let capabilityBuffer = 1024
    /// Authorization sessions in one command
    package static let sessionsPerCommand = 3
    /// TPM2B_NAME, in bytes: TPMU_NAME, which is as large as the reference code's union of a TPMT_HA and a handle
    package static let nameMax = 68
    /// TPM2B_PRIVATE, in bytes
    package static let privateMax = 2048
}
