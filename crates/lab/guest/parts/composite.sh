# Devices that are several things at once, or change: gadgets of this kernel on dummy_hcd.
G=/sys/kernel/config/usb_gadget/g
gadget_begin() {
	for name in dummy_hcd usb_f_mass_storage usb_f_hid usb_f_rndis usb_f_printer; do load $name; done
	mount -t configfs none /sys/kernel/config 2>/dev/null
	mkdir -p $G/strings/0x409 $G/configs/c.1
	echo 0x046d >$G/idVendor
	echo 0xc31c >$G/idProduct
	# The driver of serial adapters knows its chips by it.
	echo 0x0200 >$G/bcdDevice
	echo 'USB Keyboard' >$G/strings/0x409/product
	UDC=$(ls /sys/class/udc | head -n 1)
	mkdir $G/functions/hid.0
	echo 1 >$G/functions/hid.0/protocol
	echo 1 >$G/functions/hid.0/subclass
	echo 8 >$G/functions/hid.0/report_length
	# The boot keyboard of the HID specification, appendix B.1, without its lights
	printf '\005\001\011\006\241\001\005\007\031\340\051\347\025\000\045\001\165\001\225\010\201\002\225\001\165\010\201\003\225\006\165\010\025\000\045\145\005\007\031\000\051\145\201\000\300' >$G/functions/hid.0/report_desc
	# The same keys behind the class of a mouse
	mkdir $G/functions/hid.1
	echo 2 >$G/functions/hid.1/protocol
	echo 1 >$G/functions/hid.1/subclass
	echo 8 >$G/functions/hid.1/report_length
	cat $G/functions/hid.0/report_desc >$G/functions/hid.1/report_desc
	mkdir $G/functions/printer.0
	dd if=/dev/zero of=/tmp/lun bs=1M count=4 2>/dev/null
	mkdir $G/functions/mass_storage.0
	echo /tmp/lun >$G/functions/mass_storage.0/lun.0/file
	mkdir $G/functions/rndis.0
}
# gadget SERIAL FUNCTION...: goes, and comes back as these
gadget() {
	echo >$G/UDC 2>/dev/null
	rm -f $G/configs/c.1/*.[01]
	echo "$1" >$G/strings/0x409/serialnumber
	shift
	for function in "$@"; do
		ln -s $G/functions/$function $G/configs/c.1/
	done
	echo "$UDC" >$G/UDC
}
# gadget_is VENDOR PRODUCT: the numbers of the next one
gadget_is() {
	echo "$1" >$G/idVendor
	echo "$2" >$G/idProduct
}
gadget_off() {
	echo >$G/UDC
	gone "$1"
}
open_up
gadget_begin
kernel_default 1
gadget G1 hid.0 mass_storage.0
comes 'control: without the agent both halves of a keyboard with a disk work' 10 '[ $(disks) = 1 ] && grep -q "USB Keyboard" /proc/bus/input/devices'
gadget_off G1
# The numbers of a serial adapter, the class of a printer: Linux goes by the numbers.
gadget_is 0x0403 0x6001
gadget G6 printer.0
comes 'control: without the agent a printer with the numbers of a serial adapter is a port' 10 '[ -e /dev/ttyUSB0 ]'
gadget_off G6
gadget_is 0x046d 0xc31c
gadget G7 hid.1
comes 'control: without the agent a mouse whose report says keys is a keyboard' 10 'grep -q "USB Keyboard" /proc/bus/input/devices'
gadget_off G7

# The model is allowed by its numbers, as far as it is only a keyboard.
cat >/etc/sekisho-post/policy.toml <<'P'
version = 1
[devices]
hub = "allow"
keyboard = "allow"
pointer = "allow"
P
agent_start
mark
gadget G2 hid.0
here G2
allowed 'a keyboard' "$(by_serial G2)" keyboard
comes 'it is an input device' 5 'grep -q "USB Keyboard" /proc/bus/input/devices'
gadget_off G2
sleep 4 # more than a port that changes its kind
mark
gadget G3 hid.0 mass_storage.0
here G3
D=$(by_serial G3)
comes 'a keyboard with a disk is seen as both' 5 'decided $D keyboard allow && decided $D storage allow'
comes 'its keys work' 5 'grep -q "USB Keyboard" /proc/bus/input/devices'
stays 'its disk does not' 2 '[ $(disks) = 0 ]'
check 'the kernel keeps the two apart' '[ "$(cat $U/$D:1.0/authorized)" = 1 ] && [ "$(cat $U/$D:1.1/authorized)" = 0 ]'
mark
echo 1 >"$U/$D:1.1/authorized"
comes 'somebody authorises the disk: it is taken away again' 5 '[ "$(cat $U/$D:1.1/authorized)" = 0 ] && [ $(disks) = 0 ]'
comes 'and that is said' 5 'said "\"event\":\"tampered\""'
gadget_off G3
mark
gadget G4 mass_storage.0
here G4
comes 'a keyboard that comes back as a disk is refused' 5 'decided $(by_serial G4) storage refuse'
check 'and is off' '[ $(disks) = 0 ]'
gadget_off G4
mark
gadget G5 rndis.0
here G5
comes 'a telephone that shares its network is refused' 5 'decided $(by_serial G5) network refuse'
check 'and no driver has it' '! ls -d /sys/bus/usb/drivers/rndis_host/*:* >/dev/null 2>&1'
gadget_off G5
agent_end TERM

# What says one thing and is another: the kernel's own look at it counts.
cat >/etc/sekisho-post/policy.toml <<'P'
version = 1
[devices]
hub = "allow"
pointer = "allow"
printer = "allow"
P
agent_start
mark
gadget_is 0x0403 0x6001
gadget G8 printer.0
here G8
D=$(by_serial G8)
allowed 'a printer with the numbers of a serial adapter' "$D" printer
stays 'no other driver gets it' 2 '[ ! -e $U/$D:1.0/driver ] && [ ! -e /dev/ttyUSB0 ]'
mark
echo "$D:1.0" >/sys/bus/usb/drivers/ftdi_sio/bind
comes 'another driver that has it all the same: it is refused as more than it said' 5 'decided $D beyond refuse'
comes 'and is off' 5 '[ "$(authorized $D)" = 0 ] && [ ! -e /dev/ttyUSB0 ]'
gadget_off G8
sleep 4 # more than a port that changes its kind
mark
gadget_is 0x046d 0xc31c
gadget G9 hid.1
here G9
D=$(by_serial G9)
comes 'a pointer that turns out to have keys is refused' 5 'decided $D keyboard refuse'
comes 'and its keys are gone' 5 '[ "$(authorized $D)" = 0 ] && ! grep -q "USB Keyboard" /proc/bus/input/devices'
gadget_off G9
agent_end TERM
rm /etc/sekisho-post/policy.toml
