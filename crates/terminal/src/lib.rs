//! Terminals: what a device is, what a policy says about it, what a terminal reports, and whether it
//! can prove that it refuses storage.
//!
//! Values in, values out: no files, no sockets, no clock. `post` is the shell on the terminal,
//! `sekisho` the gate's side. Invariants: what is unknown is refused; hostile bytes give an error and
//! are bounded; a device's serial leaves a terminal only as a salted digest.

mod cbor;
pub mod chain;
pub mod copy;
pub mod decide;
pub mod descriptor;
pub mod device;
pub mod driver;
pub mod evidence;
pub mod explain;
pub mod export;
pub mod heartbeat;
pub mod kind;
pub mod policy;
pub mod registry;
pub mod report;
pub mod token;
pub mod wire;

pub use cbor::Malformed;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// SHA-256 (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}
