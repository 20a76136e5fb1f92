// libseccomp: from a list of system calls to a filter in the kernel.
#pragma once
#include <seccomp.h>
