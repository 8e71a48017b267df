# What the agent costs: time to decide, memory, processor, latency of a permitted keyboard.
open_up
kernel_default 0
printf 'version = 1\n[devices]\nhub = "allow"\nkeyboard = "allow"\npointer = "allow"\n' >/etc/sekisho-post/policy.toml
stick s personal S1
here S1
lab-guest speed "$(by_serial S1)" 120 sekisho-post run 2>&1
unplug s
gone S1

kernel_default 1
plug '"driver":"usb-kbd","id":"k","serial":"S2","port":"9"'
wait_for 10 '[ $(keyboards) = 1 ]'
# The host presses them one at a time, each when the one before arrived
keys() { timeout 60 lab-guest keys "$(keyboard_node)" 40 "$1" || failed 'keys arrive' "$1"; }
for round in 1 2 3; do
	keys without
	agent_start
	wait_for 10 '[ $(keyboards) = 1 ]'
	keys with
	agent_end TERM
done
unplug k
gone S2

agent_start
# Nanoseconds on a processor, of all its threads
busy() { cat /proc/$AGENT/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
sleep 5
BEGIN=$(busy)
BEGIN_MS=$(ms)
sleep 45
SHARE=$(echo "$(busy) $BEGIN $(ms) $BEGIN_MS" | awk '{ printf "%.4f", ($1 - $2) / (($3 - $4) * 10000) }')
# How much slower this processor is than the one that emulates it: the same program on both.
THERE=$(cat /etc/yardstick)
HERE=$(lab-guest yardstick)
note "an idle agent with its heartbeats takes $SHARE % of the emulated processor; a file of the kernel is read in $HERE ns, outside in $THERE ns"
number 'an idle agent with its heartbeats, of a processor that is not emulated' "$(echo "$SHARE $THERE $HERE" | awk '{ printf "%.4f", $1 * $2 / $3 }')" % 0.1
number 'memory of the agent at most' "$(awk '/VmHWM/ { printf "%.2f", $2 / 1024 }' /proc/$AGENT/status)" MiB 10
agent_end TERM
rm /etc/sekisho-post/policy.toml
