// Part 3, 26: miscellaneous management functions.
import TPMWire
import Wire

extension TPMCommandCode {
    /// The commands whose authorization by the platform takes physical presence (TPM_CAP_PP_COMMANDS). PP_Commands could make others
    /// need it, but it needs it itself, and a virtual machine has nobody to press a button.
    static let needingPresence: [TPMCommandCode] = [.ppCommands]
}

extension VirtualTPM {
    /// TPM2_PP_Commands (26.2): the authorization has failed already, for want of physical presence.
    func ppCommands(_ call: inout CommandCall) throws(TPMRC) -> Reply { throw .pp }

    /// TPM2_SetAlgorithmSet (26.3)
    func setAlgorithmSet(_ call: inout CommandCall) throws(TPMRC) -> Reply {
        let algorithmSet = try call.parameters.next(UInt32.self)
        try call.parameters.finish()

        durable.settings.algorithmSet = algorithmSet
        durable.save(.settings)
        return .empty
    }
}
