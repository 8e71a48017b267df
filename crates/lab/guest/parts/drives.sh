# Drives that are redirected into a virtual desktop: 9p and FUSE. They have no block device.
open_up
lab-guest fuse /mnt/b >/tmp/fuse &
wait_for 5 'grep -q " /mnt/b fuse" /proc/mounts'
agent_start
check 'FUSE, mounted before the agent: not written' '! sh -c "echo x >/mnt/b/written" 2>/dev/null'
umount /mnt/b
mount -t 9p -o trans=virtio,version=9p2000.L share /mnt/a
no_writes '9p' /mnt/a
umount /mnt/a
lab-guest fuse /mnt/b >/tmp/fuse &
wait_for 5 'grep -q " /mnt/b fuse" /proc/mounts'
check 'FUSE: not written' '! sh -c "echo x >/mnt/b/written" 2>/dev/null'
check 'FUSE: no folder is made' '! mkdir /mnt/b/folder 2>/dev/null'
check 'FUSE: nothing reached whoever serves it' '[ ! -s /tmp/fuse ]' "$(head -n 1 /tmp/fuse)"
comes 'what was refused is said' 5 'said "\"event\":\"refused\""'
agent_end TERM

# No guard: fanotify asks before files are opened. Only what is there is tried: a new file would be made
# before anybody is asked.
rm -rf /sys/fs/bpf/*
umount /mnt/b
printf 'guard = ""\n' >/tmp/unguarded.toml
lab-guest fuse /mnt/b filled >/tmp/fuse &
wait_for 5 'grep -q " /mnt/b fuse" /proc/mounts'
check 'no guard, no agent: FUSE is written' 'echo x 2>/dev/null >>/mnt/b/written && [ -s /tmp/fuse ]'
umount /mnt/b
lab-guest fuse /mnt/b filled >/tmp/fuse &
wait_for 5 'grep -q " /mnt/b fuse" /proc/mounts'
agent_start --config /tmp/unguarded.toml
check 'no guard: that is said' 'said "\"event\":\"guard\",\"programs\":0"'
comes 'no guard: FUSE, mounted before, is not written' 5 '! sh -c "echo x >>/mnt/b/written" 2>/dev/null'
mark
mount -t 9p -o trans=virtio,version=9p2000.L share /mnt/a
sleep 1
for how in '>>' '>' '<>'; do
	check "no guard: 9p, opened by $how, is refused" "! sh -c 'echo x ${how}/mnt/a/readme.txt' 2>/dev/null"
done
check 'no guard: nor with flags in memory' '! lab-guest openat2 /mnt/a/readme.txt 2>/dev/null'
READ=0
while [ $READ -lt 100 ] && grep -q hello /mnt/a/readme.txt; do READ=$((READ + 1)); done
check 'no guard: it can be read, each time' '[ $READ = 100 ] && ls /mnt/a >/dev/null' "$READ times"
check 'no guard: nothing reached whoever serves FUSE' '[ ! -s /tmp/fuse ]' "$(head -n 1 /tmp/fuse)"
comes 'no guard: what was refused is said' 5 'said "\"event\":\"refused\",\"channel\":\"fallback\",\"device\":\"\",\"count\":[1-9]"'
check 'no guard: it watches all, by its status' 'sekisho-post status --json --config /tmp/unguarded.toml | grep -q "\"fanotify\": true"'
mkdir -p /tmp/again
mount --bind /mnt/a /tmp/again
sleep 1
check 'no guard: nor is it written at a second place' '! sh -c "echo x >>/tmp/again/readme.txt" 2>/dev/null'
umount /tmp/again
sleep 1
check 'no guard: nor when that place is gone' '! sh -c "echo x >>/mnt/a/readme.txt" 2>/dev/null'
kill -STOP $AGENT
timeout 2 sh -c 'echo x >>/mnt/a/readme.txt' 2>/dev/null
check 'no guard, the agent stands still: whoever would write waits' '[ $? != 0 ]'
kill -CONT $AGENT
umount /mnt/a
agent_end TERM
umount /mnt/b

lab-guest fuse /mnt/b >/tmp/fuse &
wait_for 5 'grep -q " /mnt/b fuse" /proc/mounts'
agent_start
agent_end KILL
check 'dead agent: FUSE is not written' '! sh -c "echo x >/mnt/b/written" 2>/dev/null'
umount /mnt/b
