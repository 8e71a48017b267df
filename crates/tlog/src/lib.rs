//! Transparency logs as values: Merkle arithmetic, tiles, signed checkpoints, cosignatures,
//! witnesses' decisions, trust policies and offline proofs.
//!
//! After the C2SP specifications signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature,
//! tlog-witness, tlog-policy and tlog-proof, and RFC 6962 and 9162. Pure: no files, no sockets, no
//! clock, no randomness; whoever has those brings bytes, seeds and times. Formats and limits:
//! docs/format/tlog.md.
//!
//! Invariants: parsers are strict and canonical (what parses encodes to the same bytes), bounded in
//! memory by their input, and never panic; a checkpoint or proof is believed only after a `verify`
//! or `open`; secrets are never shown and are wiped.

pub mod bundle;
mod checkpoint;
mod edge;
mod frontier;
mod hash;
mod key;
mod merkle;
mod note;
pub mod policy;
mod proof;
mod text;
mod tile;
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, OpenError, Opened, TreeHead};
pub use edge::{Edge, EdgeError, TileBytes};
pub use frontier::{Frontier, FrontierError};
pub use hash::{EMPTY_ROOT, Hash, HashError, leaf_hash, node_hash};
pub use key::{
    Algorithm, Cosigner, KEY_BYTES, KeyError, NAME_BYTES_MAX, SigningKey, TimeError, VerifierKey,
};
pub use merkle::{
    MemoryTree, PROOF_HASHES_MAX, ProofError, TileSource, VerifyError, consistency_proof, frontier,
    inclusion_proof, root, verify_consistency, verify_inclusion,
};
pub use note::{
    NOTE_BYTES_MAX, Note, NoteError, NoteSignature, NoteVerifyError, SIGNATURES_MAX, Verified,
    encode_signatures, parse_signatures,
};
pub use policy::Policy;
pub use proof::{
    EXTRA_BYTES_MAX, PROOF_BYTES_MAX, ProvenHead, TlogProof, TlogProofError, TlogProofVerifyError,
};
pub use text::SIZE_MAX;
pub use tile::{Bundle, LEVELS, PathError, TILE_WIDTH, Tile, subtree_root};
