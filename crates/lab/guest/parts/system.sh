# The package on a whole Debian, as its documentation says: installed and enrolled, closed from the
# first second of the next start, upgraded, removed, and open at the start after that.
UNIT=sekisho-post
PARAMETER=/sys/module/usbcore/parameters/authorized_default
. /lab/gate
# What the agent says since now.
follow() {
	pkill journalctl
	: >$AGENT_LOG
	journalctl -f -n 0 -o cat -u $UNIT >>$AGENT_LOG 2>/dev/null &
	# Until it listens
	sleep 2
	mark
}
# long COMMAND...: what takes minutes under emulation; the host hears that it goes on
long() {
	LONG_BEGIN=$(ms)
	"$@" >/tmp/long 2>&1 &
	while kill -0 $! 2>/dev/null; do
		echo '@log|.'
		sleep 5
	done
	wait $!
	LONG=$?
	note "$*: $(($(ms) - LONG_BEGIN)) ms"
	return $LONG
}
active() { [ "$(systemctl is-active $UNIT)" = active ]; }
in_first_files() { lsinitramfs "/boot/initrd.img-$(uname -r)" | grep -q 'usr/sbin/sekisho-post'; }
at_next_start() { grep -qE "^[[:space:]]*linux[[:space:]].*usbcore.authorized_default=0" /boot/grub/grub.cfg; }
property() { systemctl show -P "$1" $UNIT; }
# copy FILE: as an ordinary user
copy() { setpriv --reuid=65534 --regid=65534 --clear-groups sekisho-post copy --grant 1 "$1"; }

case $BOOT in
1)
	stick c control K1
	comes 'control: without the package a stick is a disk' 10 '[ $(disks) = 1 ]'
	unplug c
	gone K1
	long dpkg -i /lab/agent.deb
	check 'the package is installed, and says that nothing is closed' 'grep -q "nothing is closed yet" /tmp/long' "$(tail -n 3 /tmp/long)"
	check 'nothing is closed by it' '[ "$(cat $PARAMETER)" != 0 ] && ! systemctl is-enabled -q $UNIT'
	printf '[tunnel]\nlisten = "127.0.0.1:5432"\n' >>/etc/sekisho-post/agent.toml
	check 'it is enrolled' 'sekisho-post enroll --gate $GATE --pin $PIN >/tmp/enroll 2>&1' "$(tail -n 3 /tmp/enroll)"
	follow
	check 'the unit is enabled and started' 'systemctl enable --now $UNIT 2>/tmp/enable' "$(tail -n 2 /tmp/enable)"
	comes 'the agent is ready' 60 'said "\"event\":\"ready\""'
	check 'the keyboard of the enrolment works' '[ $(keyboards) -ge 1 ]'
	gate approve 'it asks the gate; two people approve it'
	/lab/lab-guest relay 10.0.2.15:5432 127.0.0.1:5432 &
	gate clear 'through the service a name is shown'
	stick s personal S1
	here S1
	comes 'a stick is refused' 10 'decided $(by_serial S1) token-missing refuse'
	unplug s
	gone S1
	long update-initramfs -u
	check 'the first file system is made again' '[ $LONG = 0 ]' "$(tail -n 2 /tmp/long)"
	check 'the agent is in it' in_first_files
	long update-grub
	check 'so are the entries of the boot loader' '[ $LONG = 0 ]' "$(tail -n 2 /tmp/long)"
	check 'and they close' at_next_start
	;;
2)
	check 'the kernel was started closed' 'grep -q usbcore.authorized_default=0 /proc/cmdline && [ "$(cat $PARAMETER)" = 0 ]'
	cat /run/passphrase | sed 's/^/@log|/'
	check 'the keyboard works where a disk asks for its passphrase, and no stick is a disk' "grep -q 'USB Keyboard' /run/passphrase && ! grep -q '^sd' /run/passphrase" "$(head -n 1 /run/passphrase) s"
	EARLY=/run/sekisho-post-early/log
	sed 's/^/@log|/' $EARLY
	check 'an agent ran before the root file system was there' 'grep -q "\"event\":\"ready\"" $EARLY' "$(head -c 300 $EARLY)"
	check 'it refused the stick that was plugged in' 'grep -F "\"event\":\"attached\"" $EARLY | grep -F "\"storage\"" | grep -qF "\"outcome\":\"refuse\""'
	check 'it let the keyboard in' 'grep -F "\"event\":\"attached\"" $EARLY | grep -F "\"keyboard\"" | grep -qF "\"outcome\":\"allow\""'
	comes 'the unit runs' 60 active
	check 'it came before whatever needs the system to be set up' '[ "$(property ActiveEnterTimestampMonotonic)" -lt "$(systemctl show -P ActiveEnterTimestampMonotonic sysinit.target)" ]'
	comes 'it alone runs' 20 '[ "$(pgrep -cx sekisho-post)" = 1 ] && [ "$(pgrep -x sekisho-post)" = "$(property MainPID)" ]'
	check 'the keyboard works' '[ $(keyboards) -ge 1 ]'
	comes 'the stick of the start is off' 20 '[ $(disks) = 0 ] && [ "$(authorized $(by_serial BOOT1))" = 0 ]'
	/lab/lab-guest relay 10.0.2.15:5432 127.0.0.1:5432 &
	gate masked 'beside it no name is shown'
	unplug boot
	gone BOOT1
	gate clear 'without it a name is shown'
	comes 'its own status is healthy' 30 'sekisho-post status >/tmp/status 2>&1'
	printf 'one,090-1234-5678\n' >/tmp/list.csv
	copy /tmp/list.csv >/tmp/copied 2>&1
	check 'an ordinary user reaches the broker' 'grep -q "no company medium" /tmp/copied' "$(tail -n 1 /tmp/copied)"
	check 'and nothing of its state' '! setpriv --reuid=65534 --regid=65534 --clear-groups ls /var/lib/sekisho-post 2>/dev/null'
	follow
	stick s personal S1
	here S1
	comes 'a stick is refused' 10 'decided $(by_serial S1) token-missing refuse'
	comes 'it is off' 10 '[ "$(authorized $(by_serial S1))" = 0 ] && [ $(disks) = 0 ]'
	unplug s
	gone S1
	follow
	KILLED=$(property MainPID)
	kill -KILL "$KILLED"
	comes 'killed, it is started again' 20 '[ "$(property MainPID)" != $KILLED ] && active && said "\"event\":\"ready\""'
	gate clear 'and a name is shown'
	follow
	long dpkg -i /lab/agent.deb
	check 'it is upgraded while it runs' '[ $LONG = 0 ]' "$(tail -n 2 /tmp/long)"
	comes 'the new one runs' 20 'active && said "\"event\":\"ready\"" && said "\"taken_over\":true"'
	check 'the agent of the next start is there' 'in_first_files && at_next_start'
	long dpkg -r $UNIT
	check 'it is removed, and says what stays' '[ $LONG = 0 ] && grep -q "stays pinned" /tmp/long' "$(tail -n 2 /tmp/long)"
	check 'nothing of it runs' '! pgrep -x sekisho-post'
	check 'the next start is open' '! in_first_files && ! at_next_start'
	stick s personal S2
	here S2
	stays 'until then a stick stays off' 3 '[ "$(authorized $(by_serial S2))" = 0 ] && [ $(disks) = 0 ]'
	;;
3)
	check 'the kernel was started open' '! grep -q usbcore.authorized_default /proc/cmdline && [ "$(cat $PARAMETER)" != 0 ]'
	comes 'the stick is a disk again' 10 '[ $(disks) = 1 ]'
	check 'what a person may have changed is kept' '[ -e /etc/sekisho-post/policy.toml ]'
	long dpkg -P $UNIT
	check 'purged, nothing is left of it' '[ ! -e /etc/sekisho-post/policy.toml ] && [ ! -e /var/lib/sekisho-post ]' "$(ls /var/lib/sekisho-post /etc/sekisho-post 2>&1 | tr '\n' ' ')"
	;;
esac
