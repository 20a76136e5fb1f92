// For tests of the sandbox: system calls with any number and arguments, past the C library.
#pragma once

/// The call's result, or -errno.
long attempt_call(long number, const long arguments[6]);
/// From here on the system call fails with ENOSYS, here and in children: a kernel that does not have it. 0, or -1 (errno).
int attempt_remove_call(long number);
