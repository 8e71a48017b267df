//! Two system calls of the terminal agent that no crate offers in safe form: the read-only flag of a
//! block device, and having a keyboard to oneself.
//!
//! This crate is only that, on purpose: the rest of the workspace forbids `unsafe`.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{IntegerSetter, Opcode, Setter, ioctl, opcode};

/// `BLKROSET` of linux/fs.h: `_IO(0x12, 93)`, which takes a pointer to an `int`.
const BLKROSET: Opcode = opcode::none(0x12, 93);
/// `EVIOCGRAB` of linux/input.h: `_IOW('E', 0x90, int)`, which takes an `int` by value.
const EVIOCGRAB: Opcode = opcode::write::<i32>(b'E', 0x90);

/// Sets or clears the read-only flag of the block device that `device` is open on: the kernel then
/// refuses every write to it and to its partitions, whoever asks. It needs `CAP_SYS_ADMIN`.
///
/// # Errors
/// What the kernel says, `ENOTTY` if `device` is no block device.
pub fn set_read_only(device: impl AsFd, on: bool) -> io::Result<()> {
    // SAFETY: BLKROSET reads one int through the pointer and keeps nothing; `Setter` owns that int
    // until the call has returned. A file that is no block device refuses the number (ENOTTY).
    #[allow(unsafe_code)]
    unsafe { ioctl(device, Setter::<BLKROSET, i32>::new(i32::from(on))) }?;
    Ok(())
}

/// Takes all events of the input device that `device` is open on, until it is closed: nobody else
/// gets them.
///
/// # Errors
/// What the kernel says: `EBUSY` if somebody else has it, `ENOTTY` if it is no input device.
pub fn grab(device: impl AsFd) -> io::Result<()> {
    // SAFETY: EVIOCGRAB takes its argument as a number and reads no memory.
    #[allow(unsafe_code)]
    unsafe { ioctl(device, IntegerSetter::<EVIOCGRAB>::new_usize(1)) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_such_device_is_refused() {
        let file = std::fs::File::open("/dev/null").expect("every machine has /dev/null");
        let not_a_device = Some(rustix::io::Errno::NOTTY.raw_os_error());
        let error = super::set_read_only(&file, true).expect_err("no block device");
        assert_eq!(error.raw_os_error(), not_a_device);
        let error = super::grab(&file).expect_err("no input device");
        assert_eq!(error.raw_os_error(), not_a_device);
    }
}
