// What libcrypto's arithmetic (big numbers, curves, AES, digests) needs of the rest of libcrypto, for static links.
//
// Our small daemons call that arithmetic and nothing else. A static link would still bring in the frame around it, each part for the
// sake of the next: error texts, start-up, configuration files, providers, engines, ASN.1, X.509. That is 180 kB of relocated tables
// in every process, and much code within reach of one that a guest took over. The few symbols by which the arithmetic holds on to
// the frame are defined here instead. They are hidden: a dynamic link, if ever, keeps libcrypto's own.
//
// Written for OpenSSL 3.0, as in Debian 12. With another version the whole library is linked: larger, otherwise the same.
#include "core.h"

#include <openssl/opensslv.h>
#include <stdlib.h>
#include <sys/random.h>

#if defined(PARATPM_STATIC) && OPENSSL_VERSION_MAJOR == 3 && OPENSSL_VERSION_MINOR == 0

#define CORE __attribute__((visibility("hidden")))
// Referred to by functions that we do not call.
#define NEVER_CALLED(name) \
    CORE void name(void) { abort(); }

// Errors: our callers go by the result of each function, and tell nobody libcrypto's reasons.
CORE void ERR_new(void) {}
CORE void ERR_set_debug(const char *file, int line, const char *function) {}
CORE void ERR_set_error(int library, int reason, const char *format, ...) {}
CORE void ERR_clear_error(void) {}
CORE int ERR_set_mark(void) { return 1; }
CORE int ERR_pop_to_mark(void) { return 1; }
CORE int ERR_clear_last_mark(void) { return 1; }
CORE unsigned long ERR_peek_last_error(void) { return 0; }

// Start-up: nothing is left to start.
CORE int OPENSSL_init_crypto(unsigned long long options, const void *settings) { return 1; }

// Random numbers, with which curve arithmetic blinds its points: the kernel's.
CORE int RAND_bytes_ex(void *context, unsigned char *buffer, size_t count, unsigned int strength)
{
    while (count > 0) {
        ssize_t got = getrandom(buffer, count, 0);
        if (got < 0)
            continue;  // interrupted: no other error is possible with these arguments
        buffer += got;
        count -= (size_t)got;
    }
    return 1;
}
CORE int RAND_priv_bytes_ex(void *context, unsigned char *buffer, size_t count, unsigned int strength)
{
    return RAND_bytes_ex(context, buffer, count, strength);
}
CORE int RAND_set_rand_method(const void *method) { return 1; }

// A new curve asks whether it has an ASN.1 name. It has, and nobody will ask for it.
CORE const void *OBJ_nid2obj(int nid)
{
    static const char name;
    return &name;
}
CORE size_t OBJ_length(const void *object) { return 1; }
CORE void ASN1_OBJECT_free(void *object) {}

// The nonces of libcrypto's own DSA.
NEVER_CALLED(EVP_DigestFinal_ex)
NEVER_CALLED(EVP_DigestInit_ex)
NEVER_CALLED(EVP_DigestUpdate)
NEVER_CALLED(EVP_MD_CTX_free)
NEVER_CALLED(EVP_MD_CTX_new)
NEVER_CALLED(EVP_MD_fetch)
NEVER_CALLED(EVP_MD_free)
NEVER_CALLED(OBJ_nid2sn)
// Curves from parameters.
NEVER_CALLED(OSSL_PARAM_get_BN)
NEVER_CALLED(OSSL_PARAM_get_int)
NEVER_CALLED(OSSL_PARAM_get_utf8_ptr)
NEVER_CALLED(OSSL_PARAM_locate_const)
NEVER_CALLED(ossl_ec_encoding_param2id)
NEVER_CALLED(ossl_ec_pt_format_param2id)
// EC_KEY.
NEVER_CALLED(CRYPTO_get_ex_data)
NEVER_CALLED(CRYPTO_set_ex_data)
NEVER_CALLED(ossl_ec_key_simple_check_key)
NEVER_CALLED(ossl_ec_key_simple_generate_key)
NEVER_CALLED(ossl_ec_key_simple_generate_public_key)
NEVER_CALLED(ossl_ec_key_simple_oct2priv)
NEVER_CALLED(ossl_ec_key_simple_priv2oct)
NEVER_CALLED(ossl_ecdh_simple_compute_key)
NEVER_CALLED(ossl_ecdsa_simple_sign_setup)
NEVER_CALLED(ossl_ecdsa_simple_sign_sig)
NEVER_CALLED(ossl_ecdsa_simple_verify_sig)

#endif
