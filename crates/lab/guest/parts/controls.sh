# No agent: the kernel alone. First closed, with the stick that was there at boot; then open, each
# device of the other parts shown to work, so that "refused" means something there.

# authorized_default=0 since boot
here BOOT1
D=$(by_serial BOOT1)
check 'kernel: a stick present at boot waits' '[ "$(authorized $D)" = 0 ] && [ $(interfaces $D) = 0 ] && [ $(disks) = 0 ]' "$D"
check 'kernel: descriptors can be read before authorisation' '[ $(wc -c <$U/$D/descriptors) -gt 18 ]' "$(wc -c <$U/$D/descriptors) bytes"
echo 1 >"$U/$D/authorized"
comes 'control: authorised, it is a disk' 10 '[ $(disks) = 1 ]'
unplug boot
gone BOOT1

kernel_default 1
stick s control C1
comes 'control: a stick is a disk' 10 '[ $(disks) = 1 ]'
check 'control: usbfs reaches it' 'lab-guest usbfs $(usbfs $(by_serial C1)) >/tmp/usbfs 2>&1'
note "$(tr '\n' ' ' </tmp/usbfs)"
unplug s
gone C1
stick s control C2
comes 'control: a stick is a disk again' 10 '[ $(disks) = 1 ]'
SD=$(disk)
mount -t vfat /dev/"$SD" /mnt/a
check 'control: it can be read' 'grep -q hello /mnt/a/readme.txt'
check 'control: files can be written, made and renamed' 'echo x >/mnt/a/x && mkdir /mnt/a/d && mv /mnt/a/x /mnt/a/d/y'
umount /mnt/a
check 'control: the raw device can be written' 'dd if=/dev/zero of=/dev/$SD bs=512 seek=9000 count=1 conv=notrunc,fsync 2>/dev/null'
unplug s
gone C2

uas u control U1
comes 'control: a UAS drive is a disk' 10 '[ $(disks) = 1 ]'
unplug u
gone U1

optical o disc O1
comes 'control: an optical drive appears' 10 '[ $(discs) = 2 ]'
comes 'control: its disc can be read' 10 'mount -t vfat -o ro /dev/sr1 /mnt/a && grep -q hello /mnt/a/readme.txt'
umount /mnt/a
unplug o
gone O1

plug '"driver":"usb-kbd","id":"k","serial":"K1"'
comes 'control: a keyboard is an input device' 10 '[ $(keyboards) = 1 ]'
check 'control: its keys arrive' 'timeout 10 lab-guest keys "$(keyboard_node)" 3 control'
unplug k
gone K1

plug "\"driver\":\"usb-mtp\",\"id\":\"m\",\"rootdir\":\"$(cat /etc/phone)\",\"serial\":\"M1\""
here M1
comes 'control: a phone offers its files' 5 '[ $(interfaces $(by_serial M1)) = 1 ]'
unplug m
gone M1

plug '"driver":"usb-net","id":"n","netdev":"n0"'
comes 'control: a USB network is an interface' 10 'ls /sys/class/net | grep -qE "^(usb|eth|enx)"'
unplug n
comes 'device network goes away' 10 '! ls /sys/class/net | grep -qE "^(usb|eth|enx)"'

plug '"driver":"usb-serial","id":"t","chardev":"c0","always-plugged":true'
comes 'control: a serial adapter is a port' 10 '[ -e /dev/ttyUSB0 ]'
unplug t
comes 'device serial goes away' 10 '[ ! -e /dev/ttyUSB0 ]'

add '"driver":"nvme","id":"nv","drive":"d_control","serial":"NV1"'
comes 'control: an NVMe disk appears' 10 '[ -e /sys/block/nvme0n1 ]'
check 'control: it can be written' '[ "$(cat /sys/block/nvme0n1/ro)" = 0 ] && dd if=/dev/zero of=/dev/nvme0n1 bs=512 seek=9001 count=1 conv=notrunc,fsync 2>/dev/null'
unplug nv
comes 'device NVMe goes away' 10 '[ ! -e /sys/block/nvme0n1 ]'

comes 'control: the card in the reader is a disk' 10 '[ -e /sys/block/mmcblk0 ]'
check 'control: the kernel would let it be written' '[ "$(cat /sys/block/mmcblk0/ro)" = 0 ]'
check 'control: the built-in optical drive is there' '[ -e /sys/block/sr0 ]'

mount -t 9p -o trans=virtio,version=9p2000.L control-share /mnt/a
check 'control: a drive of the virtual desktop (9p) can be written' 'echo x >/mnt/a/written'
umount /mnt/a
lab-guest fuse /mnt/a &
FUSE=$!
comes 'control: a drive of the virtual desktop (FUSE) is mounted' 5 'grep -q " /mnt/a fuse" /proc/mounts'
check 'control: it can be written' 'echo x >/mnt/a/written'
umount /mnt/a
kill $FUSE 2>/dev/null
kernel_default 0
