//! Shapes of statements, digested.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use event::Digest;

/// A shape with its SHA-256.
pub(crate) fn shape(text: &str) -> Arc<(Digest, String)> {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    Arc::new((Digest(bytes), text.to_owned()))
}
