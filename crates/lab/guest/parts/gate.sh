# The real gate behind the agent: what a session on this terminal shows in clear ends with the
# terminal's health. The host asks the gate, through this terminal's tunnel.
gate() {
	echo "@gate|$1|$2"
	read -r GATE_SAID
}
open_up
mkdir -p $STATE /etc/sekisho-post
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
. /etc/gate
printf '[gate]\naddress = "%s"\npin = "%s"\nname = "lab"\n[tunnel]\nlisten = "127.0.0.1:5432"\n' "$GATE" "$PIN" >/etc/sekisho-post/agent.toml
lab-guest relay 10.0.2.15:5432 127.0.0.1:5432 &
RELAY=$!
agent_start
gate approve 'the terminal asks, two people approve it'
gate clear 'through a healthy terminal a name is shown'
gate masked-elsewhere 'past every terminal none is'

gate cursor 'a cursor shows two names'
mark
stick s personal G1
refused 'a stick at the seat' G1 storage
gate stops 'the running cursor shows no more'
gate masked 'a look-up beside the stick shows none'
unplug s
gone G1
gate clear 'the stick is out: a name is shown'

ip link set eth0 down
gate unhealthy 'the network is gone: the gate says so'
ip link set eth0 up
gate clear 'the network is back: a name is shown'

agent_end KILL
gate no-session 'the agent is killed: no session'
gate unhealthy 'the agent is killed: the gate says so'
agent_start
gate clear 'the agent is back: a name is shown'
agent_end TERM
kill $RELAY
rm -f /etc/sekisho-post/*
