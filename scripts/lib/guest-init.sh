#!/bin/busybox sh
# The first process of a demonstration's virtual machine: does what the second serial line asks, and answers there.
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin TPM2TOOLS_TCTI=device:/dev/tpmrm0
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t securityfs securityfs /sys/kernel/security
cd /tmp
stty -F /dev/ttyS1 raw -echo
exec 3<>/dev/ttyS1

until [ -c /dev/tpmrm0 ]; do sleep 0.05; done
echo up >&3
while read -r line <&3; do
  [ "$line" != off ] || break
  sh /steps $line >&3 2>/dev/console </dev/null
  echo "end $?" >&3
done
poweroff -f
