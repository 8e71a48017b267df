//! What the guest of the laboratory needs and busybox does not have; linked statically.
//!
//! `keys NODE COUNT LABEL` asks the host for so many keys and says when each arrives
//! `fuse FOLDER [filled]` mounts a file system in which one file can be made and written, or is there
//! `openat2 FILE`   opens for writing with flags that are in memory, not in a register
//! `usbfs NODE`     talks to a USB device past its drivers: a descriptor, then a SCSI INQUIRY
//! `relay HERE THERE` passes connections on
//! `yardstick`      how long a file of the kernel takes to be read, on this processor
//! `speed DEVICE ROUNDS PROGRAM...` measures how fast the agent decides
#![allow(clippy::print_stdout)] // a command's output

mod fuse;
mod relay;
mod speed;
mod usb;

use std::fs::File;
use std::io::{Read as _, Write as _};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["keys", node, count, label] => keys(node, count.parse().context("count")?, label),
        ["fuse", folder] => fuse::serve(folder, None),
        ["fuse", folder, "filled"] => fuse::serve(folder, Some(0)),
        ["openat2", file] => {
            let flags = OFlags::RDWR | OFlags::CREATE;
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::openat2(CWD, *file, flags, mode, ResolveFlags::empty())?;
            println!("opened");
            Ok(())
        }
        ["usbfs", node] => usb::inquire(node),
        ["relay", here, there] => relay::serve(here, there),
        ["yardstick"] => speed::yardstick(),
        ["speed", device, rounds, program @ ..] => speed::measure(device, rounds, program),
        _ => bail!("see the head of this program's source for what it does"),
    }
}

/// Prints `@key|CODE` for so many keys. `struct input_event` of a 64-bit kernel: seconds 8, microseconds 8, type 2, code 2, value 4.
fn keys(node: &str, count: usize, label: &str) -> Result<()> {
    const KEY: u16 = 1;
    const PRESSED: i32 = 1;
    let mut input = File::open(node).with_context(|| format!("cannot open {node}"))?;
    let mut out = std::io::stdout();
    writeln!(out, "@keys|{label}|{count}")?;
    out.flush()?;
    let mut event = [0_u8; 24];
    let mut seen = 0;
    while seen < count {
        input.read_exact(&mut event)?;
        let [.., t0, t1, c0, c1, v0, v1, v2, v3] = event;
        let (kind, code) = (u16::from_ne_bytes([t0, t1]), u16::from_ne_bytes([c0, c1]));
        if kind == KEY && i32::from_ne_bytes([v0, v1, v2, v3]) == PRESSED {
            writeln!(out, "@key|{code}")?;
            out.flush()?;
            seen += 1;
        }
    }
    Ok(())
}
