// Apart from the rest, so that a static executable, which loads no libraries, links none of it.
#define _GNU_SOURCE
#include "sandbox.h"
#include <dlfcn.h>

void csystem_keep_loaded(const void *address) {
    Dl_info library;
    if (address && dladdr(address, &library)) dlopen(library.dli_fname, RTLD_NOW | RTLD_NODELETE);
}
