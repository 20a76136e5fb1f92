"""Enrols the TPM behind TPM2TOOLS_TCTI: Keylime's code says whether what the guest shows holds. The argument is the certificate store."""
import base64
import logging
import subprocess
import sys

# Keylime says at once that it has no configuration file.
logging.disable(logging.CRITICAL)

import cryptography.x509
from keylime import cert_utils
from keylime.tpm import tpm2_objects
from keylime.tpm.tpm_main import Tpm

NONCE = "a nonce of Keylime's"


def guest(*arguments):
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def contents(name):
    with open(name, "rb") as file:
        return file.read()


def claim(what, holds):
    print("ok   " if holds else "FAIL ", what)
    if not holds:
        sys.exit(1)


def quote_checks(attestation_key, nonce):
    quote = "r" + ":".join(base64.b64encode(contents(name)).decode() for name in ("quote", "signature", "pcrs"))
    values, problem = Tpm._tpm2_checkquote(base64.b64encode(attestation_key).decode(), quote, nonce, "sha256", False)
    return len(values) == 3 and problem == ""


guest("tpm2_createek", "-G", "rsa", "-c", "ek.ctx", "-u", "ek")
guest("tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "rsa", "-g", "sha256", "-s", "rsassa", "-u", "ak")
guest("tpm2_readpublic", "-c", "ek.ctx", "-f", "tss", "-o", "ek.tss")
guest("tpm2_readpublic", "-c", "ak.ctx", "-f", "tss", "-o", "ak.tss")
guest("tpm2_nvread", "0x1c00002", "-o", "certificate")
endorsement_key, attestation_key = contents("ek.tss"), contents("ak.tss")

# The registrar
claim("a certificate of the store signed that of the endorsement key", cert_utils.verify_ek(contents("certificate"), sys.argv[1]))
certified = cryptography.x509.load_der_x509_certificate(contents("certificate")).public_key()
shown = tpm2_objects.pubkey_from_tpm2b_public(endorsement_key)
claim("which is of this endorsement key", certified.public_numbers() == shown.public_numbers())
credential, secret = Tpm.encrypt_aik_with_ek("guest", endorsement_key, attestation_key)
with open("credential", "wb") as file:
    file.write(base64.b64decode(credential))
guest("tpm2_startauthsession", "--policy-session", "-S", "session")
guest("tpm2_policysecret", "-S", "session", "-c", "e")
guest("tpm2_activatecredential", "-c", "ak.ctx", "-C", "ek.ctx", "-i", "credential", "-o", "opened", "-P", "session:session")
claim("the attestation key is in the same TPM", base64.b64encode(contents("opened")).decode() == secret)

# The verifier
guest("tpm2_quote", "-c", "ak.ctx", "-l", "sha256:0,7,16", "-q", NONCE.encode().hex(), "-m", "quote", "-s", "signature", "-o", "pcrs", "-g", "sha256")
claim("its quote verifies", quote_checks(attestation_key, NONCE))
claim("and for another nonce it does not", not quote_checks(attestation_key, NONCE + "?"))
