# The agent killed, stopped, replaced, upgraded; events lost.
open_up
agent_start
agent_end KILL
stick s personal K1
here K1
stays 'killed: a stick stays off' 2 '[ $(disks) = 0 ] && [ "$(authorized $(by_serial K1))" = 0 ]'
agent_start
comes 'started again: it judges what came meanwhile' 5 'decided $(by_serial K1) storage refuse'
unplug s
gone K1

kill -STOP $AGENT
stick s personal K2
here K2
stays 'stopped: a stick stays off' 2 '[ $(disks) = 0 ] && [ "$(authorized $(by_serial K2))" = 0 ]'
mark
kill -CONT $AGENT
comes 'going on: it judges what came meanwhile' 5 'decided $(by_serial K2) storage refuse'
unplug s
gone K2

# Events come faster than the agent reads: the socket overflows, and everything is looked at again.
kill -STOP $AGENT
mark
# Events of the largest size, so that fewer are needed
FILL=$(head -c 1500 /dev/zero | tr '\0' x)
i=0
while [ $i -lt 6000 ]; do
	echo "change fe4d7c9d-b8c6-4a70-9ef1-3d8a58d18eed FILL=$FILL" >/sys/devices/virtual/mem/null/uevent
	i=$((i + 1))
done
stick s personal K3
here K3
kill -CONT $AGENT
comes 'a flood of events: it is noticed' 20 'said "\"event\":\"overflow\""'
comes 'and what came behind it is judged' 5 'decided $(by_serial K3) storage refuse'
unplug s
gone K3

# Root takes the guard's pins away.
mark
PROGRAMS=$(ls /sys/fs/bpf/sekisho/links-* | wc -l)
rm -rf /sys/fs/bpf/sekisho/links-*
comes 'unpinned: the guard is put back while the agent runs' 10 '[ "$(ls /sys/fs/bpf/sekisho/links-* 2>/dev/null | wc -l)" = "$PROGRAMS" ]'
comes 'and that is said' 5 'said "\"event\":\"tampered\",\"device\":\"guard\""'
mark
stays 'once' 5 '! said "\"event\":\"tampered\""'

# Another program in its place opens nothing.
agent_end TERM
printf '#!/bin/sh\nsleep 1000\n' >/bin/impostor
chmod +x /bin/impostor
impostor &
IMPOSTOR=$!
stick s personal K4
here K4
stays 'replaced by a program that does nothing: a stick stays off' 2 '[ $(disks) = 0 ]'
unplug s
gone K4
kill $IMPOSTOR

# An upgrade: a new binary takes over while the old one is still there; the guard never leaves.
agent_start
OLD=$AGENT
PINS=$(ls /sys/fs/bpf/* | sort | tr '\n' ' ')
cp /bin/sekisho-post /bin/sekisho-post.new
echo >>/bin/sekisho-post.new
mv /bin/sekisho-post.new /bin/sekisho-post
kill -TERM $OLD
wait $OLD 2>/dev/null
check 'upgraded: the guard is pinned while no agent is there' '[ "$(ls /sys/fs/bpf/* | sort | tr "\n" " ")" = "$PINS" ]'
agent_start
check 'upgraded: the new one took the guard over' 'said "\"event\":\"guard\".*\"taken_over\":true"'
mark
stick s personal K5
refused 'upgraded: a stick' K5 storage
unplug s
gone K5
agent_end TERM
