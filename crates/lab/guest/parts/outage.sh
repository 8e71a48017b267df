# The gate out of reach for long, the clock set, the disk full: the terminal stays closed.
open_up
mkdir -p $STATE /etc/sekisho-post
printf 'version = 1\n[devices]\nhub = "allow"\npointer = "allow"\nkeyboard = "confirm"\n[terminal]\nqueue_bytes_max = 65536\n' >/etc/sekisho-post/policy.toml
# Nothing listens there.
printf '[gate]\naddress = "127.0.0.1:9"\npin = "%064d"\n' 0 >/etc/sekisho-post/agent.toml
agent_start
mark
stick s personal Q1
refused 'without a gate: a stick' Q1 storage
# As many reports as a day brings
i=0
while [ $i -lt 2000 ]; do
	echo add >"$U/$D/uevent"
	i=$((i + 1))
done
mark
echo add >"$U/$D/uevent"
comes 'without a gate: a day of events later it still decides' 60 'decided $D storage refuse'
check 'without a gate: what waits on disk is bounded' '[ $(du -sk $STATE | cut -f1) -le 192 ]' "$(du -sk $STATE | cut -f1) KiB"
unplug s
gone Q1
for year in 2001 2036; do
	date -s "$year-01-01 00:00:00" >/dev/null
	mark
	stick s personal "Q$year"
	refused "clock set to $year: a stick" "Q$year" storage
	unplug s
	gone "Q$year"
done
agent_end TERM

# With its key there, as on any terminal that ever ran
mount -t tmpfs -o size=256k none $STATE
agent_start
agent_end TERM
dd if=/dev/zero of=$STATE/filler bs=1k 2>/dev/null
check 'disk full: it is' '! dd if=/dev/zero of=$STATE/more bs=4096 count=1 2>/dev/null'
agent_start
mark
stick s personal Q3
refused 'disk full: a stick' Q3 storage
unplug s
gone Q3
agent_end TERM
umount $STATE
rm -f /etc/sekisho-post/*
