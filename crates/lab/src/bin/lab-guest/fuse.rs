//! The smallest FUSE server that can be written to: a folder in which one file may be made. It
//! stands for a drive that is redirected into a virtual desktop (layouts: linux/fuse.h, 7.36).

use std::ffi::CString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;

use anyhow::{Context, Result};
use rustix::mount::{MountFlags, mount};

const ROOT: u64 = 1;
const FILE: u64 = 2;
const NO_SUCH_FILE: i32 = -2;
const NOT_IMPLEMENTED: i32 = -38;
const REQUEST_MAX: usize = 256 << 10;
const WRITE_MAX: u32 = 4096;

/// Serves until it is unmounted, at first with a file of this size. Each write that arrives is a line `written N` on standard output.
pub(crate) fn serve(folder: &str, mut size: Option<u64>) -> Result<()> {
    let mut device = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .context("cannot open /dev/fuse")?;
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0",
        device.as_raw_fd()
    );
    let data = CString::new(data)?;
    mount("lab", folder, "fuse", MountFlags::empty(), data.as_c_str()).context("cannot mount")?;
    let mut request = vec![0; REQUEST_MAX];
    // The read fails once the file system is unmounted.
    while let Ok(length) = device.read(&mut request) {
        let Some(head) = request[..length].first_chunk::<40>() else {
            continue;
        };
        let (opcode, unique) = (number(&head[4..8]) as u32, number(&head[8..16]));
        let Some((error, body)) = answer(
            opcode,
            number(&head[16..24]),
            &request[40..length],
            &mut size,
        ) else {
            continue;
        };
        let mut reply = (16 + body.len() as u32).to_ne_bytes().to_vec();
        reply.extend(error.to_ne_bytes());
        reply.extend(unique.to_ne_bytes());
        reply.extend(body);
        device.write_all(&reply)?;
    }
    Ok(())
}

/// The error and the body of a reply; none where the kernel wants none. `size` is that of the
/// file, once it is made.
fn answer(
    opcode: u32,
    node: u64,
    argument: &[u8],
    size: &mut Option<u64>,
) -> Option<(i32, Vec<u8>)> {
    let open = vec![0_u8; 16];
    Some(match opcode {
        1 if size.is_some() && argument.starts_with(b"written\0") => (0, entry(*size)), // LOOKUP
        1 => (NO_SUCH_FILE, Vec::new()),
        2 | 42 => return None,                     // FORGET, BATCH_FORGET
        3 | 4 => (0, attributes_out(node, *size)), // GETATTR, SETATTR
        14 | 27 => (0, open),                      // OPEN, OPENDIR
        15 | 28 | 18 | 25 | 29 | 34 | 38 => (0, Vec::new()), // READ, READDIR, releases, FLUSH, ACCESS, DESTROY
        16 => {
            // WRITE: handle 8, offset 8, size 4
            let length = argument.get(16..20).map_or(0, number);
            *size = Some(size.unwrap_or_default() + length);
            println!("written {length}");
            let mut body = (length as u32).to_ne_bytes().to_vec();
            body.extend([0; 4]);
            (0, body)
        }
        26 => (0, init()),
        35 => {
            // CREATE
            *size = Some(0);
            println!("made");
            let mut body = entry(*size);
            body.extend(open);
            (0, body)
        }
        _ => (NOT_IMPLEMENTED, Vec::new()),
    })
}

fn number(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

/// `struct fuse_init_out`.
fn init() -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    for field in [7_u32, 36, 0, 0] {
        out.extend(field.to_ne_bytes()); // major, minor, read-ahead, flags
    }
    out.extend([0; 4]); // background
    out.extend(WRITE_MAX.to_ne_bytes());
    out.resize(64, 0);
    out
}

/// `struct fuse_entry_out` of the file.
fn entry(size: Option<u64>) -> Vec<u8> {
    let mut out = FILE.to_ne_bytes().to_vec();
    out.resize(40, 0);
    out.extend(attributes(FILE, size));
    out
}

/// `struct fuse_attr_out`.
fn attributes_out(node: u64, size: Option<u64>) -> Vec<u8> {
    let mut out = vec![0; 16];
    out.extend(attributes(node, size));
    out
}

/// `struct fuse_attr`.
fn attributes(node: u64, size: Option<u64>) -> Vec<u8> {
    let (mode, size) = if node == ROOT {
        (0o040_777_u32, 0)
    } else {
        (0o100_666, size.unwrap_or_default())
    };
    let mut out = Vec::with_capacity(88);
    for field in [node, size, 0, 0, 0, 0] {
        out.extend(field.to_ne_bytes());
    }
    for field in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        out.extend(field.to_ne_bytes());
    }
    out
}
