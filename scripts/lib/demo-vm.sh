# The demonstration's guests as Linux virtual machines: Debian's kernel, an initramfs with busybox and tpm2-tools, a tpm-crb
# behind paratpm's door, and a serial line on which the machine is asked and answers.

guest_packages=(qemu-system-x86 cpio)
declare -A to from machine

start_guests() {
  local name acceleration
  make_image
  acceleration=$(best_acceleration)
  note "starting $# virtual machines at once, $(sed 's/.*vmlinuz-//' "$image/kernel-version"), QEMU with $acceleration"
  for name in "$@"; do start_machine "$name" "$acceleration"; done
  for name in "$@"; do
    [ "$(answer_line "$name" 180)" = up ] || { tail -n 20 "$work/$name-console.log" >&2; die "$name does not come up"; }
  done
}

# start_machine NAME ACCELERATION: a door, and a machine on it. (On a busy host an emulated timer comes late, and Linux would panic: no_timer_check.)
start_machine() {
  local control=$work/$1.sock line=$work/$1-line
  "$programs/paratpmctl" guest run "$1" --ctrl "$control" 2>"$work/$1.log" &
  started+=($!)
  wait_for 60 test -S "$control" || die "$1's TPM does not start"
  mkfifo "$line.in" "$line.out"
  qemu-system-x86_64 -machine q35 -accel "$2" -cpu max -smp 1 -m 384 -nodefaults -display none -no-reboot \
    -kernel "$image/vmlinuz" -initrd "$image/initramfs" -append "console=ttyS0 quiet panic=-1 no_timer_check" \
    -serial "file:$work/$1-console.log" -chardev "pipe,id=line,path=$line" -serial chardev:line \
    -chardev "socket,id=tpm,path=$control" -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0 \
    >"$work/$1-qemu.log" 2>&1 </dev/null &
  machine[$1]=$!
  started+=($!)
  # Opened for both directions, so that neither side waits for the other.
  exec {to[$1]}<>"$line.in" {from[$1]}<>"$line.out"
}

# answer_line NAME SECONDS: the machine's next line
answer_line() {
  local line
  IFS= read -r -t "$2" -u "${from[$1]}" line || return 1
  printf '%s\n' "${line%$'\r'}"
}

# ask GUEST VERB…: what guest-steps.sh answers there
ask() {
  local line
  echo "${*:2}" >&"${to[$1]}"
  while line=$(answer_line "$1" 120); do
    case $line in
    'end 0') return ;;
    end*) break ;;
    *) echo "$line" ;;
    esac
  done
  note "$1: $2 ended with an error" >&2
}

# The machines power off by themselves; cleanup ends those that do not.
stop_guests() {
  local name
  for name in "${!to[@]}"; do echo off >&"${to[$name]}"; done
  for name in "${!to[@]}"; do wait_for 10 is_gone "${machine[$name]}" || true; done
}

is_gone() { ! kill -0 "$1"; }

best_acceleration() {
  if qemu-system-x86_64 -accel kvm -machine q35 -cpu host -nodefaults -display none -S -monitor stdio <<<quit >/dev/null 2>&1
  then echo kvm; else echo tcg; fi
}

# The kernel and the initramfs, kept beside the build for the next time.
make_image() {
  local tree=$work/tree
  image=$build_dir/demo-vm
  if [ ! -s "$image/vmlinuz" ]; then
    note "fetching Debian's kernel"
    unpack "$(kernel_package)" "$work/kernel"
    mkdir -p "$image"
    basename "$work"/kernel/boot/vmlinuz-* >"$image/kernel-version"
    cp "$work"/kernel/boot/vmlinuz-* "$image/vmlinuz"
  fi
  [ -s "$image/busybox" ] || { unpack busybox-static "$work/busybox"; cp "$work/busybox/bin/busybox" "$image/busybox"; }
  mkdir -p "$tree"/{bin,proc,sys,dev,tmp,usr/bin}
  cp "$image/busybox" "$tree/bin/busybox"
  cp "$root/scripts/lib/guest-steps.sh" "$tree/steps"
  cp "$root/scripts/lib/guest-init.sh" "$tree/init"
  chmod 755 "$tree/init"
  add_program "$tree" /usr/bin/tpm2 "$(ldconfig -p | sed -n 's/.*libtss2-tcti-device\.so\.0.* => //p' | head -n 1)"
  local tool
  for tool in /usr/bin/tpm2_*; do ln -s tpm2 "$tree$tool"; done
  (cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet) | gzip -1 >"$image/initramfs"
}

# The package behind the cloud kernel's name of the day.
kernel_package() {
  local name
  name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/.*Depends: //p' | head -n 1)
  [ -n "$name" ] || { as_root apt-get update -qq >&2; name=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1); }
  echo "${name:?no Debian kernel package is known}"
}

# unpack PACKAGE DIRECTORY: downloads a Debian package and unpacks it there, without installing it
unpack() {
  mkdir -p "$2/deb"
  (cd "$2/deb" && download "$1") || { as_root apt-get update -qq && (cd "$2/deb" && download "$1"); } || die "cannot download $1"
  dpkg -x "$2"/deb/*.deb "$2"
}

download() { apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$1" >/dev/null 2>&1; }

# add_program TREE FILE…: programs or libraries with the libraries that they need
add_program() {
  local tree=$1 file
  shift
  for file in "$@" $(ldd "$@" | sed -n 's/.* => \(\/[^ ]*\).*/\1/p; s/^\s*\(\/[^ ]*ld-linux[^ ]*\).*/\1/p' | sort -u); do
    [ -e "$tree$file" ] || { mkdir -p "$tree$(dirname "$file")"; cp -L "$file" "$tree$file"; }
  done
}
