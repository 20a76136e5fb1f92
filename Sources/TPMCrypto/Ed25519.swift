import CCrypto
func ed25519PublicKey(_ seed: [UInt8]) -> [UInt8] {
    let k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, seed, 32); defer { EVP_PKEY_free(k) }
    var o = [UInt8](repeating: 0, count: 32); var n = 32
    EVP_PKEY_get_raw_public_key(k, &o, &n); return o
}
func ed25519Sign(_ m: [UInt8], seed: [UInt8], publicKey: [UInt8]) -> [UInt8] {
    let k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, seed, 32); defer { EVP_PKEY_free(k) }
    let c = EVP_MD_CTX_new(); defer { EVP_MD_CTX_free(c) }
    EVP_DigestSignInit(c, nil, nil, nil, k)
    var o = [UInt8](repeating: 0, count: 64); var n = 64
    EVP_DigestSign(c, &o, &n, m, m.count); return o
}
func ed25519Verify(_ s: [UInt8], message m: [UInt8], publicKey: [UInt8]) -> Bool {
    guard s.count == 64, publicKey.count == 32 else { return false }
    let k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, publicKey, 32); defer { EVP_PKEY_free(k) }
    let c = EVP_MD_CTX_new(); defer { EVP_MD_CTX_free(c) }
    EVP_DigestVerifyInit(c, nil, nil, nil, k)
    return EVP_DigestVerify(c, s, s.count, m, m.count) == 1
}
