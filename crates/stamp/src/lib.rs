//! Time stamps of RFC 3161: requests, answers, and their check against an authority's root.
//!
//! Invariants: nothing here reads a clock, a file or a socket; a token counts only if its
//! authority's certificate chains to a given root at the token's own time and is for time stamping
//! alone; bytes from outside give an error, whatever they are.
//!
//! [`request`] makes what an authority is asked, [`Token`] is its answer, [`Token::check`] gives the
//! [`Stamp`] that it proves, [`Index`] lists a ledger's tokens and says which still prove something.

mod error;
mod index;
mod parse;
mod request;
mod roots;
mod token;

pub use error::{IndexError, RootsError, StampError};
pub use index::{AGAIN_MAX, INDEX, INDEX_BYTES_MAX, Index, Line, Over};
pub use request::{NONCE_BITS, request};
pub use roots::Roots;
pub use token::{Stamp, TOKEN_BYTES_MAX, Token};

/// An authority's clock and ours may differ by so much, ms: an authority is asked for the newest
/// checkpoint, so its time is that of the checkpoint's last leaf but for delays and clocks.
pub const TOLERANCE_MS: u64 = 600_000;

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}
