# A keyboard that nobody knows types by itself: nothing of it arrives.
# everything_typed FILE: what every input device delivers from now on
everything_typed() {
	rm -f /tmp/typed.*
	for node in /dev/input/event*; do
		[ -e "$node" ] && { cat "$node" >"/tmp/typed.${node##*/}" & }
	done
}
type_keys() {
	for key in "$@"; do
		qmp "{\"execute\":\"send-key\",\"arguments\":{\"keys\":[{\"type\":\"qcode\",\"data\":\"$key\"}]}}"
	done
}
open_up
plug '"driver":"usb-kbd","id":"k","serial":"H0","port":"8"'
wait_for 10 '[ $(keyboards) = 1 ]'
check 'control: without the agent it types' 'timeout 10 lab-guest keys "$(keyboard_node)" 2 control'
unplug k
gone H0
agent_start
mark
plug '"driver":"usb-kbd","id":"k","serial":"H1","port":"7"'
here H1
D=$(by_serial H1)
comes 'an unknown keyboard waits for its code' 5 'said "\"event\":\"attached\".*\"device\":\"$D\".*\"reason\":\"unconfirmed\""'
comes 'its code is asked for on the keyboard that is not on USB' 5 'said "\"event\":\"confirm\".*\"on_itself\":false"'
everything_typed
type_keys a b c ret
stays 'nothing of what it types arrives' 2 '! cat /tmp/typed.* 2>/dev/null | grep -q .'
agent_end KILL
agent_start
mark
qmp '{"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"a"}]}}'
stays 'nor after the agent was killed and is back' 2 '! cat /tmp/typed.* 2>/dev/null | grep -q .'
unplug k
gone H1

# Without another keyboard the code is typed on the new one, and only the agent gets its keys.
for port in /sys/bus/serio/drivers/atkbd/serio*; do
	[ -e "$port" ] && echo "${port##*/}" >/sys/bus/serio/drivers/atkbd/unbind
done
mark
plug '"driver":"usb-kbd","id":"k","serial":"H2","port":"6"'
here H2
D=$(by_serial H2)
comes 'without another keyboard its code is asked for on itself' 5 'said "\"event\":\"confirm\".*\"on_itself\":true"'
comes 'for that it is let in' 5 '[ $(keyboards) = 1 ]'
everything_typed
type_keys a b c ret
stays 'nothing of what it types arrives meanwhile' 2 '! cat /tmp/typed.* 2>/dev/null | grep -q .'
CODE=$(lines | grep '"event":"confirm"' | grep -o '"code":"[0-9]*"' | grep -o '[0-9]*')
type_keys $(echo "$CODE" | sed 's/./& /g') ret
comes 'the code typed on itself lets it in' 5 'said "\"event\":\"attached\".*\"device\":\"$D\".*\"reason\":\"confirmed\""'
unplug k
gone H2
agent_end TERM
