// A command to the chip before it is authorised.
import ChipClient
import TPMCrypto
import TPMWire

struct ChipCommand {
    let code: TPMCommandCode
    var entities: [Entity] = []
    var authorization: Authorization = .none
    var parameters: [UInt8] = []

    enum Authorization {
        case none
        /// TPM_RS_PW with the empty auth that our own objects have.
        case password
        /// The chip's salted session, with `decrypt` and `encrypt` as they are given.
        case salted(SessionAttributes)
        /// A session that `auth` alone keys, for one command.
        case proof(Secret)
        /// A salted policy session that allows this command code, for one command.
        case commandPolicy(SessionAttributes)
        /// A policy session that needs no HMAC and ends with the command.
        case policy(TPMHandle)
        /// TPM_RS_PW for the first entity, and for the second a policy session that needs no HMAC.
        case passwordThenPolicy(TPMHandle)
        /// The policy checker's session, which is only carried.
        case carried(AuthCommand)
    }
}
