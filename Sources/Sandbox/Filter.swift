// A profile's system calls as a filter in the kernel, through libseccomp.
import CSeccomp
import Glibc

extension Profile {
    /// Any call that no rule permits ends the process, and so does one of another architecture.
    func filterCalls() throws(SandboxError) {
        guard let filter = seccomp_init(SCMP_ACT_KILL_PROCESS) else { throw .failed("the system call filter", ENOMEM) }
        // The kernel has its own copy once it is loaded.
        defer { seccomp_release(filter) }
        try check("the system call filter", seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS))
        for call in calls {
            let number = seccomp_syscall_resolve_name(call.name)
            guard number != __NR_SCMP_ERROR else { throw .failed("the system call \(call.name)", ENOSYS) }
            for comparisons in call.comparisons {
                try check("the system call \(call.name)", seccomp_rule_add_array(
                    filter, SCMP_ACT_ALLOW, number, UInt32(comparisons.count), comparisons))
            }
        }
        try check("the system call filter", seccomp_load(filter))
    }

    /// libseccomp returns a negative errno.
    private func check(_ name: String, _ result: Int32) throws(SandboxError) {
        guard result == 0 else { throw .failed(name, -result) }
    }
}

extension PermittedCall {
    /// One rule for each combination of alternatives: within a rule all comparisons hold, and one rule is enough.
    fileprivate var comparisons: [[scmp_arg_cmp]] {
        conditions.reduce([[]]) { rules, condition in
            rules.flatMap { rule in condition.comparisons.map { rule + [$0] } }
        }
    }
}

extension ArgumentCondition {
    /// An int argument's upper half is whatever the caller's register held, so only the lower is compared.
    private static let int: UInt64 = 0xFFFF_FFFF

    fileprivate var comparisons: [scmp_arg_cmp] {
        switch test {
        case .isOneOf(let values): values.map { comparison(mask: Self.int, value: $0) }
        case .lacks(let bits): [comparison(mask: UInt64(UInt32(bitPattern: bits)), value: 0)]
        case .has(let bits): [comparison(mask: UInt64(UInt32(bitPattern: bits)), value: bits)]
        }
    }

    private func comparison(mask: UInt64, value: Int32) -> scmp_arg_cmp {
        scmp_arg_cmp(arg: argument, op: SCMP_CMP_MASKED_EQ, datum_a: mask, datum_b: UInt64(UInt32(bitPattern: value)))
    }
}
