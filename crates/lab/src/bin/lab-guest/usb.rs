//! Past all drivers: what a program with libusb could do to a USB device, by usbfs.

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nusb::MaybeFuture as _;
use nusb::transfer::{Buffer, Bulk, In, Out};

const ANSWER_MAX: Duration = Duration::from_secs(3);
const INQUIRY_BYTES: u8 = 36;

/// Opens the node, claims the first interface and sends the command with which a disk says its
/// name. The steps that were reached are lines on standard output.
pub(crate) fn inquire(node: &str) -> Result<()> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(node)
        .with_context(|| format!("cannot open {node}"))?;
    println!("opened");
    let device = nusb::Device::from_fd(file.into()).wait()?;
    println!("device {:04x}", device.device_descriptor().vendor_id());
    let interface = device.detach_and_claim_interface(0).wait()?;
    println!("claimed");
    let mut output = interface.endpoint::<Bulk, Out>(0x02)?;
    let mut input = interface.endpoint::<Bulk, In>(0x81)?;
    let sent = output.transfer_blocking(Buffer::from(command().to_vec()), ANSWER_MAX);
    sent.status.context("the command was not taken")?;
    let answer = input.transfer_blocking(Buffer::new(1024), ANSWER_MAX);
    answer.status.context("no answer")?;
    ensure!(
        answer.buffer.len() >= usize::from(INQUIRY_BYTES),
        "a short answer"
    );
    println!(
        "answered {}",
        String::from_utf8_lossy(&answer.buffer[8..36])
    );
    Ok(())
}

/// A command block wrapper (USB Mass Storage Class, Bulk-Only Transport 1.0, section 5.1) around
/// INQUIRY.
fn command() -> [u8; 31] {
    let mut block = [0; 31];
    block[..4].copy_from_slice(b"USBC");
    block[4] = 1; // tag
    block[8] = INQUIRY_BYTES;
    block[12] = 0x80; // towards us
    block[14] = 6;
    block[15] = 0x12; // INQUIRY
    block[19] = INQUIRY_BYTES;
    block
}
