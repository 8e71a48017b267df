# Every kind of USB device with the agent running; `controls` shows that each works without it.
open_up
stick s control P0
wait_for 10 '[ $(disks) = 1 ]' || failed 'control: the stick works before the agent starts'
agent_start
comes 'a stick that works when the agent starts is taken away' 5 '[ $(disks) = 0 ]'
check 'it is said what was found' 'decided $(by_serial P0) storage refuse && said "\"was_authorised\":true"'
unplug s
gone P0

mark
stick s personal P1
refused 'a stick' P1 storage
check 'usbfs does not reach it' '! lab-guest usbfs $(usbfs $D) >/tmp/usbfs 2>&1 && ! grep -q answered /tmp/usbfs' "$(tail -n 1 /tmp/usbfs)"
stays 'a stick stays off' 2 '[ $(disks) = 0 ]'
mark
echo 1 >"$U/$D/authorized"
comes 'somebody authorises it: it is taken away again' 5 '[ "$(authorized $D)" = 0 ] && [ $(disks) = 0 ]'
comes 'and that is said' 5 'said "\"event\":\"tampered\""'
unplug s
gone P1

mark
uas u personal P2
refused 'a UAS drive' P2 storage
check 'a UAS drive is no disk' '[ $(disks) = 0 ]'
unplug u
gone P2
mark
optical o disc P3
refused 'an optical drive on USB' P3 storage
check 'an optical drive on USB is no disk' '[ $(discs) = 1 ]'
unplug o
gone P3
mark
plug "\"driver\":\"usb-mtp\",\"id\":\"m\",\"rootdir\":\"$(cat /etc/phone)\",\"serial\":\"P4\""
refused 'a phone (MTP)' P4 phone
unplug m
gone P4
mark
plug '"driver":"usb-net","id":"n","netdev":"n0","serial":"P5"'
refused 'a USB network' P5 network
check 'a USB network is no interface' '! usb_network'
unplug n
gone P5
mark
plug '"driver":"usb-serial","id":"t","chardev":"c0","always-plugged":true,"serial":"P6"'
refused 'a serial adapter' P6 vendor
check 'a serial adapter is no port' '[ ! -e /dev/ttyUSB0 ]'
unplug t
gone P6

# What one works with; each on a port of its own, because a port whose device changes its kind within
# seconds is refused.
mark
plug '"driver":"usb-mouse","id":"p","serial":"A1","port":"11"'
here A1
allowed 'a pointer' "$(by_serial A1)" pointer
unplug p
gone A1
mark
plug '"driver":"usb-mouse","id":"p","serial":"A1","port":"11"'
here A1
allowed 'the same pointer back at once' "$(by_serial A1)" pointer
unplug p
gone A1
mark
plug '"driver":"usb-tablet","id":"p","serial":"A4","port":"9"'
here A4
# Linux 6.1 shows a report descriptor only when a HID driver has bound, so this one stays unknown.
refused 'a pointer that only its report descriptor tells from a keyboard' A4 other
unplug p
gone A4
mark
plug '"driver":"usb-ccid","id":"c","serial":"A2","port":"12"'
here A2
allowed 'a smart-card reader' "$(by_serial A2)" smart-card
unplug c
gone A2
mark
plug '"driver":"usb-audio","id":"a","audiodev":"snd0","serial":"A3","port":"13"'
wait_for 10 '[ -n "$(by_id 46f4:0002)" ]'
allowed 'a headset' "$(by_id 46f4:0002)" headset
unplug a
mark
plug '"driver":"usb-hub","id":"h","port":"14"'
wait_for 10 "[ -e $U/1-14 ]"
allowed 'a hub' 1-14 hub
mark
stick s personal P7 '"port":"14.1"'
refused 'a stick behind a hub' P7 storage
unplug s
gone P7
unplug h
wait_for 10 "[ ! -e $U/1-14 ]"

# The port of a pointer, a moment later something else
mark
plug '"driver":"usb-mouse","id":"p","serial":"B1","port":"10"'
here B1
allowed 'a pointer that will change' "$(by_serial B1)" pointer
unplug p
gone B1
mark
plug '"driver":"usb-ccid","id":"c","serial":"B2","port":"10"'
here B2
comes 'a device that changes its kind is refused' 5 'decided $(by_serial B2) switched refuse'
unplug c
gone B2
agent_end TERM
