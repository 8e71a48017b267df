# Started by the system's own init when it is up: the part of a guest that is a whole Debian, one start
# after the other; BOOT says which.
stty -echo
. /lab/functions.sh
usleep() { sleep "$(awk -v us="$1" 'BEGIN { print us / 1000000 }')"; }
BOOT=$(($(cat /lab/started 2>/dev/null || echo 0) + 1))
echo $BOOT >/lab/started
echo "@part|$(cat /lab/part)"
note "start $BOOT: $(. /etc/os-release && echo "$PRETTY_NAME"), kernel $(uname -r), at $(up) s"
. /lab/part.sh
sed 's/^/@error|/' /lab/errors
: >/lab/errors
journalctl -b -o short-monotonic --no-hostname -u sekisho-post -n 400 | sed 's/^/@log|/'
echo '@done'
systemctl poweroff
