#!/bin/busybox sh
# PID 1 in the guest: mounts, modules, then the parts in /parts/order, one after the other.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /tmp /run /mnt/a /mnt/b /var/lib /etc
mount -t tmpfs none /tmp
mount -t tmpfs none /run
mount -t securityfs none /sys/kernel/security
mount -t bpf none /sys/fs/bpf
# The kernel's own messages go to ttyS0, so that they cannot tear a line of these.
exec </dev/ttyS1 >/dev/ttyS1 2>/tmp/stderr
stty -echo </dev/ttyS1
. /functions.sh
note "kernel $(uname -r), init at $(up) s, lsm $(cat /sys/kernel/security/lsm)"
while read -r module; do
	# As the kernel's command line would, were usbcore part of the image.
	[ "$module" = usbcore ] && option=authorized_default=0 || option=
	insmod "/modules/$module.ko" $option || failed "module $module loads"
done </modules/order
note "modules loaded at $(up) s"
for part in $(cat /parts/order); do
	echo "@part|$part"
	STARTED=$(ms)
	. "/parts/$part.sh"
	# For guest.log alone
	[ -e $AGENT_LOG ] && tail -n 400 $AGENT_LOG | sed 's/^/@log|/'
	[ -s /tmp/stderr ] && tail -n 50 /tmp/stderr | sed 's/^/@error|/' && : >/tmp/stderr
	note "$part took $(($(ms) - STARTED)) ms"
done
echo "@done"
poweroff -f
