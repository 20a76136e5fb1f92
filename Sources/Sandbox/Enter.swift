// Entering a profile: from here on the process can do what the profile says, and there is no way back.
import CSystem
import Glibc

package enum SandboxError: Error, Equatable, CustomStringConvertible {
    /// The kernel cannot confine a process.
    case missing(String)
    /// One step failed with this errno.
    case failed(String, Int32)

    package var description: String {
        switch self {
        case .missing(let what):
            "this kernel has no \(what), so nothing would hold the process if it were taken over; --allow-unconfined starts it all the same"
        case .failed(let step, let code): "cannot confine itself: \(step): \(String(cString: strerror(code)))"
        }
    }
}

package enum KernelSupport {
    /// What a process with a profile needs of the kernel and this one lacks; empty: nothing.
    package static var missing: [String] {
        var missing: [String] = []
        if csystem_seccomp_probe() != 0 { missing.append("system call filter (seccomp with SECCOMP_RET_KILL_PROCESS)") }
        if csystem_landlock_version() < 1 { missing.append("Landlock") }
        return missing
    }

    /// Before anything is acquired: whether `enter` will have what it needs.
    package static func require(allowsUnconfined: Bool) throws(SandboxError) {
        if !allowsUnconfined, let what = missing.first { throw .missing(what) }
    }
}

extension Profile {
    /// Confines the process, which has one thread: close-on-exec on whatever it inherited, limits, no core dumps, no debugger, no
    /// new privileges, Landlock, and last the system call filter.
    /// - Parameter allowsUnconfined: go on without what the kernel lacks.
    /// - Returns: what it lacks.
    @discardableResult
    package func enter(allowsUnconfined: Bool = false) throws(SandboxError) -> [String] {
        try KernelSupport.require(allowsUnconfined: allowsUnconfined)
        try step("close-on-exec", csystem_close_on_exec_from(3))
        for limit in limits { try step("the limit of \(limit.resource.rawValue)", csystem_limit(limit.resource.number, limit.most)) }
        try step("no new privileges", csystem_harden())
        let version = csystem_landlock_version()
        if version >= 1 { try restrictFiles(version) }
        if csystem_seccomp_probe() == 0 { try filterCalls() }
        return allowsUnconfined ? KernelSupport.missing : []
    }
}

func step(_ name: String, _ result: Int32) throws(SandboxError) {
    guard result == 0 else { throw .failed(name, errno) }
}

extension ResourceLimit.Resource {
    fileprivate var number: Int32 {
        switch self {
        case .core: Int32(RLIMIT_CORE.rawValue)
        case .data: Int32(RLIMIT_DATA.rawValue)
        case .descriptors: Int32(RLIMIT_NOFILE.rawValue)
        }
    }
}
