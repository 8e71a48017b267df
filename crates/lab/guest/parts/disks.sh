# Storage that is not USB, and storage that is there all the same: read-only flags and the guard.
open_up
agent_start
comes 'the card in the reader is read-only' 5 '[ "$(cat /sys/block/mmcblk0/ro)" = 1 ]'
comes 'the disc in the built-in drive is known as foreign' 5 'said "\"event\":\"disk\".*\"device\":\"sr0\""'
check 'the guard is pinned' 'said "\"event\":\"guard\",\"programs\":[1-9]" && [ -n "$(ls /sys/fs/bpf)" ]' "$(ls /sys/fs/bpf/* | wc -l) pins"
mark
add '"driver":"nvme","id":"nv","drive":"d_disk","serial":"NV1"'
comes 'a hot-plugged NVMe disk is read-only' 10 '[ "$(cat /sys/block/nvme0n1/ro 2>/dev/null)" = 1 ]'
comes 'and that is said' 5 'said "\"event\":\"disk\".*\"device\":\"nvme0n1\".*\"ro\":true"'
check 'mounted for writing it comes read-only' 'mount -t vfat /dev/nvme0n1 /mnt/a 2>/dev/null || mount -t vfat -o ro /dev/nvme0n1 /mnt/a; grep -q " /mnt/a vfat ro" /proc/mounts'
no_writes 'NVMe' /mnt/a
check 'NVMe: it is not remounted for writing' '! mount -o remount,rw /mnt/a 2>/dev/null && grep -q " /mnt/a vfat ro" /proc/mounts'
umount /mnt/a
no_raw_writes 'NVMe' /dev/nvme0n1
check 'NVMe: blockdev --setrw is refused' '! blockdev --setrw /dev/nvme0n1 2>/dev/null && [ "$(cat /sys/block/nvme0n1/ro)" = 1 ]'
no_raw_writes 'card' /dev/mmcblk0
check 'card: blockdev --setrw is refused' '! blockdev --setrw /dev/mmcblk0 2>/dev/null && [ "$(cat /sys/block/mmcblk0/ro)" = 1 ]'
check 'card: force_ro cannot be lifted' 'echo 0 >/sys/block/mmcblk0/force_ro 2>/dev/null; ! dd if=/dev/zero of=/dev/mmcblk0 bs=512 seek=9100 count=1 conv=notrunc,fsync 2>/dev/null'
comes 'disc: it can be read' 5 'mount -t vfat -o ro /dev/sr0 /mnt/b && grep -q hello /mnt/b/readme.txt'
umount /mnt/b
check 'disc: generic SCSI is closed' '! ls /dev/sg* >/dev/null 2>&1 || ! dd if=/dev/sg0 of=/dev/null count=0 2>/dev/null'
comes 'what the guard refused is counted and said' 5 'said "\"event\":\"refused\""'
unplug nv
wait_for 10 '[ ! -e /sys/block/nvme0n1 ]'

# The agent is dead: nobody sets flags, the guard alone refuses.
agent_end KILL
add '"driver":"nvme","id":"nv","drive":"d_disk","serial":"NV2"'
wait_for 10 '[ -e /sys/block/nvme0n1 ]'
check 'dead agent: nobody set the flag' '[ "$(cat /sys/block/nvme0n1/ro)" = 0 ]'
mount -t vfat /dev/nvme0n1 /mnt/a 2>/dev/null || mount -t vfat -o ro /dev/nvme0n1 /mnt/a
no_writes 'dead agent' /mnt/a
check 'dead agent: it is not remounted for writing' '! mount -o remount,rw /mnt/a 2>/dev/null'
umount /mnt/a
no_raw_writes 'dead agent' /dev/nvme0n1
kernel_default 1
stick s personal N1
comes 'dead agent: root opens a stick' 10 '[ $(disks) = 1 ]'
mount -t vfat /dev/"$(disk)" /mnt/b 2>/dev/null || mount -t vfat -o ro /dev/"$(disk)" /mnt/b
no_writes 'dead agent, opened stick' /mnt/b
umount /mnt/b
no_raw_writes 'dead agent, opened stick' "/dev/$(disk)"

agent_start
comes 'what was refused while no agent lived is said by the next' 5 'said "\"event\":\"refused\".*\"device-write\""'
comes 'a new agent takes the stick away' 5 '[ $(disks) = 0 ]'
comes 'and makes the disk read-only' 5 '[ "$(cat /sys/block/nvme0n1/ro)" = 1 ]'
check 'it took the guard over' 'said "\"event\":\"guard\".*\"taken_over\":true"'
unplug s
gone N1
unplug nv
wait_for 10 '[ ! -e /sys/block/nvme0n1 ]'
agent_end TERM

# In early boot nobody knows the system's disks yet: no flag. One that turns out to be the machine's own
# loses it.
open_up
printf 'guard = ""\nread_only_flags = false\n' >/tmp/early.toml
printf 'own_disks = ["nvme0n1"]\n' >/tmp/own.toml
agent_start --config /tmp/early.toml
mark
add '"driver":"nvme","id":"nv","drive":"d_disk","serial":"NV3"'
comes 'early boot: a foreign disk is seen' 10 'said "\"event\":\"disk\".*\"device\":\"nvme0n1\""'
stays 'and gets no read-only flag' 3 '[ "$(cat /sys/block/nvme0n1/ro)" = 0 ]'
agent_end TERM
agent_start
comes 'it gets one from the agent of the system' 5 '[ "$(cat /sys/block/nvme0n1/ro)" = 1 ]'
agent_end TERM
agent_start --config /tmp/own.toml
comes 'and loses it where it is found to be own' 5 '[ "$(cat /sys/block/nvme0n1/ro)" = 0 ]'
agent_end TERM
unplug nv
wait_for 10 '[ ! -e /sys/block/nvme0n1 ]'
