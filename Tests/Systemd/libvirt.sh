# Runs as root under the box's own systemd: installs paratpm, and has libvirt's virtual machines use it, in both of libvirt's ways.
# Arguments: the source tree, and the folder with built programs.
set -euo pipefail
source_tree=$1 programs=$2

step() { echo "== $*"; }
fail() { echo "FAILED: $*"; exit 1; }
run() { echo "# $*"; "$@"; }

step "a chip: swtpm, in the place of /dev/tpm0"
mkdir -p /run/chip /var/lib/chip /etc/paratpm
systemd-run --quiet --unit chip swtpm socket --tpm2 --server type=unixio,path=/run/chip/sock,mode=0666 \
  --ctrl type=unixio,path=/run/chip/control --tpmstate dir=/var/lib/chip --flags not-need-init,startup-clear
echo PARATPM_CHIP=stream:/run/chip/sock >/etc/paratpm/device.env

step "install, and two commands"
run "$source_tree/scripts/install" --programs "$programs"
run systemctl enable --now paratpm.target
run paratpmctl host init
run paratpmctl guest add web

step "libvirt finds our swtpm"
mkdir -p /etc/systemd/system/libvirtd.service.d
cat >/etc/systemd/system/libvirtd.service.d/paratpm.conf <<'UNIT'
[Service]
Environment=PATH=/usr/local/libexec/paratpm:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
UNIT
systemctl daemon-reload
run systemctl restart libvirtd
virsh version

# A machine without a disk, in software: its firmware uses the TPM.
domain() {
  cat <<XML
<domain type='qemu'>
  <name>$1</name>
  <memory unit='MiB'>64</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type><bios useserial='yes'/></os>
  <features><acpi/></features>
  <devices>
    <serial type='file'><source path='/run/$1.serial'/></serial>
    <tpm model='tpm-crb'>$2</tpm>
  </devices>
</domain>
XML
}
domain db "<backend type='emulator' version='2.0'/>" >/tmp/db.xml
domain web "<backend type='external'><source type='unix' mode='connect' path='/run/paratpm/guests/web.sock'/></backend>" >/tmp/web.xml

guest_of() { paratpmctl guest list | awk '$1 ~ /^swtpm-/ {print $1}'; }
measured() { paratpmctl pcr read "$1" sha256:0,1,2,3,4,5,6,7 2>/dev/null; }
boots() { paratpmctl guest show "$1" | sed -n 's/^boots: //p'; }
until_true() {
  local try
  for try in $(seq 150); do "$@" && return; sleep 0.2; done
  tail -n 20 /run/*.serial /var/log/libvirt/qemu/*.log /var/log/swtpm/libvirt/qemu/*.log 2>/dev/null || true
  fail "not within 30 s: $*"
}
# The firmware has measured something: not all vPCRs are zero.
has_measured() { measured "$1" | grep -q '0x.*[1-9A-F]'; }

for machine in db web; do
  step "$machine: define, start, reboot, destroy, start again, undefine"
  run virsh --quiet define /tmp/$machine.xml
  run virsh --quiet start $machine
  guest=web
  [ $machine = web ] || guest=$(guest_of)
  [ -n "$guest" ] || fail "$machine has no guest"
  until_true has_measured "$guest"
  measured "$guest"
  first=$(boots "$guest")
  run virsh --quiet reset $machine
  again() { [ "$(boots "$guest")" -gt "$first" ]; }
  until_true again
  until_true has_measured "$guest"
  run virsh --quiet destroy $machine
  run virsh --quiet start $machine
  until_true has_measured "$guest"
  run paratpmctl status
  run virsh --quiet destroy $machine
  run virsh --quiet undefine $machine
done

step "libvirt deleted what it had made, and paratpm is told"
[ -n "$(paratpmctl guest prune --dry-run)" ] || fail "the guest of an undefined machine has its directory still"
run paratpmctl guest prune --yes
[ -z "$(guest_of)" ] || fail "the guest of an undefined machine is still there"
run paratpmctl doctor
echo "all of it held"
