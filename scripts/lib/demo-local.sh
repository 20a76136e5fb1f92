# The demonstration's guests as programs on this machine: each has a door started as `swtpm`, and tpm2-tools find it by TCP.

guest_packages=()
declare -A tcti

start_guests() {
  local name port
  mkdir "$work/bin"
  ln -s "$programs/paratpm-guest" "$work/bin/swtpm"
  for name in "$@"; do
    port=$(free_port)
    "$work/bin/swtpm" socket --tpm2 --server "type=tcp,port=$port" --ctrl "type=tcp,port=$((port + 1))" \
      --tpmstate "dir=$PARATPM_DIR/guests/$name" --flags not-need-init,startup-clear 2>"$work/$name.log" &
    started+=($!)
    wait_for 60 answers $((port + 1)) || die "$name's TPM does not start"
    tcti[$name]=swtpm:host=127.0.0.1,port=$port
    mkdir "$work/$name"
  done
}

# ask GUEST VERB…: what guest-steps.sh answers there
ask() {
  (cd "$work/$1" && TPM2TOOLS_TCTI=${tcti[$1]} sh "$root/scripts/lib/guest-steps.sh" "${@:2}" 2>>"$work/$1.log") ||
    note "$1: $2 ended with an error" >&2
}

stop_guests() { :; }
