# The demonstration's verifier: it has the host's evidence and certificate, and asks both guests. Sourced by scripts/demo.

# attest GUEST OTHER
attest() {
  local v=$work/verifier
  mkdir "$v"
  "$programs/paratpmctl" host enrol --out "$v/evidence"
  "$programs/paratpmctl" host certificate >"$v/host.pem"
  "$programs/paratpmctl" host pcrs >"$v/host.pcrs"
  deep_quote "$@"
  ordinary_quote "$1"
}

guest_id() { "$programs/paratpmctl" guest list | sed -n "s/^$1\t//p"; }

# verify FILE MORE…: what paratpmctl attest verify says, without the broker's directory
verify() { env -u PARATPM_DIR "$programs/paratpmctl" attest verify "$1" --nonce $nonce --host-evidence "$work/verifier/evidence" "${@:2}"; }
holds() { verify "$@" >"$work/verifier/said" 2>&1; }
refuses() { ! verify "${@:2}" >"$work/verifier/said" 2>&1 && grep -q "^BROKEN  $1" "$work/verifier/said"; }

certified() { openssl verify -CAfile "$work/verifier/host.pem" "$1" >/dev/null; }

deep_quote() {
  local v=$work/verifier answer nonce
  echo "A verifier far away, with a nonce: deep quotes"
  nonce=$(od -An -N16 -tx1 /dev/urandom | tr -d ' ')
  answer=$(ask "$1" prove "$("$programs/paratpmctl" attest request --nonce $nonce --pcrs sha256:0,1,2,3,4,5,6,7,16 | base64 -w 0)")
  value bundle "$answer" | base64 -d >"$v/bundle"
  answer=$(ask "$2" prove "$("$programs/paratpmctl" attest request --nonce $nonce --pcrs sha256:0,1,2,3,4,5,6,7 | base64 -w 0)")
  value bundle "$answer" | base64 -d >"$v/other"
  value log "$answer" | base64 -d >"$v/log"
  claim "$1's is proved to be hers, on this host: $(wc -c <"$v/bundle") bytes, one signature of the chip" \
    holds "$v/bundle" --guest "$(guest_id "$1")" --host-pcrs "$v/host.pcrs"
  sed 's/^/      /' "$v/said" | cut -c 1-118
  claim "$2's is not $1's" refuses guest "$v/other" --guest "$(guest_id "$1")"
  printf '\1' | dd of="$v/bundle" bs=1 seek=200 conv=notrunc status=none
  claim "with a byte changed it is nobody's" refuses '' "$v/bundle"
  [ ! -s "$v/log" ] || claim "the event log of $2's firmware leads to PCRs 0 to 7 ($(wc -c <"$v/log") bytes)" holds "$v/other" --event-log "$v/log"
}

# As Keylime's registrar does it: the certificate of the endorsement key, a credential for the attestation key, and then quotes by that.
ordinary_quote() {
  local v=$work/verifier answer file
  echo "Ordinary quotes, by a key of $1's own"
  answer=$(ask "$1" enrol)
  for file in certificate ek ak; do value $file "$answer" | base64 -d >"$v/$file"; done
  openssl x509 -inform der -in "$v/certificate" -out "$v/ek.pem"
  claim "the host certified her endorsement key ($(openssl x509 -in "$v/ek.pem" -noout -subject | cut -c 9-32)…)" \
    certified "$v/ek.pem"
  echo "a secret for $1" >"$v/secret"
  tpm2_makecredential -Q -T none -u "$v/ek" -s "$v/secret" -n "$(value name "$answer")" -o "$v/credential" 2>/dev/null
  answer=$(ask "$1" activate "$(base64 -w 0 "$v/credential")")
  claim "only her TPM opens a credential that is encrypted to that key" same "$(value secret "$answer")" "$(base64 -w 0 "$v/secret")"
  answer=$(ask "$1" quote 0badc0de)
  for file in quote signature pcrs; do value $file "$answer" | base64 -d >"$v/$file"; done
  claim "tpm2_checkquote accepts her quote" tpm2_checkquote -Q -u "$v/ak" -m "$v/quote" -s "$v/signature" -f "$v/pcrs" -q 0badc0de -g sha256
  claim "and not for another nonce" fails tpm2_checkquote -Q -u "$v/ak" -m "$v/quote" -s "$v/signature" -f "$v/pcrs" -q 0badc0df -g sha256
}

fails() { ! "$@" 2>/dev/null; }
