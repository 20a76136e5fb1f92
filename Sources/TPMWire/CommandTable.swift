// The command table: every fact about a command stands once, in its row.
// Dispatch, GetCapability, policy words, documents and tests read the row.
import Wire

/// What a handle in a command's handle area may be: its interface type in Part 2, 9.
package enum HandleKind: Sendable {
    /// TPMI_DH_PCR
    case pcr
    /// TPMI_DH_PCR+
    case pcrOrNull
    /// TPMI_DH_OBJECT
    case object
    /// TPMI_DH_OBJECT+
    case objectOrNull
    /// TPMI_DH_ENTITY
    case entity
    /// TPMI_DH_ENTITY+
    case entityOrNull
    /// TPMI_RH_HIERARCHY+
    case hierarchyOrNull
    /// TPMI_RH_HIERARCHY: owner, endorsement, platform
    case hierarchy
    /// TPMI_RH_HIERARCHY_AUTH: owner, endorsement, platform, lockout
    case hierarchyAuth
    /// TPMI_RH_PROVISION: owner, platform
    case provision
    /// TPMI_RH_CLEAR: lockout, platform
    case clear
    /// TPMI_RH_PLATFORM
    case platform
    /// TPMI_RH_LOCKOUT
    case lockout
    /// TPMI_RH_ENDORSEMENT
    case endorsement
    /// TPMI_RH_NV_INDEX
    case nvIndex
    /// TPMI_RH_NV_AUTH: owner, platform, or the index itself
    case nvAuth
    /// TPMI_SH_AUTH_SESSION
    case session
    /// TPMI_SH_HMAC
    case hmacSession
    /// TPMI_SH_POLICY
    case policySession
    /// TPMI_DH_CONTEXT: a session or a transient object
    case context
    /// TPMI_DH_PARENT+: an object or a hierarchy
    case parent
}

/// The authorization that a handle needs (Part 1, 19.2)
package enum AuthRole: Sendable { case user, admin, dup }

package struct HandleSlot: Sendable {
    package let kind: HandleKind
    /// nil: no authorization
    package let role: AuthRole?
    package static func plain(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: nil) }
    package static func user(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: .user) }
    package static func admin(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: .admin) }
    package static func dup(_ kind: HandleKind) -> HandleSlot { HandleSlot(kind: kind, role: .dup) }
}

/// How paratpm answers a command (docs/architecture.md, "Three classes of command").
package enum CommandClass: Sendable {
    /// Semantics only: the chip is not asked.
    case answered
    /// The chip does a part of it for the guest.
    case backed
    /// The guest's TPM does not have it: TPM_RC_COMMAND_CODE, and GetCapability does not list it.
    case refused
}

package struct CommandRow: Sendable {
    package let code: TPMCommandCode
    /// The name without TPM2_, as Part 3 writes it.
    package let name: String
    /// Section of Part 3: revision 1.59, or 1.83 where that has no such command.
    package let section: String
    package let commandClass: CommandClass
    package let handles: [HandleSlot]
    package let flags: Flags
    /// What the chip does for it, and why it is virtualised so: accuracy against complexity.
    package let note: String

    package struct Flags: OptionSet, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }
        /// TPMA_CC.nv: the command may write NV.
        package static let nv = Self(rawValue: 1 << 0)
        /// TPMA_CC.extensive: it may flush any number of loaded contexts.
        package static let extensive = Self(rawValue: 1 << 1)
        /// TPMA_CC.flushed: it flushes the context of a transient handle that it names.
        package static let flushed = Self(rawValue: 1 << 2)
        /// TPMA_CC.rHandle: the response has a handle.
        package static let responseHandle = Self(rawValue: 1 << 3)
        /// The first command parameter is a TPM2B, so a session may decrypt it.
        package static let decrypts = Self(rawValue: 1 << 4)
        /// The first response parameter is a TPM2B, so a session may encrypt it.
        package static let encrypts = Self(rawValue: 1 << 5)
        /// Sessions of any kind are not allowed (TPM_ST_NO_SESSIONS only).
        package static let noSessions = Self(rawValue: 1 << 6)
        /// Allowed before TPM2_Startup.
        package static let beforeStartup = Self(rawValue: 1 << 7)
        /// Allowed in failure mode.
        package static let inFailureMode = Self(rawValue: 1 << 8)
    }

    /// TPMA_CC (Part 2, 8.9)
    package var attributes: UInt32 {
        var value = code.rawValue & 0xFFFF
        if flags.contains(.nv) { value |= 1 << 22 }
        if flags.contains(.extensive) { value |= 1 << 23 }
        if flags.contains(.flushed) { value |= 1 << 24 }
        value |= UInt32(handles.count) << 25
        if flags.contains(.responseHandle) { value |= 1 << 28 }
        return value
    }

    /// Handles whose use must be authorized come first; so many sessions are needed at least.
    package var authorizedHandles: Int { handles.count { $0.role != nil } }
}

package enum CommandTable {
    /// Every command that a guest can call, in ascending order of code.
    package static let rows: [CommandRow] = chapters.flatMap(\.rows).filter { $0.commandClass != .refused }.sorted { $0.code < $1.code }

    /// nil for a command that the guest's TPM does not have.
    package static func row(_ code: TPMCommandCode) -> CommandRow? {
        let place = Int(code.rawValue &- firstCode)
        guard place < places.count, let index = places[place] else { return nil }
        return rows[Int(index)]
    }

    private static let firstCode = rows[0].code.rawValue
    /// Where each code's row is, from the first code on.
    private static let places: [UInt8?] = {
        var places = [UInt8?](repeating: nil, count: Int(rows[rows.count - 1].code.rawValue - firstCode) + 1)
        for (index, row) in rows.enumerated() { places[Int(row.code.rawValue - firstCode)] = UInt8(index) }
        return places
    }()

    /// Every command that Part 3 has, the refused ones too, in its order.
    package static let chapters: [CommandChapter] = [
        startUp, testing, sessionCommands, objectCommands, duplication, asymmetric, symmetric, randomNumbers, sequences,
        attestation, ephemeralKeys, signing, commandAudit, integrityCollection, enhancedAuthorization, hierarchies,
        dictionaryAttack, management, fieldUpgrade, contextManagement, clocks, capabilities, nonVolatileStorage,
        attachedComponents, countdownTimers, vendorSpecific,
    ]
}

/// A chapter of Part 3.
package struct CommandChapter: Sendable {
    package let number: Int
    package let title: String
    package let rows: [CommandRow]

    init(_ number: Int, _ title: String, _ rows: [CommandRow]) {
        (self.number, self.title, self.rows) = (number, title, rows)
    }
}

extension CommandRow {
    init(
        _ code: TPMCommandCode, _ name: String, _ section: String, _ commandClass: CommandClass,
        _ handles: [HandleSlot] = [], _ flags: Flags = [], note: String
    ) {
        self.init(code: code, name: name, section: section, commandClass: commandClass, handles: handles, flags: flags, note: note)
    }

    static func refused(_ code: TPMCommandCode, _ name: String, _ section: String, note: String) -> CommandRow {
        CommandRow(code, name, section, .refused, note: note)
    }
}
