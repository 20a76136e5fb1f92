// What tests of the gate expect to be told, and by whom.
import IPC
import TPMWire

/// The response code, or the status, with which a call is refused; nil: it succeeded; what no expectation names: it went wrong otherwise.
package func refusal(_ body: () throws -> Void) -> UInt32? {
    do {
        try body()
        return nil
    } catch IPCError.status(let status) {
        return status.rawValue
    } catch {
        return .max
    }
}

/// TPM_RC_BAD_AUTH and TPM_RC_POLICY_FAIL for session 1: nothing but the chip says these.
package let chipRefuses = TPMRC.badAuth.session(1).rawValue
package let chipRefusesPolicy = TPMRC.policyFail.session(1).rawValue
package let notPermitted = CallStatus.notPermitted.rawValue
