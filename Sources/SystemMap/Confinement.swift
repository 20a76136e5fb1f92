// Which profile belongs to which process, and how a process enters it.
import Sandbox

/// A process with a profile. All but the spawner and the relay, which are parts of the door's program, have an executable of their own.
package enum ConfinedRole: String, CaseIterable, Sendable {
    case device, pcr, policy, guest, spawner, relay, proxy

    /// The profile as it is when everything is where it usually is.
    package func profile(_ instance: Instance) -> Profile {
        switch self {
        case .device: .device(instance, chip: .node("/dev/tpm0"))
        case .pcr: .pcr(instance)
        case .policy: .policy(instance)
        case .guest: .guest(removing: ["DIRECTORY OF ITS SOCKETS"])
        case .spawner: .spawner(proxy: Role.proxy.rawValue)
        case .relay: .relay
        case .proxy: .proxy
        }
    }
}

extension Profile {
    /// Enters the profile. What the kernel lacks, if that is allowed, goes into the log.
    package func confine(_ role: Role, allowsUnconfined: Bool) throws(SandboxError) {
        for what in try enter(allowsUnconfined: allowsUnconfined) {
            log(.warning, role, "\(allowUnconfinedOption): it runs without a \(what)")
        }
    }
}

/// The option that starts a process which this kernel cannot confine.
package let allowUnconfinedOption = "--allow-unconfined"
