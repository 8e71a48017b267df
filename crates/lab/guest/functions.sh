# What all parts use. A line to the host is `@word|...`: checks (@pass, @fail), numbers (@number),
# notes, and commands for QEMU's monitor (@qmp), which have to succeed.
U=/sys/bus/usb/devices
AGENT_LOG=/tmp/agent.log
STATE=/var/lib/sekisho-post

up() { cut -d' ' -f1 /proc/uptime; }
ms() { awk '{ printf "%d", $1 * 1000 }' /proc/uptime; }
note() { echo "@note|$1"; }
passed() { echo "@pass|$1|$2"; }
failed() { echo "@fail|$1|$2"; }
# number NAME VALUE UNIT BOUND: has to be below the bound
number() { echo "@number|$1|$2|$3|$4"; }
qmp() { echo "@qmp|$1"; }

# wait_for SECONDS CONDITION: whether it comes true in time; WAITED is how long it took, in ms
wait_for() {
	WAIT_BEGIN=$(ms)
	WAIT_END=$((WAIT_BEGIN + $1 * 1000))
	while :; do
		if eval "$2"; then
			WAITED=$(($(ms) - WAIT_BEGIN))
			return 0
		fi
		[ "$(ms)" -ge $WAIT_END ] && break
		usleep 30000
	done
	WAITED=$(($(ms) - WAIT_BEGIN))
	return 1
}
# check NAME CONDITION [DETAIL]: it has to be true now
check() {
	if eval "$2"; then passed "$1" "$3"; else failed "$1" "$2 $3"; fi
}
# comes NAME SECONDS CONDITION: it has to come true in time
# Emulation on a busy machine is slow: it gets four times that.
comes() {
	if wait_for "$(($2 * 4))" "$3"; then
		passed "$1" "${WAITED} ms"
	else
		failed "$1" "$3"
		# What was said instead.
		lines | tail -n 12 | while read -r line; do note "$line"; done
	fi
}
# stays NAME SECONDS CONDITION: it has to be true now and for so long
stays() {
	if wait_for "$2" "! { $3; }"; then failed "$1" "not any more after $WAITED ms: $3"; else passed "$1" "$2 s"; fi
}

# Devices. plug BUS 'JSON members of device_add'; a stick is STICK ID IMAGE SERIAL.
add() { qmp "{\"execute\":\"device_add\",\"arguments\":{$1}}"; }
plug() { add "\"bus\":\"xhci.0\",$1"; }
unplug() { qmp "{\"execute\":\"device_del\",\"arguments\":{\"id\":\"$1\"}}"; }
# stick ID IMAGE SERIAL [MORE]
stick() { plug "\"driver\":\"usb-storage\",\"id\":\"$1\",\"drive\":\"d_$2\",\"serial\":\"$3\",\"removable\":true${4:+,$4}"; }
# A UAS drive and an optical drive are a bus with a disk on it, attached when complete.
attach() { qmp "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"/machine/peripheral/$1\",\"property\":\"attached\",\"value\":true}}"; }
uas() {
	plug "\"driver\":\"usb-uas\",\"id\":\"$1\",\"serial\":\"$3\""
	add "\"driver\":\"scsi-hd\",\"id\":\"$1-disk\",\"bus\":\"$1.0\",\"drive\":\"d_$2\""
	attach "$1"
}
optical() {
	plug "\"driver\":\"usb-bot\",\"id\":\"$1\",\"serial\":\"$3\""
	add "\"driver\":\"scsi-cd\",\"id\":\"$1-disc\",\"bus\":\"$1.0\",\"drive\":\"d_$2\""
	attach "$1"
}

# Sysfs. by_serial SERIAL, by_id VENDOR:PRODUCT: names of USB devices
by_serial() {
	for device in "$U"/*; do
		[ "$(cat "$device/serial" 2>/dev/null)" = "$1" ] && basename "$device"
	done
}
by_id() {
	for device in "$U"/*; do
		[ "$(cat "$device/idVendor" 2>/dev/null):$(cat "$device/idProduct" 2>/dev/null)" = "$1" ] && basename "$device"
	done
}
here() { wait_for 10 "[ -n \"\$(by_serial $1)\" ]"; }
gone() { wait_for 10 "[ -z \"\$(by_serial $1)\" ]" || failed "device $1 goes away"; }
disks() { ls /sys/block | grep -cE '^sd'; }
disk() { ls /sys/block | grep -E '^sd' | tail -n 1; }
discs() { ls /sys/block | grep -cE '^sr'; }
authorized() { cat "$U/$1/authorized" 2>/dev/null; }
interfaces() { ls -d "$U/$1:"* 2>/dev/null | wc -l; }
# The node of usbfs: /dev/bus/usb/BUS/DEVICE
usbfs() { printf '/dev/bus/usb/%03d/%03d' "$(cat "$U/$1/busnum")" "$(cat "$U/$1/devnum")"; }
keyboards() { grep -c 'QEMU USB Keyboard' /proc/bus/input/devices; }
keyboard_node() { echo "/dev/input/$(grep -A5 'QEMU USB Keyboard' /proc/bus/input/devices | grep -o 'event[0-9]*' | tail -n 1)"; }

# load MODULE: with what it needs
load() {
	for module in $(cat "/modules/$1.order"); do
		[ -d "/sys/module/$(echo "$module" | tr - _)" ] || insmod "/modules/$module.ko" || failed "module $module loads"
	done
}

# What the kernel does when nobody decides: 1 works at once, 0 waits for authorisation.
kernel_default() {
	echo "$1" >/sys/module/usbcore/parameters/authorized_default
	for hub in "$U"/usb*; do
		echo "$1" >"$hub/authorized_default"
		echo "$1" >"$hub/interface_authorized_default"
	done
}

# The agent. agent_start [ARGUMENTS]: AGENT is its process; everything it says is in AGENT_LOG.
agent_start() {
	mark
	sekisho-post run "$@" >>$AGENT_LOG 2>&1 &
	AGENT=$!
	wait_for 60 'said "\"event\":\"ready\""' || failed 'the agent starts' "$(tail -n 3 $AGENT_LOG)"
}
# agent_end SIGNAL: ends it and waits until it is gone
agent_end() {
	kill "-$1" $AGENT
	wait $AGENT 2>/dev/null
}
# What the agent left in the kernel is taken away: pins (removed, programs go) and defaults.
open_up() {
	rm -rf /sys/fs/bpf/* 2>/dev/null
	kernel_default 1
}
mark() {
	touch $AGENT_LOG
	MARK=$(wc -l <$AGENT_LOG)
}
lines() { tail -n +$((MARK + 1)) $AGENT_LOG; }
# said REGEX: in a line since the last mark
said() { lines | grep -qE "$1"; }
# decided DEVICE KIND OUTCOME: since the last mark
decided() {
	lines | grep -F '"event":"attached"' | grep -F "\"device\":\"$1\"" | grep -F "\"$2\"" |
		grep -qF "\"outcome\":\"$3\""
}
# refused NAME SERIAL KIND: a device that was just plugged is refused as what it is, and stays off
refused() {
	here "$2"
	D=$(by_serial "$2")
	comes "$1 is refused" 5 "decided '$D' $3 refuse"
	check "$1 is off" '[ "$(authorized $D)" = 0 ] && [ $(interfaces $D) = 0 ]' "$D"
}
# allowed NAME DEVICE KIND: a device that was just plugged works
allowed() {
	comes "$1 is allowed" 5 "decided '$2' $3 allow"
	comes "$1 works" 5 "[ \"\$(authorized $2)\" = 1 ] && [ \$(interfaces $2) -ge 1 ]"
}
# gate WHAT NAME: the host asks the gate, if one is behind this guest
gate() {
	echo "@gate|$1|$2"
	read -r GATE_SAID
}
usb_network() { ls /sys/class/net | grep -qE '^(usb|eth|enx)'; }
# writes NAME FILE: opening FILE for writing is refused, in each way there is
no_writes() {
	check "$1: no file is made" "! sh -c 'echo x >$2/made' 2>/dev/null && [ ! -e $2/made ]"
	check "$1: none is appended to" "! sh -c 'echo x >>$2/readme.txt' 2>/dev/null"
	check "$1: openat2 is refused" "! lab-guest openat2 $2/openat2 2>/dev/null"
	check "$1: no folder is made" "! mkdir $2/folder 2>/dev/null"
	check "$1: nothing is renamed" "! mv $2/readme.txt $2/other 2>/dev/null"
	check "$1: nothing is removed" "! rm -f $2/readme.txt 2>/dev/null"
	check "$1: no time is changed" "! touch -d 2001-01-01 $2/readme.txt 2>/dev/null"
	check "$1: it can be read" "grep -q hello $2/readme.txt"
}
no_raw_writes() {
	check "$1: the device is not written" "! dd if=/dev/zero of=$2 bs=512 seek=9100 count=1 conv=notrunc,fsync 2>/dev/null"
	rm -f /tmp/alias
	mknod /tmp/alias b "$(cat "/sys/block/${2#/dev/}/dev" | cut -d: -f1)" "$(cat "/sys/block/${2#/dev/}/dev" | cut -d: -f2)"
	check "$1: nor by another node" '! dd if=/dev/zero of=/tmp/alias bs=512 seek=9100 count=1 conv=notrunc,fsync 2>/dev/null'
	check "$1: nor through a loop device" "! { losetup /dev/loop0 $2 2>/dev/null && dd if=/dev/zero of=/dev/loop0 bs=512 seek=9100 count=1 conv=notrunc,fsync 2>/dev/null; }"
	losetup -d /dev/loop0 2>/dev/null
}
