// SPDX-License-Identifier: GPL-2.0-only
// The guard of Sekisho's terminal agent: BPF LSM programs that keep refusing writes to storage that
// is not the machine's own, with no process alive. Its own file and its own licence: the kernel
// offers what it needs to GPL-compatible programs only. The agent loads the compiled object, pins
// programs and maps, and fills the maps; it never links this.
//
// The rule is an allow-list. A block device whose number is not in `own` is foreign, so what is
// plugged in while no agent lives is refused too. `own` is filled before `settings` switches the
// programs on.
//
// What it never does: look at names, paths or processes' names. A writer is told apart by the
// object that it touches; the one exception is the broker, by its process (the id, and when it was
// started: ids come again), for one device.
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

#define CORE __attribute__((preserve_access_index))
#define EPERM 1
#define EROFS 30

typedef __u32 dev_t;
typedef unsigned short umode_t;
struct super_block { dev_t s_dev; unsigned long s_flags; unsigned long s_magic; } CORE;
struct inode { umode_t i_mode; dev_t i_rdev; struct super_block *i_sb; } CORE;
struct dentry { struct inode *d_inode; struct super_block *d_sb; } CORE;
struct path { struct dentry *dentry; } CORE;
struct file { unsigned int f_mode; struct inode *f_inode; } CORE;
struct task_struct { struct task_struct *group_leader; __u64 start_boottime; } CORE;
struct iattr;
struct mnt_idmap;

// Kinds in the upper half of a key; in `refused` the channel is above them.
// The lower half is the kernel's dev_t.
enum { BLOCK = 0, CHARACTER = 1, ANONYMOUS = 2 };
// Channels: the index in `counts`. The agent has the same list (guard.rs).
enum {
	FILE_WRITE, DEVICE_WRITE, CONTROL, MOUNT, REMOUNT, ENTRY, ATTRIBUTE, HELD, USBFS, GENERIC, CHANNELS
};
// What a character driver's devices are refused.
enum { WRITING = 1, ALL = 2 };

struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } settings SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8192); __type(key, __u64); __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } own SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16); __type(key, __u64); __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } broker SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, __u64); __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } drivers SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, __u64); __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } filesystems SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } counts SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 1024); __type(key, __u64); __type(value, __u64); __uint(pinning, LIBBPF_PIN_BY_NAME); } refused SEC(".maps");

static __always_inline int on(void)
{
	__u32 first = 0;
	__u64 *mode = bpf_map_lookup_elem(&settings, &first);
	return mode && *mode == 1;
}

static __always_inline int refuse(__u64 key, __u32 channel, int error)
{
	__u64 one = 1;
	__u64 *count = bpf_map_lookup_elem(&counts, &channel);
	if (count)
		__sync_fetch_and_add(count, 1);
	key |= (__u64)channel << 48;
	count = bpf_map_lookup_elem(&refused, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&refused, &key, &one, BPF_NOEXIST);
	return -error;
}

// A process by its id and its start, in hundredths of a second as /proc/PID/stat says it.
static __always_inline __u64 this_process(void)
{
	// Not read by a helper: a locked-down kernel gives none.
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 started = task->group_leader->start_boottime;
	return (started / 10000000) << 32 | bpf_get_current_pid_tgid() >> 32;
}

static __always_inline int mine(__u64 key)
{
	if (bpf_map_lookup_elem(&own, &key))
		return 1;
	__u64 *process = bpf_map_lookup_elem(&broker, &key);
	return process && *process == this_process();
}

// Memory disks (1) and loop devices (7): what they write lands on a device that is judged itself.
static __always_inline int foreign_block(__u32 dev)
{
	__u32 major = dev >> 20;
	return major != 1 && major != 7 && !mine(dev);
}

// A superblock's key if writing to it is refused, else 0: no block device has number 0.
static __always_inline __u64 foreign_super(__u32 dev, __u64 magic)
{
	if (!on())
		return 0;
	if (dev >> 20)
		return foreign_block(dev) ? dev : 0;
	if (!bpf_map_lookup_elem(&filesystems, &magic))
		return 0;
	__u64 key = (__u64)ANONYMOUS << 32 | dev;
	return mine(key) ? 0 : key;
}
#define FOREIGN(sb) foreign_super((sb)->s_dev, (sb)->s_magic)

static __always_inline int is_kind(umode_t mode, umode_t kind) { return (mode & 0170000) == kind; }
#define IS_BLOCK(mode) is_kind(mode, 0060000)
#define IS_CHARACTER(mode) is_kind(mode, 0020000)

// 0, or how much the character driver of `dev` is refused.
static __always_inline __u64 closed_driver(__u32 dev)
{
	__u64 major = dev >> 20;
	__u64 *how = bpf_map_lookup_elem(&drivers, &major);
	if (!how || !on() || mine((__u64)CHARACTER << 32 | dev))
		return 0;
	return *how;
}

SEC("lsm/file_open")
int BPF_PROG(guard_open, struct file *file, int ret)
{
	if (ret)
		return ret;
	struct inode *inode = file->f_inode;
	umode_t mode = inode->i_mode;
	__u32 dev = inode->i_rdev;
	int writing = file->f_mode & 2; // FMODE_WRITE: exact, on every way to open
	if (IS_CHARACTER(mode)) {
		__u64 how = closed_driver(dev);
		if (how == ALL)
			return refuse((__u64)CHARACTER << 32 | dev, GENERIC, EPERM);
		if (how == WRITING && writing)
			return refuse((__u64)CHARACTER << 32 | dev, USBFS, EPERM);
		return 0;
	}
	if (!writing)
		return 0;
	if (IS_BLOCK(mode))
		return on() && foreign_block(dev) ? refuse(dev, DEVICE_WRITE, EPERM) : 0;
	if (!is_kind(mode, 0100000))
		return 0;
	__u64 key = FOREIGN(inode->i_sb);
	return key ? refuse(key, FILE_WRITE, EPERM) : 0;
}

// Files that were opened before the guard was there, or before their device became foreign.
SEC("lsm/file_permission")
int BPF_PROG(guard_held, struct file *file, int mask, int ret)
{
	if (ret || !(mask & 2)) // MAY_WRITE
		return ret;
	struct inode *inode = file->f_inode;
	umode_t mode = inode->i_mode;
	if (IS_BLOCK(mode)) {
		__u32 dev = inode->i_rdev;
		return on() && foreign_block(dev) ? refuse(dev, HELD, EPERM) : 0;
	}
	if (!is_kind(mode, 0100000))
		return 0;
	__u64 key = FOREIGN(inode->i_sb);
	return key ? refuse(key, HELD, EPERM) : 0;
}

SEC("lsm/mmap_file")
int BPF_PROG(guard_map, struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags, int ret)
{
	if (ret || !file || !(prot & 2) || (flags & 3) == 2) // PROT_WRITE, not MAP_PRIVATE
		return ret;
	struct inode *inode = file->f_inode;
	umode_t mode = inode->i_mode;
	if (IS_BLOCK(mode)) {
		__u32 dev = inode->i_rdev;
		return on() && foreign_block(dev) ? refuse(dev, HELD, EPERM) : 0;
	}
	if (!is_kind(mode, 0100000))
		return 0;
	__u64 key = FOREIGN(inode->i_sb);
	return key ? refuse(key, HELD, EPERM) : 0;
}

// The controls of a block device that only read: sizes, geometry, identity, drive status. All
// others are refused, BLKROSET, BLKDISCARD, SG_IO, NVMe and MMC pass-through among them: those
// write through a descriptor that is open for reading.
static __always_inline int reading_control(unsigned int cmd)
{
	switch (cmd) {
	case 0x125e: case 0x1260: case 0x1261: case 0x1263: case 0x1266: // BLKROGET GETSIZE FLSBUF RAGET FRAGET
	case 0x1267: case 0x1268: case 0x1278: case 0x1279: case 0x127a: // SECTGET SSZGET IOMIN IOOPT ALIGNOFF
	case 0x127b: case 0x127c: case 0x127e: // PBSZGET DISCARDZEROES ROTATIONAL
	case 0x80081270: case 0x80081272: case 0x80081280: // BSZGET GETSIZE64 GETDISKSEQ
	case 0x80041270: case 0x80041272: // the same, asked by 32-bit programs
	case 0x125f: // BLKRRPART: reads the partition table again
	case 0x0301: case 0x030d: // HDIO_GETGEO, HDIO_GET_IDENTITY
	case 0x5305: case 0x5306: case 0x5310: case 0x5326: case 0x5327: case 0x5328: case 0x5331: // CDROM: table of contents, session, status
	case 0x5394: case 0x5395: case 0x5396: case 0x5309: case 0x5325: case 0x5329: // CDROM: eject, media changed, lock door
	case 0x5382: case 0x2282: case 0x5386: // SCSI_IOCTL_GET_IDLUN, SG_GET_VERSION_NUM, GET_BUS_NUMBER
	case 0x5401: // TCGETS: "is it a terminal?"
		return 1;
	}
	return 0;
}

// The controls of files and folders that only read.
static __always_inline int reading_file_control(unsigned int cmd)
{
	switch (cmd) {
	case 0x5401: case 0x541b: case 1: case 2: // TCGETS FIONREAD FIBMAP FIGETBSZ
	case 0x5450: case 0x5451: case 0x5421: // FIONCLEX FIOCLEX FIONBIO: the descriptor's own
	case 0x80086601: case 0x80046601: case 0xc020660b: case 0x801c581f: // GETFLAGS FIEMAP FSGETXATTR
	case 0x80047210: case 0x82307201: case 0x82307202: // FAT attributes, VFAT directories
	case 0x80087601: // FS_IOC_GETVERSION
		return 1;
	}
	return 0;
}

// BLKROSET with anything but 0 closes, and is anybody's to do: the agent closes this way. Whoever
// changes the number between this look and the kernel's gets a flag cleared that the agent sets
// again and reports, and still cannot write: that is refused by all the others.
static __always_inline int closing_control(unsigned int cmd, unsigned long arg)
{
	int on = 0;
	return cmd == 0x125d && !bpf_probe_read_user(&on, sizeof(on), (void *)arg) && on;
}

static __always_inline int control(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct inode *inode = file->f_inode;
	umode_t mode = inode->i_mode;
	if (IS_BLOCK(mode)) {
		__u32 dev = inode->i_rdev;
		if (reading_control(cmd) || closing_control(cmd, arg) || !on() || !foreign_block(dev))
			return 0;
		return refuse(dev, CONTROL, EPERM);
	}
	if (!is_kind(mode, 0100000) && !is_kind(mode, 0040000))
		return 0;
	if (reading_file_control(cmd))
		return 0;
	__u64 key = FOREIGN(inode->i_sb);
	return key ? refuse(key, CONTROL, EPERM) : 0;
}

SEC("lsm/file_ioctl")
int BPF_PROG(guard_control, struct file *file, unsigned int cmd, unsigned long arg, int ret)
{
	return ret ? ret : control(file, cmd, arg);
}

// A hook of its own since Linux 6.8; before, 32-bit programs come through file_ioctl too.
SEC("lsm/file_ioctl_compat")
int BPF_PROG(guard_control32, struct file *file, unsigned int cmd, unsigned long arg, int ret)
{
	return ret ? ret : control(file, cmd, arg);
}

// EROFS, so that mount(8) tries again read-only by itself.
SEC("lsm/sb_set_mnt_opts")
int BPF_PROG(guard_mount, struct super_block *sb, void *options, unsigned long flags, unsigned long *set, int ret)
{
	if (ret || (sb->s_flags & 1)) // SB_RDONLY
		return ret;
	if (!(sb->s_dev >> 20)) // shares of other machines may be mounted, writing into them is refused
		return 0;
	__u64 key = FOREIGN(sb);
	return key ? refuse(key, MOUNT, EROFS) : 0;
}

SEC("lsm/sb_mount")
int BPF_PROG(guard_mount_call, const char *device, const struct path *path, const char *type, unsigned long flags, void *data, int ret)
{
	if (ret || !(flags & 32) || (flags & 1)) // MS_REMOUNT to read-write
		return ret;
	__u64 key = FOREIGN(path->dentry->d_sb);
	return key ? refuse(key, REMOUNT, EPERM) : 0;
}

// The way of fsconfig(2), which passes no flags here: nothing that is read-only needs it.
SEC("lsm/sb_remount")
int BPF_PROG(guard_remount, struct super_block *sb, void *options, int ret)
{
	if (ret || !(sb->s_flags & 1))
		return ret;
	__u64 key = FOREIGN(sb);
	return key ? refuse(key, REMOUNT, EPERM) : 0;
}

static __always_inline int entry(struct inode *dir, int ret)
{
	if (ret)
		return ret;
	__u64 key = FOREIGN(dir->i_sb);
	return key ? refuse(key, ENTRY, EPERM) : 0;
}
SEC("lsm/inode_create")
int BPF_PROG(guard_create, struct inode *dir, struct dentry *dentry, umode_t mode, int ret) { return entry(dir, ret); }
SEC("lsm/inode_mkdir")
int BPF_PROG(guard_mkdir, struct inode *dir, struct dentry *dentry, umode_t mode, int ret) { return entry(dir, ret); }
SEC("lsm/inode_rmdir")
int BPF_PROG(guard_rmdir, struct inode *dir, struct dentry *dentry, int ret) { return entry(dir, ret); }
SEC("lsm/inode_unlink")
int BPF_PROG(guard_unlink, struct inode *dir, struct dentry *dentry, int ret) { return entry(dir, ret); }
SEC("lsm/inode_symlink")
int BPF_PROG(guard_symlink, struct inode *dir, struct dentry *dentry, const char *old, int ret) { return entry(dir, ret); }
SEC("lsm/inode_link")
int BPF_PROG(guard_link, struct dentry *old, struct inode *dir, struct dentry *dentry, int ret) { return entry(dir, ret); }
SEC("lsm/inode_mknod")
int BPF_PROG(guard_mknod, struct inode *dir, struct dentry *dentry, umode_t mode, dev_t dev, int ret) { return entry(dir, ret); }
SEC("lsm/inode_rename")
int BPF_PROG(guard_rename, struct inode *from, struct dentry *old, struct inode *to, struct dentry *dentry, int ret) { return entry(from, ret); }

static __always_inline int attribute(struct dentry *dentry, int ret)
{
	if (ret)
		return ret;
	__u64 key = FOREIGN(dentry->d_sb);
	return key ? refuse(key, ATTRIBUTE, EPERM) : 0;
}
// Linux 6.9 put the map of ids in front. The verifier lets one of the two pass, never the wrong one:
// the other would read a dentry out of a structure that is none.
SEC("lsm/inode_setattr")
int BPF_PROG(guard_setattr, struct dentry *dentry, struct iattr *attr, int ret) { return attribute(dentry, ret); }
SEC("lsm/inode_setattr")
int BPF_PROG(guard_setattr_idmap, struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr, int ret) { return attribute(dentry, ret); }
SEC("lsm/inode_setxattr")
int BPF_PROG(guard_setxattr, struct mnt_idmap *idmap, struct dentry *dentry, const char *name, const void *value, __u64 size, int flags, int ret) { return attribute(dentry, ret); }
SEC("lsm/inode_removexattr")
int BPF_PROG(guard_removexattr, struct mnt_idmap *idmap, struct dentry *dentry, const char *name, int ret) { return attribute(dentry, ret); }
// Since Linux 6.2; before, access lists came through inode_setxattr.
SEC("lsm/inode_set_acl")
int BPF_PROG(guard_set_acl, struct mnt_idmap *idmap, struct dentry *dentry, const char *name, void *acl, int ret) { return attribute(dentry, ret); }

char _license[] SEC("license") = "GPL";
