// Confinement as a step of a daemon's start: what goes wrong there ends the program.
import Sandbox
import SystemMap

/// Before anything is acquired: whether this kernel can confine a process.
package func checkConfinable(allowsUnconfined: Bool) throws(Failure) {
    do throws(SandboxError) { try KernelSupport.require(allowsUnconfined: allowsUnconfined) } catch {
        throw Failure(.unavailable, error.description)
    }
}

/// From here on the process can do what the profile says.
package func confine(_ profile: Profile, _ role: Role, allowsUnconfined: Bool) throws(Failure) {
    do throws(SandboxError) { try profile.confine(role, allowsUnconfined: allowsUnconfined) } catch {
        throw Failure(.unavailable, error.description)
    }
}
