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
agent_end KILL
check 'dead agent: FUSE is not written' '! sh -c "echo x >/mnt/b/written" 2>/dev/null'
umount /mnt/b
