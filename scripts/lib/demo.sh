# The demonstration's stage: narration, the chip as its owner sees it, the broker. Sourced by scripts/demo.

failures=0

note() { printf '      %s\n' "$*"; }

# claim SENTENCE COMMAND…: says the sentence, and whether the command agrees.
claim() {
  local sentence=$1
  shift
  if "$@"; then
    printf 'ok    %s\n' "$sentence"
  else
    printf 'FAIL  %s\n' "$sentence"
    failures=$((failures + 1))
  fi
}

same() { [ -n "$1" ] && [ "$1" = "$2" ]; }
differ() { [ -n "$1" ] && [ -n "$2" ] && [ "$1" != "$2" ]; }

one_handle() { [[ $1 =~ ^persistent\ handle\ 0x[0-9A-Fa-f]+,\ name\ [0-9a-f]+$ ]]; }

# value KEY ANSWER: the value in an answer's line KEY=value
value() { sed -n "s/^$1=//p" <<<"$2"; }

# wait_for SECONDS COMMAND…: repeats the command until it succeeds
wait_for() {
  local tries=$(($1 * 20))
  shift
  while ! "$@" 2>/dev/null; do
    [ $((tries -= 1)) -gt 0 ] || return 1
    sleep 0.05
  done
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A TCP port p such that p and p+1 are free.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000 * 2))
    answers $port || answers $((port + 1)) || break
  done
  echo $port
}

# with_chip STATE FLAGS COMMAND…: runs a command whose tpm2-tools talk to a TPM with this state.
with_chip() {
  local port chip try
  for try in 1 2 3 4 5; do
    port=$(free_port)
    swtpm socket --tpm2 --server "type=tcp,port=$port" --ctrl "type=tcp,port=$((port + 1))" --tpmstate "dir=$1" --flags "$2" &
    chip=$!
    # Somebody may have taken the port meanwhile.
    ! wait_for 10 answers $((port + 1)) || break
    kill $chip 2>/dev/null || true
    [ $try -lt 5 ] || die "the chip's copy does not start"
  done
  TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=$port "${@:3}"
  kill $chip
  wait $chip || true
}

# chip_facts STATE [startup]: what a copy of the chip shows that a host's owner cares for, one fact a line.
chip_facts() {
  local copy=$work/chip-copy
  rm -rf "$copy"
  cp -r "$1" "$copy"
  with_chip "$copy" "not-need-init${2:+,startup-clear}" list_facts
}

list_facts() {
  local handle
  # Reading a persistent key's Name takes a place, and the broker's keys may be in all three of them.
  tpm2_flushcontext -t
  for handle in $(tpm2_getcap handles-persistent | sed 's/^- //'); do
    echo "persistent handle $handle, name $(tpm2_readpublic -c "$handle" | sed -n 's/^name: //p')"
  done
  for handle in $(tpm2_getcap handles-nv-index | sed 's/^- //'); do
    echo "NV index $handle, name $(tpm2_nvreadpublic "$handle" | sed -n 's/^ *name: //p'), holds $(tpm2_nvread -C o "$handle" 2>/dev/null | od -An -tx1)"
  done
  tpm2_getcap properties-variable | grep -E 'LOCKOUT|MAX_AUTH|NV_COUNTERS|AuthSet|disableClear|inLockout|Enable|AUDIT' | sed 's/^ */property /; s/  */ /g'
  tpm2_pcrread | sed 's/^ *\(sha[0-9]*\):/\1/; s/^ */PCR /; s/  */ /g'
}

# The chip as it is at this moment, its PCRs included, while the broker goes on.
chip_facts_now() {
  swtpm_ioctl --unix "$PARATPM_DIR/run/chip-control.sock" -v
  chip_facts "$PARATPM_DIR/chip"
}

start_broker() {
  "$programs/paratpmctl" run >"$work/broker.out" 2>"$work/broker.log" &
  started+=($!)
  wait_for 60 grep -q '^ready$' "$work/broker.out" || { cat "$work/broker.log" >&2; die "the broker does not become ready"; }
}

# Everything that was started, the last first; then the temporary folder.
cleanup() {
  local status=$? i
  trap - EXIT
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    kill "${started[i]}" 2>/dev/null || true
    wait "${started[i]}" 2>/dev/null || true
  done
  [ $status = 0 ] || show_logs >&2
  rm -rf "$work"
  exit $status
}

show_logs() {
  local log
  for log in "$work"/*.log; do
    [ ! -s "$log" ] || { echo "--- ${log##*/}"; tail -n 15 "$log"; }
  done
}
