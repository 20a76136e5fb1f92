#!/usr/bin/env python3
"""Checks a deep quote of paratpm: a second reading of docs/attestation.md, with nothing of paratpm in it.
usage: verify_deep_quote.py BUNDLE EVIDENCE NONCE_HEX [EK_NAME_HEX]"""
import hashlib, hmac, struct, sys

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256

SIZES = {0x04: 20, 0x0B: 32, 0x0C: 48, 0x0D: 64}
RESTRICTED_SIGNER = 0x00050032  # sign, restricted, sensitiveDataOrigin, fixedParent, fixedTPM

class Refused(Exception):
    pass

def need(condition, why):
    if not condition:
        raise Refused(why)

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0
    def take(self, count):
        need(self.at + count <= len(self.data), "truncated")
        self.at += count
        return self.data[self.at - count:self.at]
    def number(self, size):
        return int.from_bytes(self.take(size), "big")
    def sized(self):
        return self.take(self.number(2))
    def selection(self):
        """TPML_PCR_SELECTION: its bytes, and the (bank, PCR) pairs in order."""
        start, pairs = self.at, []
        for _ in range(self.number(4)):
            bank, bitmap = self.number(2), self.take(self.number(1))
            pairs += [(bank, i) for i in range(len(bitmap) * 8) if bitmap[i // 8] >> i % 8 & 1]
        return self.data[start:self.at], pairs
    def end(self):
        need(self.at == len(self.data), "bytes left over")

def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def sized(data):
    return struct.pack(">H", len(data)) + data

def name(public):
    """nameAlg || H(TPMT_PUBLIC); all of the host's keys have SHA-256."""
    need(public[2:4] == b"\x00\x0b", "nameAlg is not SHA-256")
    return public[2:4] + sha256(public)

def ecc_key(public):
    r = Reader(public)
    need(r.number(2) == 0x23, "no key of an elliptic curve")
    r.take(2)
    attributes, _, _ = r.number(4), r.sized(), r.take(2)  # policy; symmetric: TPM_ALG_NULL
    need(r.take(4) == b"\x00\x18\x00\x0b" and r.take(2) == b"\x00\x03", "no key for ECDSA with SHA-256 on P-256")
    _, x, y = r.take(2), r.sized(), r.sized()  # kdf: TPM_ALG_NULL
    r.end()
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    return attributes, numbers.public_key()

def check_signature(key, data, signature):
    r = Reader(signature)
    need(r.take(4) == b"\x00\x18\x00\x0b", "no ECDSA signature with SHA-256")
    pair = utils.encode_dss_signature(int.from_bytes(r.sized(), "big"), int.from_bytes(r.sized(), "big"))
    r.end()
    try:
        key.verify(pair, data, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise Refused("a wrong signature") from None

def attest(data, tag):
    """TPMS_ATTEST: qualifiedSigner, extraData, and a reader of what is attested."""
    r = Reader(data)
    need(r.take(4) == b"\xffTCG" and r.number(2) == tag, "not such a statement of a TPM")
    signer, extra = r.sized(), r.sized()
    r.take(17 + 8)
    return signer, extra, r

def kdfa(seed, label, context, bits):
    return hmac.new(seed, struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits), "sha256").digest()[:bits // 8]

def check_evidence(data, pinned):
    r = Reader(data)
    need(r.take(6) == b"PTHE\x00\x01", "no evidence of version 1")
    ek, _, ak, ck, certificate, creation = (r.sized() for _ in range(6))
    seed, credential, blob = (r.sized() for _ in range(3))
    claim = r.data[:r.at]
    statement, signature = r.sized(), r.sized()
    r.end()
    need(pinned is None or name(ek) == pinned, "not the pinned endorsement key")
    attributes, key = ecc_key(ak)
    need(attributes & RESTRICTED_SIGNER == RESTRICTED_SIGNER, "the attestation key is not restricted")
    mac, secret = blob[2:34], blob[34:]
    need(hmac.new(kdfa(seed, b"INTEGRITY", b"", 256), secret + name(ak), "sha256").digest() == mac, "activated for another key")
    aes = Cipher(algorithms.AES(kdfa(seed, b"STORAGE", name(ak), 128)), modes.CFB(bytes(16))).decryptor()
    need(aes.update(secret) == sized(credential), "activated with another credential")
    check_signature(key, statement, signature)
    signer, extra, r = attest(statement, 0x801A)
    need(extra == sha256(b"paratpm host evidence 1\0", claim), "certified for other evidence")
    need(r.sized() == name(ck) and r.sized() == sha256(creation), "another key was certified")
    c = Reader(creation)
    c.selection(), c.sized(), c.take(3), c.sized()
    need(signer == b"\x00\x0b" + sha256(c.sized(), name(ak)), "certified by another key")
    own = x509.load_der_x509_certificate(certificate).public_key().public_numbers()
    need(own == ecc_key(ck)[1].public_numbers(), "not the certificate key's certificate")
    return ak, key, signer

def split(data, pairs):
    r = Reader(data)
    found = {pair: r.take(SIZES[pair[0]]) for pair in pairs}
    r.end()
    return found

def check_bundle(data, evidence, nonce, pinned=None):
    """Returns the guest's identity, its vPCRs and the host's PCRs, by (bank, PCR)."""
    ak, key, signer = check_evidence(evidence, pinned)
    r = Reader(data)
    need(r.take(6) == b"PTDQ\x00\x01", "no deep quote of version 1")
    guest, given, boot = r.take(32), r.sized(), r.take(8)
    (selection, pairs), values, host_values = r.selection(), r.sized(), r.sized()
    statement, signature, bundle_ak, evidence_id = r.sized(), r.sized(), r.sized(), r.take(32)
    r.end()
    need(evidence_id == sha256(evidence) and bundle_ak == ak, "another host's")
    check_signature(key, statement, signature)
    by, extra, r = attest(statement, 0x8018)
    need(by == signer, "signed by another key")
    bound = sha256(b"paratpm deep quote 1\0", guest, sized(given), selection, sized(values), boot)
    need(extra == bound, "quoted for another guest, nonce, boot, or other vPCRs")
    need(given == nonce, "another nonce")
    host_pairs, digest = r.selection()[1], r.sized()
    need(digest == sha256(host_values), "other PCRs of the host were quoted")

    return guest, split(values, pairs), split(host_values, host_pairs)

if __name__ == "__main__":
    bundle, evidence = (open(path, "rb").read() for path in sys.argv[1:3])
    pin = bytes.fromhex(sys.argv[4]) if len(sys.argv) > 4 else None
    try:
        who, vpcrs, pcrs = check_bundle(bundle, evidence, bytes.fromhex(sys.argv[3]), pin)
    except (Refused, ValueError, KeyError) as error:
        sys.exit(f"refused: {error}")
    for title, values in ((f"guest {who.hex()}", vpcrs), ("host", pcrs)):
        print(title, *(f"  {bank:#06x}:{pcr} {value.hex()}" for (bank, pcr), value in values.items()), sep="\n")
