# Runs as root under the box's own systemd: installs paratpm and does with it what an administrator does.
# Arguments: the source tree, and the folder with built programs.
set -euo pipefail
source_tree=$1 programs=$2
hypervisor=$source_tree/Tests/Systemd/hypervisor.py

step() { echo "== $*"; }
fail() { echo "FAILED: $*"; exit 1; }
property() { systemctl show -P "$2" "$1"; }
tpm() {
  local guest=$1; shift
  TPM2TOOLS_TCTI="cmd:python3 $hypervisor /run/paratpm/guests/$guest.sock relay" "$@"
}

step "a chip: swtpm, in the place of /dev/tpm0"
mkdir -p /run/chip /var/lib/chip /etc/paratpm
systemd-run --quiet --unit chip swtpm socket --tpm2 --server type=unixio,path=/run/chip/sock,mode=0666 \
  --ctrl type=unixio,path=/run/chip/control --tpmstate dir=/var/lib/chip --flags not-need-init,startup-clear
echo PARATPM_CHIP=stream:/run/chip/sock >/etc/paratpm/device.env

step "install"
"$source_tree/scripts/install" --programs "$programs"
systemd-analyze verify /usr/local/lib/systemd/system/paratpm* 2>&1 | grep -i paratpm && fail "systemd-analyze verify" || true
for unit in paratpm-rules paratpm-device paratpm-pcr paratpm-policy paratpm-guest@; do
  systemd-analyze security --offline=true --threshold=15 "/usr/local/lib/systemd/system/$unit.service" | tail -n 1 ||
    fail "$unit.service is exposed above 1.5"
done

step "the services start in order"
systemctl start paratpm.target
times=()
for unit in paratpm-device paratpm-policy; do
  [ "$(property $unit ActiveState)" = active ] || fail "$unit is $(property $unit ActiveState)"
  times+=("$(property $unit ActiveEnterTimestampMonotonic)")
done
tr '\0' '\n' </proc/"$(property paratpm-policy MainPID)"/environ | grep -qx "PARATPM_BOOT_ID=[0-9a-f]\{32\}" ||
  fail "paratpm-policy is not told which boot this is"
[ "${times[0]}" -le "${times[1]}" ] || fail "paratpm-policy was ready before paratpm-device"
paratpmctl status

step "two guests, on a host that is not initialized yet"
paratpmctl guest add alice
paratpmctl guest add bob
paratpmctl guest list
for guest in alice bob; do
  [ "$(property paratpm-guest@$guest ActiveState)" = inactive ] || fail "$guest runs before anybody connected"
  python3 "$hypervisor" /run/paratpm/guests/$guest.sock init
  [ "$(property paratpm-guest@$guest ActiveState)" = active ] || fail "the socket did not start $guest"
  tpm $guest tpm2_startup -c
  tpm $guest tpm2_pcrextend "16:sha256=$(echo $guest | sha256sum | cut -d' ' -f1)"
  tpm $guest tpm2_createprimary -Q -c /tmp/$guest.ctx -G ecc
  tpm $guest tpm2_flushcontext -t
done
pcr() { tpm "$1" tpm2_pcrread sha256:16; }
[ "$(pcr alice)" != "$(pcr bob)" ] || fail "two guests, one PCR"

step "the gate secret is made at host init, with the guests running"
without=$(tpm alice tpm2_startauthsession --policy-session -S /tmp/session.ctx 2>&1) && fail "a policy session without a gate secret"
grep -qi "0x120" <<<"$without" || fail "not TPM_RC_DISABLED: $without"
paratpmctl status | grep "gate: no secret yet: run paratpmctl host init" || fail "status does not say that the gate secret is missing"
{ paratpmctl doctor || true; } | grep "run paratpmctl host init" || fail "the doctor does not say that the gate secret is missing"
paratpmctl host init
[ "$(stat -c '%U %a' /var/lib/paratpm/policy/gate)" = "paratpm-policy 600" ] || fail "the record is not paratpm-policy's"
paratpmctl host init | grep "nothing was changed" || fail "host init changed something"
tpm alice tpm2_startauthsession --policy-session -S /tmp/session.ctx
tpm alice tpm2_flushcontext /tmp/session.ctx

step "users"
users=()
for guest in alice bob; do
  pid=$(property paratpm-guest@$guest MainPID)
  user=$(stat -c %U /proc/$pid)
  grep -q "^Seccomp:.2" /proc/$pid/status || fail "no system call filter for $guest"
  for child in $(cat /proc/$pid/task/$pid/children); do
    [ "$(awk '/^Uid:/ {print $2}' /proc/$child/status)" = "$(id -u paratpm-$guest)" ] || fail "the proxy of $guest is another user"
  done
  users+=("$(awk '/^Uid:/ {print $2}' /proc/$pid/status)")
  echo "$guest runs as $(id -un "${users[-1]}") (${users[-1]})"
done
[ "${users[0]}" != "${users[1]}" ] || fail "one user for two guests"
as() { setpriv --reuid "$1" --clear-groups --regid nogroup "${@:2}"; }
as paratpm-alice cat /var/lib/paratpm/guests/bob/tpm2-00.permall >/dev/null 2>&1 && fail "alice reads bob's state"
as paratpm-alice cat /var/lib/paratpm/identities/alice >/dev/null 2>&1 && fail "alice's user reads her identity outside her unit"
as paratpm-pcr ls /var/lib/paratpm/device >/dev/null 2>&1 && fail "paratpm-pcr reads what paratpm-device keeps"
as nobody python3 "$hypervisor" /run/paratpm/guests/alice.sock init 2>/dev/null && fail "anybody may switch alice's TPM"

step "services that are restarted or killed under a running guest lose nothing"
value() { tpm alice tpm2_pcrread sha256:10 | sed -n 's/.*10 *: *0x//p' | tr A-F a-f; }
expected=$(printf '0%.0s' {1..64})
extend() {
  local event; event=$(echo "$1" | sha256sum | cut -d' ' -f1)
  expected=$(printf '%s%s' "$expected" "$event" | tr -d '\n' | python3 -c \
    'import hashlib, sys; print(hashlib.sha256(bytes.fromhex(sys.stdin.read())).hexdigest())')
  tpm alice tpm2_pcrextend "10:sha256=$event"
  [ "$(value)" = "$expected" ] || fail "after $1: PCR 10 is $(value), not $expected"
}
guest_pid=$(property paratpm-guest@alice MainPID)
extend "the beginning"
for service in pcr policy device; do
  systemctl restart paratpm-$service
  extend "the restart of paratpm-$service"
  pid=$(property paratpm-$service MainPID)
  systemctl kill --signal KILL paratpm-$service
  extend "the death of paratpm-$service"
  for _ in $(seq 100); do
    [ "$(property paratpm-$service MainPID)" != "$pid" ] && [ "$(property paratpm-$service ActiveState)" = active ] && break
    sleep 0.1
  done
  [ "$(property paratpm-$service ActiveState)" = active ] || fail "paratpm-$service did not come back"
done
[ "$(property paratpm-pcr NFileDescriptorStore)" = 2 ] || fail "$(property paratpm-pcr NFileDescriptorStore) pages of two guests"
tpm alice tpm2_startauthsession --policy-session -S /tmp/session.ctx
tpm alice tpm2_policypcr -Q -S /tmp/session.ctx -l sha256:10
systemctl restart paratpm-policy paratpm-pcr paratpm-device
tpm alice tpm2_policycommandcode -S /tmp/session.ctx TPM2_CC_Unseal >/dev/null
tpm alice tpm2_flushcontext /tmp/session.ctx
tpm alice tpm2_createprimary -Q -c /tmp/alice.ctx -G ecc
tpm alice tpm2_flushcontext -t
[ "$(property paratpm-guest@alice MainPID)" = "$guest_pid" ] || fail "alice's door was another"

step "a reload takes a new policy over; a wrong one is refused, with the old one in force"
locality() { python3 "$hypervisor" /run/paratpm/guests/alice.sock locality "$1" 2>/dev/null; }
locality 3 || fail "locality 3 is refused before any policy says so"
printf '[guest.alice]\nlocalities = [0, 1]\n' >/etc/paratpm/host.toml
systemctl reload paratpm-policy
locality 3 && fail "locality 3 is not refused"
locality 1 || fail "locality 1 is refused"
# An event's way from paratpm-pcr to the reader of the journal.
for _ in $(seq 50); do paratpmctl log --event locality-refused | grep -q . && break; sleep 0.1; done
paratpmctl log
paratpmctl log --json --event locality-refused --guest alice | grep -q '"locality": "3"' || fail "no event tells of the refusal"
journalctl --quiet --catalog PARATPM_EVENT=policy-changed PARATPM_GUEST=alice | grep -q "A reload changed one value" ||
  fail "the journal does not explain what changed"
echo nonsense >/etc/paratpm/host.toml
systemctl reload paratpm-policy 2>/dev/null && fail "a wrong policy was taken over"
[ "$(property paratpm-policy ActiveState)" = active ] || fail "paratpm-policy is $(property paratpm-policy ActiveState) after a wrong policy"
locality 3 && fail "a wrong policy took the old one out of force"
systemctl restart paratpm-pcr
sleep 1
locality 3 && fail "paratpm-pcr forgot its policy when it was restarted"
{ paratpmctl doctor || true; } | grep "PROBLEM  policy: /etc/paratpm/host.toml:1" || fail "the doctor does not see the wrong policy"
rm /etc/paratpm/host.toml
systemctl reload paratpm.target
locality 3 || fail "locality 3 is refused with no policy any more"
locality 0
paratpmctl doctor

step "a guest that is reset, and one that is stopped"
python3 "$hypervisor" /run/paratpm/guests/alice.sock init
tpm alice tpm2_startup -c
systemctl stop paratpm-guest@bob.service
[ "$(property paratpm-guest@bob Result)" = success ] || fail "bob did not stop cleanly"
python3 "$hypervisor" /run/paratpm/guests/bob.sock init
tpm bob tpm2_startup -c

step "removal"
paratpmctl guest remove bob --yes 2>/dev/null && fail "a running guest was removed"
systemctl stop paratpm-guest@bob.service
kept=$(paratpmctl guest remove bob --keep-state); echo "$kept"
id paratpm-bob 2>/dev/null && fail "bob's user is still there"
paratpmctl guest add bob --restore "${kept##* }"
python3 "$hypervisor" /run/paratpm/guests/bob.sock init
tpm bob tpm2_startup -c
tpm bob tpm2_createprimary -Q -c /tmp/bob-again.ctx -G ecc
systemctl stop paratpm-guest@bob.service
paratpmctl guest remove bob --yes
[ ! -e /var/lib/paratpm/guests/bob ] || fail "bob's directory is still there"

step "a clean stop"
systemctl stop paratpm.target
# It stops what is part of it, and does not wait.
systemctl stop "paratpm-*"
for unit in paratpm-device paratpm-pcr paratpm-policy paratpm-guest@alice; do
  [ "$(property $unit ActiveState)/$(property $unit Result)" = inactive/success ] || fail "$unit: $(property $unit ActiveState)/$(property $unit Result)"
done
echo "all of it held"
