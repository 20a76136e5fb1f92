// The administrator's policy as a service holds it: read at the start, and again as a whole when an administrator says so.
import HostPolicy
import IPC
import SystemMap
import Wire

package final class PolicyBook {
    private let path: String?
    private let manager: ServiceManager?
    package private(set) var current: PolicySet
    /// Rises with every reload.
    package private(set) var version = 0
    /// Of doors whose user is not the guest's.
    var refusals = LogLimiter()
    /// Called with the former policy when another came into force.
    package var changed: (_ former: PolicySet) -> Void = { _ in }

    /// The built-in policy, for ever.
    package init() {
        path = nil
        manager = nil
        current = .builtIn
    }

    /// The instance's compiled policy; the built-in one where there is none.
    /// - Parameter manager: hears when it is read again.
    package init(_ instance: Instance, manager: ServiceManager? = nil) throws(Failure) {
        path = instance.compiledPolicy
        self.manager = manager
        guard let bytes = try Files.read(instance.compiledPolicy, max: PolicySet.largest) else {
            current = .builtIn
            return
        }
        guard let set = try? PolicySet(wire: bytes) else {
            throw Failure(.dataError, "\(instance.compiledPolicy) is damaged or of another version: compile the policy again "
                + "(paratpmctl policy compile)")
        }
        current = set
    }

    package func policy(of guest: GuestName) -> GuestPolicy { current.policy(of: guest) }

    /// Takes over what the file says now.
    /// - Returns: what changed.
    package func reload() throws(CallStatus) -> [PolicyChange] {
        guard let path else { return [] }
        let new: PolicySet
        do throws(Failure) {
            let bytes = try Files.read(path, max: PolicySet.largest)
            guard let set = try? bytes.map({ try PolicySet(wire: $0) }) ?? .builtIn else {
                throw Failure(.dataError, "\(path) is damaged or of another version")
            }
            new = set
        } catch {
            log(.error, Failure.role, .policyRejected, [("reason", error.message)])
            throw .malformed
        }
        let former = current
        current = new
        version += 1
        changed(former)
        return new.changes(since: former)
    }

    /// ReloadPolicyCall, as every service answers it.
    /// - Parameter announce: what is said of each change, by the one service that says it.
    package func route<State>(announce: @escaping (PolicyChange) -> Void = { _ in }) -> Route<ServiceConnection<State>> {
        .on(ReloadPolicyCall.self) { (_, _: ServiceConnection<State>) throws(CallStatus) in
            self.manager?.reloading()
            defer { self.manager?.ready() }
            let changes = try self.reload()
            changes.forEach(announce)
            return UInt32(clamping: changes.count)
        }
    }
}
