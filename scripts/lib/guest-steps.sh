#!/bin/sh
# What a guest of the demonstration does with its TPM: stock tpm2-tools, the same inside a VM and outside. One verb a call;
# answers are lines of key=value. The working directory keeps the guest's files from one verb to the next.
set -eu

srk=0x81000001
index=0x1500016
pcr=sha256:16

# tpm2-tools leave objects in a TPM that has no resource manager in front.
tidy() { tpm2_flushcontext -t; }

# extend EVENT: measures it into PCR 16
extend() { tpm2_pcrextend "16:sha256=$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)"; }

# prints unsealed=SECRET, or unsealed=no and the tool's own reason
try_unseal() {
  tpm2_load -Q -C $srk -u sealed.pub -r sealed.priv -c sealed.ctx
  if tpm2_unseal -c sealed.ctx -p "pcr:$pcr" >unsealed 2>error; then echo "unsealed=$(cat unsealed)"; else reason unsealed; fi
  tidy
}

# reason KEY: prints KEY=no and why
reason() {
  echo "$1=no"
  echo "because=$(sed -n 's/^ERROR:esys.*Code (\(0x[0-9A-Fa-f]*\)).*/\1/p; s/^ERROR: .*(\(0x[0-9A-Fa-f]*\)) - \(.*\)/\1 \2/p' error | tail -n 1)"
}

# show KEY FILE: prints KEY=the file in base64
show() { echo "$1=$(base64 <"$2" | tr -d '\n')"; }

# fill FILE BASE64
fill() { echo "$2" | base64 -d >"$1"; }

log=/sys/kernel/security/tpm0/binary_bios_measurements
request_index=0x10a5000
bundle_index=0x10a5001

case $1 in
own) # NAME: a storage root key, a PCR and an NV index of its own
  tpm2_createprimary -Q -C o -G ecc -c srk.ctx
  tpm2_evictcontrol -Q -C o -c srk.ctx $srk
  tidy
  tpm2_readpublic -Q -c $srk -n srk.name
  echo "srk=$(od -An -v -tx1 srk.name | tr -d ' \n')"
  extend "$2"
  echo "pcr=$(tpm2_pcrread $pcr | sed -n 's/.*0x//p')"
  tpm2_nvdefine -Q $index -C o -s ${#2} -a 'ownerread|ownerwrite'
  printf %s "$2" | tpm2_nvwrite -Q $index -C o -i -
  echo "nv=$(tpm2_nvread $index -C o)"
  ;;
seal) # SECRET: to the value that PCR 16 has now
  tpm2_createpolicy -Q --policy-pcr -l $pcr -L sealed.policy
  printf %s "$2" | tpm2_create -Q -C $srk -L sealed.policy -i - -u sealed.pub -r sealed.priv
  tidy
  try_unseal
  echo "public=$(base64 -w 0 sealed.pub)"
  echo "private=$(base64 -w 0 sealed.priv)"
  ;;
load) # PUBLIC PRIVATE: another guest's key blobs
  echo "$2" | base64 -d >foreign.pub
  echo "$3" | base64 -d >foreign.priv
  if tpm2_load -Q -C $srk -u foreign.pub -r foreign.priv -c foreign.ctx 2>error; then echo loaded=yes; else reason loaded; fi
  tidy
  ;;
change) # EVENT: measures something more, and tries to unseal
  extend "$2"
  try_unseal
  ;;
unseal)
  try_unseal
  ;;
restore) # NAME: brings PCR 16 back to its old value, and unseals
  tpm2_pcrreset 16
  extend "$2"
  try_unseal
  ;;
prove) # REQUEST: a deep quote, and the event log of this boot where there is one
  fill request "$2"
  if tpm2_nvwrite -Q $request_index -i request 2>error; then
    tpm2_nvread $bundle_index -o bundle
    show bundle bundle
  else
    reason bundle
  fi
  [ ! -e $log ] || { cat $log >log && show log log; }
  ;;
enrol) # an attestation key under the endorsement key that the host certified
  tpm2_createek -Q -G rsa -c ek.ctx
  tidy
  tpm2_createak -Q -C ek.ctx -c ak.ctx -G ecc -g sha256 -s ecdsa -u ak.pem -f pem -n ak.name
  tidy
  tpm2_nvread 0x1c00002 -o ek.der
  tpm2_readpublic -Q -c ek.ctx -o ek.pub
  tidy
  show certificate ek.der
  show ek ek.pub
  show ak ak.pem
  echo "name=$(od -An -v -tx1 ak.name | tr -d ' \n')"
  ;;
activate) # CREDENTIAL: what it holds
  fill credential "$2"
  tpm2_startauthsession -Q --policy-session -S session
  tpm2_policysecret -Q -S session -c e
  tpm2_activatecredential -Q -c ak.ctx -C ek.ctx -i credential -o secret -P session:session
  tpm2_flushcontext session
  tidy
  show secret secret
  ;;
quote) # NONCE: an ordinary quote of PCRs 0 to 7
  tpm2_quote -Q -c ak.ctx -l sha256:0,1,2,3,4,5,6,7 -q "$2" -m quote -s signature -o pcrs -g sha256
  tidy
  show quote quote
  show signature signature
  show pcrs pcrs
  ;;
guess) # wrong passwords, then the right one
  printf %s guarded | tpm2_create -Q -C $srk -p right -i - -u guarded.pub -r guarded.priv
  tidy
  tpm2_load -Q -C $srk -u guarded.pub -r guarded.priv -c guarded.ctx
  tidy
  refused=0
  for guess in one two; do
    tpm2_unseal -Q -c guarded.ctx -p $guess >guarded 2>error || refused=$((refused + 1))
    tidy
  done
  echo "refused=$refused"
  echo "counted=$(tpm2_getcap properties-variable | sed -n 's/TPM2_PT_LOCKOUT_COUNTER: //p')"
  echo "opened=$(tpm2_unseal -c guarded.ctx -p right)"
  tidy
  ;;
esac
