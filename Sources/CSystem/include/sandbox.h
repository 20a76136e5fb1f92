// C shims for confinement: calls that the C library does not have (Landlock, close_range's flags) or that are variadic (prctl).
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// No core dumps of secrets, no ptrace by the same user, no new privileges. 0, or -1 (errno).
int csystem_harden(void);
/// Sets close-on-exec on every descriptor from `first` on. 0, or -1 (errno).
int csystem_close_on_exec_from(unsigned first);
/// Closes every descriptor from `first` on but `kept`. 0, or -1 (errno).
int csystem_close_from(unsigned first, unsigned kept);
/// Sets both limits of a RLIMIT_… to `most`, or to the present hard limit where that is less. 0, or -1 (errno).
int csystem_limit(int resource, uint64_t most);

/// Whether the kernel can filter system calls and end the process on one. 0, or -1 (errno).
int csystem_seccomp_probe(void);
/// Landlock's version (ABI), or -1 (errno: ENOSYS it is not built in, EOPNOTSUPP it is switched off).
int csystem_landlock_version(void);
/// A ruleset that denies the access rights `files` (LANDLOCK_ACCESS_FS_…) and closes the scopes `scopes` (LANDLOCK_SCOPE_…).
/// Returns a descriptor, or -1 (errno).
int csystem_landlock_ruleset(uint64_t files, uint64_t scopes);
/// Grants rights at `path` and everything below it, but no others than the file there can have. 0, or -1 (errno).
int csystem_landlock_grant(int ruleset, const char *path, uint64_t rights);
/// From here on, for this process and its children. 0, or -1 (errno).
int csystem_landlock_restrict(int ruleset);

/// The library that holds this address is never unloaded.
void csystem_keep_loaded(const void *address);

/// fork. The child has one thread, and its parent's memory.
pid_t csystem_fork(void);
