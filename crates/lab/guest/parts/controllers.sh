# Controllers that come while the machine runs: docks, Thunderbolt, usbip.
open_up
add '"driver":"qemu-xhci","id":"x2"'
wait_for 10 '[ -e $U/usb3 ]'
add '"driver":"usb-storage","id":"s","drive":"d_control","bus":"x2.0","serial":"D1"'
comes 'control: a new controller is open to sticks' 10 '[ $(disks) = 1 ]'
unplug s
gone D1

agent_start
check 'the agent closes every controller' '! grep -q 1 $U/usb*/authorized_default $U/usb*/interface_authorized_default' "$(ls -d $U/usb* | wc -l) root hubs"
check 'and those that will come' '[ "$(cat /sys/module/usbcore/parameters/authorized_default)" = 0 ]'
kill -STOP $AGENT
add '"driver":"qemu-xhci","id":"x3"'
wait_for 10 '[ -e $U/usb5 ]'
check 'a controller that comes while the agent stands still is closed' '[ "$(cat $U/usb5/authorized_default)" = 0 ]'
kill -CONT $AGENT
mark
add '"driver":"usb-storage","id":"s","drive":"d_personal","bus":"x3.0","serial":"D2"'
refused 'a stick on it' D2 storage
unplug s
gone D2
load vhci-hcd
wait_for 10 '[ -e $U/usb7 ]'
check 'the controller of usbip is closed' '[ "$(cat $U/usb7/authorized_default)" = 0 ]'
mark
echo 1 >$U/usb5/authorized_default
comes 'a hub that somebody opens is closed again' 5 '[ "$(cat $U/usb5/authorized_default)" = 0 ]'
comes 'and that is said' 5 'said "\"event\":\"(closed|tampered)\""'
agent_end TERM
