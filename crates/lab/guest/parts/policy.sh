# The policy changed while it runs, broken, and one that would lock everybody out.
open_up
POLICY=/etc/sekisho-post/policy.toml
rm -f $POLICY
# policy RULE-OF-CAMERA RULE-OF-KEYBOARD
policy() {
	printf 'version = 1\n[devices]\nhub = "allow"\npointer = "allow"\nsmart-card = "%s"\nkeyboard = "%s"\n' "$1" "$2" >$POLICY
}
policy allow confirm
agent_start
mark
plug '"driver":"usb-ccid","id":"c","serial":"L1","port":"7"'
here L1
D=$(by_serial L1)
allowed 'a smart-card reader' "$D" smart-card
mark
policy refuse confirm
kill -HUP $AGENT
comes 'a new policy is taken' 5 'said "\"event\":\"policy-taken\""'
comes 'and the device that it refuses goes off' 5 '[ "$(authorized $D)" = 0 ]'
mark
echo 'version = 1 [devices' >$POLICY
kill -HUP $AGENT
comes 'a broken policy is rejected, with the reason' 5 'said "\"event\":\"policy-rejected\".*\"reason\":\".+\""'
check 'the one before is in force' '[ "$(authorized $D)" = 0 ]'
mark
echo 'version = 1
[devices]
hub = "allow"
floppy = "allow"' >$POLICY
kill -HUP $AGENT
comes 'a policy with unknown words is rejected' 5 'said "\"event\":\"policy-rejected\".*floppy"'
mark
# The keyboard that is not on USB goes: with it nobody would be locked out.
SERIO=$(basename /sys/bus/serio/drivers/atkbd/serio*)
echo -n "$SERIO" >/sys/bus/serio/drivers/atkbd/unbind
plug '"driver":"usb-kbd","id":"k","serial":"L2","port":"8"'
here L2
comes 'the only keyboard is asked for a code on itself' 5 'said "\"event\":\"confirm\".*\"on_itself\":true"'
policy refuse refuse
kill -HUP $AGENT
comes 'a policy that would lock everybody out is rejected, with the device' 5 'said "\"event\":\"policy-rejected\".*lock everybody out.*keyboard.*$(by_serial L2)"'
echo -n rescan >"/sys/bus/serio/devices/$SERIO/drvctl"
unplug k
gone L2
echo 'no policy' >$POLICY
agent_end TERM
agent_start
check 'started with a broken policy: it is said' 'said "\"event\":\"policy-rejected\""'
check 'and the last good one is in force' '[ "$(authorized $D)" = 0 ]'
mark
policy allow confirm
kill -HUP $AGENT
comes 'a good policy again' 5 'said "\"event\":\"policy-taken\""'
comes 'and the device works' 5 '[ "$(authorized $D)" = 1 ]'
unplug c
gone L1
agent_end TERM
rm -f $POLICY
