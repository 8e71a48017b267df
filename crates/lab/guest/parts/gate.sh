# The real gate behind the agent: what a session on this terminal shows in clear ends with the
# terminal's health. The host asks the gate, through this terminal's tunnel.
open_up
mkdir -p $STATE /etc/sekisho-post
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
. /etc/gate
printf '[gate]\naddress = "%s"\npin = "%s"\nname = "lab"\n[tunnel]\nlisten = "127.0.0.1:5432"\n' "$GATE" "$PIN" >/etc/sekisho-post/agent.toml
lab-guest relay 10.0.2.15:5432 127.0.0.1:5432 &
RELAY=$!
# The company signs a medium where no agent runs.
stick c company C1
wait_for 10 '[ $(disks) = 1 ]'
check 'a medium is signed' 'sekisho-post token make --medium $(disk) --key /etc/token.key --client $CLIENT >/tmp/token 2>&1' "$(cat /tmp/token)"
unplug c
gone C1
agent_start
gate approve 'the terminal asks, two people approve it'
gate clear 'through a healthy terminal a name is shown'
gate masked-elsewhere 'past every terminal none is'

gate cursor 'a cursor shows two names'
mark
stick s personal G1
here G1
D=$(by_serial G1)
# It might be the company's: it is looked at for a token, while nobody can write to it.
comes 'a stick at the seat carries no token and is refused' 10 "decided '$D' token-missing refuse"
comes 'a stick at the seat is off' 5 '[ "$(authorized $D)" = 0 ] && [ $(interfaces $D) = 0 ]'
gate stops 'the running cursor shows no more'
gate masked 'a look-up beside the stick shows none'
unplug s
gone G1
gate clear 'the stick is out: a name is shown'

ip link set eth0 down
gate unhealthy 'the network is gone: the gate says so'
ip link set eth0 up
gate clear 'the network is back: a name is shown'

# copy FILE [COMMAND]: hands a file to the broker, and has its code said in a session through this
# terminal, after a command
copy() {
	# On a busy machine a terminal may be silent for a moment; a file is not offered twice.
	gate clear "before $1 is offered a name is shown"
	sekisho-post copy --grant $GRANT "$1" >/tmp/copied 2>&1 &
	COPY=$!
	wait_for 30 'grep -q sekisho.copy /tmp/copied' || failed "$1 is offered" "$(cat /tmp/copied)"
	eval "$2"
	gate "confirm $(grep -o "'[A-Z2-9]*'" /tmp/copied | tr -d "'")" "$1: its code is said in a session"
	wait $COPY
}
gate carry 'two people grant that three people are carried'
GRANT=$GATE_SAID
mark
stick c company C1
here C1
comes 'a medium with its token is for the broker' 10 'decided $(by_serial C1) storage broker'
M=$(disk)
gate clear 'beside it names are shown'
mount -t vfat -o ro "/dev/${M}1" /mnt/a
no_writes 'a company medium' /mnt/a
umount /mnt/a
no_raw_writes 'a company medium' "/dev/$M"
printf 'one,090-1234-5678\r\ntwo,090-1234-5679\r\n' >/tmp/list.csv
copy /tmp/list.csv
check 'a file under a grant is written' "grep -q '^written: .* 2 people' /tmp/copied" "$(tail -n 1 /tmp/copied)"
comes 'and that is said' 5 'said "\"event\":\"copied\""'
mount -t vfat -o ro "/dev/${M}1" /mnt/a
check 'it is on the medium as it was' 'cmp -s /tmp/list.csv /mnt/a/list.csv' "$(ls /mnt/a | tr '\n' ' ')"
no_writes 'after it, a company medium' /mnt/a
umount /mnt/a
no_raw_writes 'after it, a company medium' "/dev/$M"
cp /tmp/list.csv /tmp/more.csv
copy /tmp/more.csv
check 'more people than are granted are not' "grep -q '1 people left' /tmp/copied" "$(tail -n 1 /tmp/copied)"
gate clear 'names are shown all the while'
printf 'three,090-1234-5670\r\n' >/tmp/third.csv
copy /tmp/third.csv 'unplug c; gone C1'
check 'a medium that was taken out meanwhile gets nothing' "grep -q 'not written: no company medium' /tmp/copied" "$(tail -n 1 /tmp/copied)"
gate on-record 'all three files are on record'

agent_end KILL
gate no-session 'the agent is killed: no session'
gate unhealthy 'the agent is killed: the gate says so'
agent_start
gate clear 'the agent is back: a name is shown'
agent_end TERM
kill $RELAY
rm -f /etc/sekisho-post/*
