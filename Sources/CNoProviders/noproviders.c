// The list of providers that libcrypto has built in, empty. Our daemons use libcrypto's arithmetic (digests, AES, big numbers, curves)
// directly and never EVP, so no provider is ever asked; but a static link takes this list, with all algorithms behind it, 150 kB of
// relocated tables in every process. Linked dynamically (debug builds, paratpm-device) libcrypto keeps its own list.
#include "noproviders.h"

// const OSSL_PROVIDER_INFO ossl_predefined_providers[]: an entry whose name is NULL ends it; no entry is larger than this.
const void *const ossl_predefined_providers[8] = {0};
